"""Which sandbox a build server's owner wants, and what comes of it on this machine.

Covered by tests/programs/buildserver/test_sandbox_choice.py.
"""

from __future__ import annotations

import os
import shlex
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve
from twisted.logger import Logger

from buildtool.adapters.host.hidden_tools import HiddenTools
from buildtool.adapters.host.toolchains import PROGRAMS
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.sandbox.bubblewrap import is_shown
from buildtool.adapters.processes.sandbox.proving import ProvenSandbox, prove
from buildtool.errors import ConfigurationError
from buildtool.model.servers import NOTE_LIMIT, NOTES_MOST, Capability, Offer
from buildtool.model.text import one_line
from buildtool.model.trust.evidence import SandboxLevel

log = Logger()

BEST = "best"
_CHOICES = (*(level.value for level in SandboxLevel), BEST)


def sandbox_choice(said: str) -> str:
    """Return one of ``_CHOICES``. Raises ArgumentTypeError."""
    if said not in _CHOICES:
        raise ArgumentTypeError(f"{said!r} is none of {', '.join(reversed(_CHOICES))}")
    return said


def directories(said: str) -> tuple[Path, ...]:
    """Return directories from a text with commas. Raises ArgumentTypeError for one that is not there, or is no path."""
    found = tuple(Path(one.strip()) for one in said.split(",") if one.strip())
    for path in found:
        if not path.is_absolute() or not path.is_dir():
            raise ArgumentTypeError(f"{str(path)!r} is no directory on this machine: name it from / on")
        if path.resolve() == Path("/"):
            raise ArgumentTypeError("/ is all of this machine: name the directories that builds are to see")
    return found


def project_names(said: str) -> tuple[str, ...]:
    """Return names of projects from a text with commas."""
    return tuple(one.strip() for one in said.split(",") if one.strip())


def wanted(said: str | None, *, joined: bool) -> str:
    """Return what was chosen, or else what holds for a machine that has, or has not, joined a farm."""
    return said or (SandboxLevel.STRICT.value if joined else BEST)


def search_path(*, sandboxed: bool, readable: Sequence[Path]) -> str:
    """Return PATH as builds have it: in a sandbox, without the directories that are not there."""
    search = os.environ.get("PATH", os.defpath)
    if not sandboxed:
        return search
    seen = [one for one in search.split(os.pathsep) if one and is_shown(Path(one), readable)]
    return os.pathsep.join(seen) or os.defpath


def left_out(*, sandboxed: bool, readable: Sequence[Path]) -> tuple[str, ...]:
    """Return the directories of PATH that are there, and that builds do not see."""
    search = os.environ.get("PATH", os.defpath).split(os.pathsep) if sandboxed else ()
    there = (one for one in search if one and Path(one).is_dir() and not is_shown(Path(one), readable))
    return tuple(dict.fromkeys(there))


def sandbox_of(
    choice: str, keepers: Keepers | None, place: Path, private: Sequence[Path], readable: Sequence[Path]
) -> ProvenSandbox:
    """Return the sandbox that builds run in, and log which. Blocks. Raises ConfigurationError when it is not enough."""
    if choice == SandboxLevel.NONE.value:
        log.warn("builds run without a sandbox, since --sandbox none says so: they can do what this account can do")
        return sandbox_seen(choice, keepers, place, private, readable)
    try:
        found = prove(keepers, place, private, readable)
    except OSError as error:
        raise ConfigurationError(f"build_dir: cannot write in {place}: {error.strerror}") from error
    check_enough(choice, found)
    if found.level is SandboxLevel.STRICT:
        log.info("builds run in a strict sandbox: all attempts to get out of it failed")
    else:
        log.warn("builds run {where}: {why}", where=_where(found.level), why=found.why)
    return found


def check_enough(choice: str, found: ProvenSandbox) -> None:
    """Raise ConfigurationError, with the mend, where a sandbox is less than is wanted."""
    if choice == BEST or found.level >= SandboxLevel(choice):
        return
    has = "none" if found.level is SandboxLevel.NONE else f"a {found.level.value} one"
    raise ConfigurationError(
        f"builds are to run in a {choice} sandbox, and this machine has {has}: {found.why}; mend that, or say "
        f"--sandbox {found.level.value} to build {_where(found.level)}"
    )


def with_sandbox(announced: Capability, found: ProvenSandbox) -> Capability:
    """Return what is announced, with the sandbox that was proved and why it is no better."""
    notes = tuple(one_line(note, NOTE_LIMIT) for note in found.notes[:NOTES_MOST])
    return evolve(announced, sandbox=found.level, sandbox_notes=notes)


def covered(found: ProvenSandbox, without: HiddenTools) -> ProvenSandbox:
    """Return the sandbox that was proved, in which builds do not see what is hidden from them; log how well it is."""
    if found.sandboxes is not None:
        found.sandboxes.covered, found.sandboxes.hidden = without.covered, without.names
    words = without.words(sandboxed=found.sandboxes is not None)
    if words:
        log.info("{words}", words=words)
    return found


def sandbox_seen(
    choice: str, keepers: Keepers | None, place: Path, private: Sequence[Path], readable: Sequence[Path]
) -> ProvenSandbox:
    """Return the sandbox that there is, whatever is wanted but none at all. Blocks."""
    if choice == SandboxLevel.NONE.value:
        return ProvenSandbox(SandboxLevel.NONE, ("its owner wants none",), None)
    try:
        return prove(keepers, place, private, readable)
    except OSError as error:
        return ProvenSandbox(SandboxLevel.NONE, (f"it cannot be tried in {place}: {error.strerror}",), None)


def declared(offers: Sequence[Offer], readable: Sequence[Path]) -> tuple[Path, ...]:
    """Return the directories that builds may read: those that were said, and those of the owner's own toolchains."""
    programs = {shlex.split(words)[0] for offer in offers for role, words in offer.tools if role in PROGRAMS and words}
    places = {_top(Path(one)) for one in programs if one.startswith("/")}
    # What runs programs here may be a script of its own, which an interpreter is told.
    running = {word for offer in offers for role, words in offer.tools if role == "RUN" for word in shlex.split(words)}
    places |= {Path(one).parent for one in running if one.startswith("/") and Path(one).is_file()}
    return (*readable, *(place for place in sorted(places) if not is_shown(place, readable)))


def _top(program: Path) -> Path:
    """Return the directory of a toolchain, by that of one of its programs."""
    nested = program.parent.name == "bin" and program.parent.parent != Path("/")
    return program.parent.parent if nested else program.parent


def _where(level: SandboxLevel) -> str:
    return "without a sandbox" if level is SandboxLevel.NONE else f"in a {level.value} sandbox"
