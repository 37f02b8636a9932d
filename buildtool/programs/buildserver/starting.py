"""What a build server is started with: its name, what it offers, where the metaserver is, and what is masked.

Whatever keeps it from starting is raised here, so that its doctor finds the same. Covered by
tests/programs/buildserver/test_main.py and tests/programs/doctors/test_buildserver.py.
"""

from __future__ import annotations

import argparse
import socket
from functools import cached_property
from pathlib import Path

from attrs import evolve, frozen
from twisted.logger import Logger

from buildtool.adapters.host.detectors import detect_machine
from buildtool.adapters.host.hidden_tools import HiddenTools, hide_tools
from buildtool.adapters.processes.sandbox.bubblewrap import is_shown
from buildtool.adapters.processes.sandbox.proving import makes_any
from buildtool.adapters.tls.credentials import CredentialStore, OwnIdentity
from buildtool.configuration.given.values import given_to
from buildtool.configuration.settings import Settings
from buildtool.errors import UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, addresses_meant
from buildtool.model.names import SERVER_NAME_WORDS, is_server_name
from buildtool.model.properties import nearest
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.capability import AnnouncedCapability, announced, restricted, warmed, with_roots
from buildtool.programs.buildserver.guest.wishes import GuestSettings, read_settings, settings_file
from buildtool.programs.buildserver.options import completed
from buildtool.programs.buildserver.owner_file import FILE, OwnerFile, load_info, load_owner_file, write_samples
from buildtool.programs.buildserver.platforms import survey_platforms
from buildtool.programs.buildserver.roots.offers import root_offers
from buildtool.programs.buildserver.sandbox_choice import BEST, left_out, search_path, wanted
from buildtool.programs.buildserver.secret_files import secret_values
from buildtool.programs.buildserver.zig.offers import runners_in, zig_offers
from buildtool.programs.common.ending import software
from buildtool.programs.common.reaching import joined_addresses
from buildtool.project.definition import tools_named

log = Logger()


@frozen
class Start:
    """A start as it was said, and as the owner's file completes it; ``own`` is whom this machine has joined as."""

    settings: Settings
    said: argparse.Namespace
    owners: OwnerFile
    store: CredentialStore
    own: OwnIdentity | None

    @classmethod
    def of(cls, settings: Settings, said: argparse.Namespace, store: CredentialStore, own: OwnIdentity | None) -> Start:
        """Return the start that was said on the command line. Raises ConfigurationError for the owner's file."""
        owners = load_owner_file(settings.build_dir)
        return cls(settings, completed(said, owners.options), owners, store, own)

    def name(self) -> str:
        """Return what the farm knows this machine as. Raises UsageError."""
        said, own = self.said.name, self.own
        if own is not None and said not in ("", own.name):
            raise UsageError(
                f"--name {said!r} is not usable: this machine has joined as {own.name} (a name may also stand in "
                f"{self.settings.build_dir / FILE})"
            )
        name: str = own.name if own is not None else said or socket.gethostname()
        if not is_server_name(name):
            raise UsageError(f"--name {name!r} is not usable: {SERVER_NAME_WORDS}")
        return name

    def place(self) -> BuildDirectory:
        """Return the directory of this build server. Raises UsageError for its name."""
        return BuildDirectory(self.settings.build_dir / self.name())

    def offered(self, place: BuildDirectory) -> AnnouncedCapability:
        """Return what this machine offers, which builds in ``place``. Blocks. Raises UsageError, ConfigurationError."""
        said, projects = self.said, self.settings.projects
        info = load_info(self.settings.build_dir)
        without = self.without(place)
        search = without.search
        detected = detect_machine(place.slots, tools_named(projects), search, self._is_seen)
        detected["cpus"] = said.numcpus or detected.get("cpus")
        ways = runners_in(self.settings.build_dir, detected, search, self._is_seen)
        survey, choice = survey_platforms(
            said.platforms, detected, cross=said.cross, path=said.toolchains, search=search, ways=ways
        )
        looked_for = self.settings.build_dir, place.compilers, choice, detected, search, self._is_seen
        compilers = None if without.hides("zig") else zig_offers(*looked_for)
        everything = announced(
            projects,
            detected,
            max_builds=said.max_builds,
            admin=said.admin or info.admin,
            software=software(),
            found=survey,
            time_limit=said.time_limit,
        )
        roots = root_offers(self.settings.build_dir, choice, detected, sandboxed=self._sandboxed, hidden=without.names)
        everything = warmed(with_roots(everything, roots, projects).with_zig(compilers), projects)
        return evolve(restricted(everything, choice), about=info.host, access_uri=info.access_uri)

    def networked(self) -> frozenset[str]:
        """Return the projects that may use the network while they fetch. Raises UsageError for an unknown one."""
        known = sorted(one.name for one in self.settings.projects)
        for name in self.said.allow_network:
            if name not in known:
                raise UsageError(f"--allow-network: there is no project {name[:40]!r}{nearest(name, known)}")
        return frozenset(self.said.allow_network)

    def guest_settings(self, machine: int | None) -> GuestSettings:
        """Return the owner's wishes, on a machine with so many bytes of memory. Raises ConfigurationError."""
        return read_settings(self.said, settings_file(self.said, self.settings.build_dir), machine)

    def sandbox_choice(self) -> str:
        """Return which sandbox is wanted."""
        return wanted(self.said.sandbox, joined=self.own is not None)

    def search_path(self) -> str:
        """Return PATH as builds have it."""
        return search_path(sandboxed=self._sandboxed, readable=self.said.readable)

    def without(self, place: BuildDirectory) -> HiddenTools:
        """Return what builds in ``place`` are not to find. Blocks. Raises UsageError, ConfigurationError."""
        return hide_tools(self.said.without, self.search_path(), place.without, sandboxed=self._sandboxed)

    def left_out(self) -> tuple[str, ...]:
        """Return the directories of PATH that builds do not see."""
        return left_out(sandboxed=self._sandboxed, readable=self.said.readable)

    def hidden(self, place: BuildDirectory) -> list[Path]:
        """Return what of the build server no build may see."""
        given = given_to(self.said)
        return [
            self.store.directory, place.mirrors, place.subversion, place.spool, place.follow, self.settings.path,
            *([given.path] if given is not None and given.path is not None else []),
        ]  # fmt: skip

    @cached_property
    def _sandboxed(self) -> bool:
        """Whether builds will run in a sandbox, as far as that is known before one is proved."""
        choice = self.sandbox_choice()
        return makes_any() if choice == BEST else choice != SandboxLevel.NONE.value

    def _is_seen(self, program: str) -> bool:
        """Return whether builds can start a program, which may be a link."""
        return not self._sandboxed or is_shown(Path(program).resolve(), self.said.readable)

    def addresses(self) -> tuple[MetaserverAddress, ...]:
        """Return where the metaserver is, to be tried in turn. Raises UsageError."""
        own, said = self.own, self.said
        configured = self.owners.addresses or (self.settings.addresses if own is None else joined_addresses(own))
        return addresses_meant(said.host or (), said.port, configured, use_tls=said.use_tls)

    def secrets(self) -> tuple[bytes, ...]:
        """Return the values that are masked in logs. Raises ConfigurationError."""
        return secret_values(self.said.secret_files, self.store.key_file)


def complete(build_dir: Path, own: OwnIdentity) -> None:
    """Write the owner's files that are missing on a machine that has joined, and log it. Raises ConfigurationError."""
    written = write_samples(build_dir, own.name, own.addresses)
    for path in written:
        log.info("wrote {path}, which is yours to edit", path=path)
    there = load_owner_file(build_dir)
    if there.path not in written and there.addresses and set(there.addresses).isdisjoint(joined_addresses(own)):
        log.warn(
            "{path} was there and is left as it is, but none of its addresses is one of the invitation: edit it",
            path=there.path,
        )
