"""``bin/buildserver.py add-platform``, ``list-platforms`` and ``remove-platform``: systems of other releases and kinds.

Tested by tests/programs/buildserver/roots/test_commands.py and test_real_roots.py.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import evolve

from buildtool.adapters.host.detectors import DETECTORS, Machine
from buildtool.adapters.host.roots.emulation import obstacle, runs_itself
from buildtool.adapters.host.roots.making import MIRROR, make_files, mirror, packages, program
from buildtool.adapters.host.roots.store import (
    SUITE,
    TRYING,
    SystemRoot,
    alone,
    begun,
    damaged_in,
    debian_arch,
    kept,
    named,
    remove,
    roots_in,
)
from buildtool.adapters.host.roots.trying import tried
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.process_group import mark_for
from buildtool.adapters.processes.sandbox.proving import prove
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.adapters.storage.trees import remove_tree
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.checkup.packages import COMMON
from buildtool.model.text import duration_words
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.buildserver.platforms import PlatformChoice
from buildtool.programs.buildserver.roots.offers import OfferedRoot, kind_of, root_offers
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.output import complain, say
from buildtool.programs.common.subcommands import How, Subcommand, switch, valued
from buildtool.project.definition import Project

ROOT_OPTIONS: Mapping[str, How] = {
    "--suite": valued("the release of Debian, such as bookworm", "SUITE"),
    "--include": valued("further Debian packages that builds in it need, such as zlib1g-dev,python3", "PACKAGES"),
    "--mirror": valued(f"where packages are fetched (default: {MIRROR})", "URL"),
    "--refresh": switch("make one that is there anew, of the packages as they are now"),
}
"""What ``add_argument`` takes for the options of these commands."""


def add_platform(said: argparse.Namespace) -> int:
    """Make the root file system of a release for an architecture, try it, and keep it.

    Raises UsageError, ConfigurationError.
    """
    settings = settings_of(said, secrets=False)
    if not said.suite or not SUITE.fullmatch(said.suite):
        raise UsageError(f"add-platform {said.target[:40]} needs a release of Debian: --suite bookworm, say")
    own = _own_arch()
    wanted = SystemRoot(
        Path(), said.suite, debian_arch(said.target), mirror(said.mirror or MIRROR), list(packages(said.include or "")),
        time.time(),
    )  # fmt: skip
    there = {one.name: one for one in roots_in(settings.build_dir)}.get(wanted.name)
    if there is not None and not said.refresh:
        if set(wanted.packages) - set(there.packages):
            raise UsageError(f"{there.name} is there without {said.include}: say --refresh, too")
        return _told(there, own, new=False, said=said)
    if there is not None:
        chosen = there.mirror if said.mirror is None else wanted.mirror
        wanted = evolve(wanted, mirror=chosen, packages=sorted({*there.packages, *wanted.packages}))
    program()
    if not runs_itself(own, wanted.arch):
        why, mend = obstacle(wanted.arch)
        if why:
            raise ConfigurationError(f"{wanted.name} would not run here: {why}; {mend}")
    return _told(_made(settings.build_dir, wanted, settings.projects), own, new=True, said=said)


def _made(build_dir: Path, wanted: SystemRoot, projects: Iterable[Project]) -> SystemRoot:
    """Make a root and try it in the sandbox of builds. Raises ConfigurationError; nothing is left of it then."""
    with alone(build_dir) as top, tempfile.TemporaryDirectory(prefix=TRYING, dir=top) as trying:
        place = Path(trying)
        keepers = Keepers.where_possible(mark_for(place))
        try:
            # Before anything is fetched: without a sandbox all of it would be for nothing.
            kept_by = _check_sandbox(keepers, place, None).keepers
            new = begun(top, wanted)
            try:
                complain(f"fetching and unpacking {wanted.name} from {wanted.mirror}, which takes a minute or so")
                make_files(new, needed_packages(projects), kept_by)
                complain("trying its compiler in the sandbox")
                sandbox = _check_sandbox(keepers, place, new.files)
                return kept(top, tried(new, sandbox, place))
            finally:
                remove_tree(new.place)
        finally:
            if keepers is not None:
                keepers.close()


def _check_sandbox(keepers: Keepers | None, place: Path, root: Path | None) -> Sandboxes:
    proven = prove(keepers, place, [], [], root)
    if proven.sandboxes is None or proven.level is SandboxLevel.NONE:
        raise ConfigurationError(f"other systems are built in only within a sandbox, and there is none: {proven.why}")
    return proven.sandboxes


def needed_packages(projects: Iterable[Project]) -> set[str]:
    """Return Debian's packages with the tools that the recipes of projects need."""
    found: set[str] = set()
    for one in projects:
        tools = one.recipe.machine.get("tools", ())
        known = {**COMMON, **one.recipe.packages}
        found |= {known.get(tool, {}).get("debian", tool) for tool in (tools if isinstance(tools, tuple) else ())}
    return {name for words in found for name in words.split()}


def list_platforms(said: argparse.Namespace) -> int:
    """Print which platforms were added and whether each runs here now. Raises ConfigurationError."""
    build_dir = settings_of(said, secrets=False).build_dir
    found = root_offers(build_dir, PlatformChoice(), {"arch": _own_arch()}, sandboxed=True)
    for name in damaged_in(build_dir):
        complain(f"{name} is damaged: add-platform makes it anew, remove-platform {name} removes it")
    if said.json:
        say(json.dumps([_as_object(one) for one in found], sort_keys=True))
    elif not found:
        say(f"no platforms were added: {ADD_PLATFORM.example} adds one")
    else:
        for one in found:
            age = duration_words(max(0.0, time.time() - one.root.made_at))
            say(f"{one.words()}, made {age} ago{f'; not offered: {one.why}; {one.mend}' if one.why else ''}")
    return EXIT_OK


def remove_platform(said: argparse.Namespace) -> int:
    """Remove a platform that was added, unless a build server has it. Raises ConfigurationError."""
    build_dir = settings_of(said, secrets=False).build_dir
    name = said.target if said.target in damaged_in(build_dir) else named(build_dir, said.target).name
    with alone(build_dir) as top:
        remove(top, name)
    say(json.dumps({"removed": name}) if said.json else f"{name} is removed")
    return EXIT_OK


def _own_arch() -> str:
    return str(DETECTORS["arch"](Machine(Path(os.curdir))))


def _told(root: SystemRoot, own: str, *, new: bool, said: argparse.Namespace) -> int:
    one = OfferedRoot(root, kind_of(root, own))
    if said.json:
        say(json.dumps({**_as_object(one), "new": new}, sort_keys=True))
        return EXIT_OK
    age = duration_words(max(0.0, time.time() - root.made_at))
    say(one.words() if new else f"{one.words()}, made {age} ago (--refresh makes it anew)")
    say("A build server that is started now offers it; --platforms chooses.")
    return EXIT_OK


def _as_object(one: OfferedRoot) -> dict[str, object]:
    root = one.root
    return {
        "name": root.name, "kind": one.kind.value, "arch": root.arch, "suite": root.suite, "libc": root.libc,
        "libc_version": root.libc_version, "os_release": root.os_release, "compiler": root.compiler,
        "made_at": root.made_at, "packages": root.packages, "mirror": root.mirror, "why_not": one.why, "mend": one.mend,
    }  # fmt: skip


ADD_PLATFORM: Subcommand[int] = Subcommand(
    "add-platform", "add a release of Debian, of this or of an emulated architecture, in which builds run",
    "add-platform arm64 --suite bookworm", add_platform, "ARCH",
    options=("--suite", "--include", "--mirror", "--refresh", "--json"),
)  # fmt: skip

ROOT_COMMANDS: tuple[Subcommand[int], ...] = (
    ADD_PLATFORM,
    Subcommand(
        "list-platforms", "say which platforms were added, and whether each runs here now", "list-platforms",
        list_platforms, options=("--json",),
    ),
    Subcommand(
        "remove-platform", "remove a platform that was added", "remove-platform bookworm-arm64", remove_platform,
        "NAME", options=("--json",),
    ),
)  # fmt: skip
