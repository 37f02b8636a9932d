"""Which root file systems a build server offers: those that its owner chose and whose programs run here now.

Tested by tests/programs/buildserver/roots/test_offers.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen
from twisted.logger import Logger

from buildtool.adapters.host.detectors import Detected
from buildtool.adapters.host.roots.emulation import runs_itself
from buildtool.adapters.host.roots.store import SystemRoot, roots_in, swept
from buildtool.adapters.host.roots.trying import why_not
from buildtool.adapters.host.toolchains import Toolchain
from buildtool.model.servers import SYSTEM_ROOT, OfferKind
from buildtool.programs.buildserver.platforms import PlatformChoice
from buildtool.project.definition import Project

log = Logger()

_TOOLS = {"CC": "gcc", "CXX": "g++", "AR": "ar", "RANLIB": "ranlib", "STRIP": "strip", "LD": "ld", "NM": "nm"}


@frozen
class OfferedRoot:
    """A root file system of this machine: ``why`` says why it is not offered, "" where it is, and ``mend`` what helps.

    ``unchosen`` ones run, and their owner wants others. Builds do not find the programs that are ``hidden``.
    """

    root: SystemRoot
    kind: OfferKind
    why: str = ""
    mend: str = ""
    unchosen: bool = False
    hidden: tuple[str, ...] = ()

    def has(self, program: str) -> bool:
        """Return whether builds in it find a program."""
        return program not in self.hidden and self.root.has(program)

    @property
    def toolchain(self) -> Toolchain:
        """What it is offered as."""
        root = self.root
        tools = {role: name for role, name in _TOOLS.items() if self.has(name)}
        tools |= {"CC_VERSION": root.compiler, SYSTEM_ROOT: root.name}
        return Toolchain(root.arch, self.kind, root.libc, root.libc_version, tools, os_release=root.os_release or None)

    def words(self) -> str:
        """Return what it is, for people."""
        root = self.root
        return f"{root.name}: {self.kind.value}, {root.os_release}, {root.libc} {root.libc_version}, {root.compiler}"


def kind_of(root: SystemRoot, own: str) -> OfferKind:
    """Return how a machine of architecture ``own`` makes programs in a root."""
    return OfferKind.NATIVE if runs_itself(own, root.arch) else OfferKind.EMULATED


def root_offers(
    build_dir: Path,
    choice: PlatformChoice,
    detected: Mapping[str, Detected],
    *,
    sandboxed: bool,
    hidden: tuple[str, ...] = (),
    tried: Callable[[SystemRoot, str], tuple[str, str]] = why_not,
) -> tuple[OfferedRoot, ...]:
    """Return what root file systems there are, each with why it is not offered. Blocks: each is tried.

    Without a sandbox nothing can be built in any.
    """
    own = str(detected.get("arch", ""))
    found = []
    for root in roots_in(build_dir):
        kind = kind_of(root, own)
        if not choice.takes(kind, root.arch, "", (root.name, root.suite, root.libc)):
            found.append(OfferedRoot(root, kind, unchosen=True))
            continue
        why, mend = tried(root, own) if sandboxed else ("there is no sandbox to build in it", "")
        found.append(OfferedRoot(root, kind, why, mend, hidden=hidden))
    return tuple(found)


def files_of(roots: Iterable[OfferedRoot]) -> dict[str, Path]:
    """Return the files of the root file systems that are offered, by name."""
    return {one.root.name: one.root.files for one in roots if not (one.why or one.unchosen)}


def hold(roots: Iterable[OfferedRoot], closing: ExitStack) -> None:
    """Keep what is offered from being removed until ``closing`` ends; log what is not. Raises ConfigurationError."""
    for one in roots:
        if one.why:
            log.warn(
                "{name} is not offered: {why}", name=one.root.name, why="; ".join(filter(None, (one.why, one.mend)))
            )
        elif not one.unchosen:
            closing.callback(swept, one.root)
            closing.enter_context(one.root.hold())


def lacking(roots: Iterable[OfferedRoot], projects: Iterable[Project]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return, by root and then by project, which of the tools that a recipe needs are not there."""
    needed = {one.name: one.recipe.machine.get("tools", ()) for one in projects}
    return {
        one.root.name: {
            name: missing
            for name, tools in needed.items()
            if isinstance(tools, tuple) and (missing := tuple(tool for tool in tools if not one.has(tool)))
        }
        for one in roots
    }
