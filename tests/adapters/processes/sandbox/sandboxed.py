"""A sandbox of a slot below a temporary directory, and commands run in it to their end."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

from buildtool.adapters.processes.command import UMASK, CommandLine
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.sandbox.enclosed import EnclosedKeeper
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.ports.buildserver import SlotPlace
from tests.support.packages import require

PATIENCE = 60.0


@frozen
class Ran:
    """What a command said, how it ended, whether it left something or ended its sandbox, and its processor seconds."""

    output: str
    code: int
    left: bool
    lost: bool
    processor: float | None = None


@frozen
class Slot:
    """The directories of one slot, made below ``top``."""

    top: Path

    @property
    def tree(self) -> Path:
        return self.top / "tree"

    @property
    def place(self) -> SlotPlace:
        return SlotPlace(self.top / "home", self.top / "tmp", self.top / "output")

    def make(self) -> "Slot":
        for directory in (self.tree, self.place.home, self.place.temporary, self.place.output):
            directory.mkdir(parents=True, exist_ok=True)
        return self


@frozen
class Boxed:
    """A sandbox in which commands are run."""

    sandbox: EnclosedKeeper
    slot: Slot

    def run(self, *argv: str, cwd: Path | None = None, umask: int = UMASK, terminal: bool = False) -> Ran:
        """Run a command until it and all that it left are gone. Raises what its start raises."""
        answer, outlet = os.pipe()
        place, environment = cwd or self.slot.tree, {"PATH": "/usr/bin:/bin"}
        command = CommandLine(argv, place, environment, umask=umask, terminal=terminal)
        with os.fdopen(answer, "rb") as stream:
            try:
                child = self.sandbox.start(command, outlet)
            finally:
                os.close(outlet)
            left = False
            while child.news is not None:
                if child.returncode is not None and not left:
                    left = True
                    child.send(signal.SIGKILL)
                assert select.select([child.news], [], [], PATIENCE)[0], "nothing is told of the command's end"
                child.hear()
            assert child.returncode is not None
            output = stream.read()
            if child.screen is not None:
                output = shown_on(child.screen)
                child.close()
            return Ran(output.decode(), child.returncode, left, child.lost, child.processor)

    def shell(self, script: str, *, umask: int = UMASK, terminal: bool = False) -> Ran:
        """Run a script by sh."""
        return self.run("sh", "-c", script, umask=umask, terminal=terminal)


def shown_on(screen: int) -> bytes:
    """Return what is on a terminal that nobody has open any more: a few thousand bytes at most."""
    said = b""
    with suppress(OSError):  # so it tells its end
        while chunk := os.read(screen, 4096):
            said += chunk
    return said


def bubblewrap() -> str:
    """Return where bubblewrap is, or skip the test."""
    return require("bwrap", "bubblewrap")


@contextmanager
def boxed(top: Path, readable: tuple[Path, ...] = (), covered: tuple[Path, ...] = ()) -> Iterator[Boxed]:
    """Give a sandbox of a slot below ``top``, which is ended in the end."""
    keepers = Keepers(1)
    slot = Slot(top / "slot").make()
    try:
        sandboxes = Sandboxes(keepers, bubblewrap(), top / "made", readable, covered)
        sandbox = sandboxes.make(0, slot.tree, slot.place)
        try:
            yield Boxed(sandbox, slot)
        finally:
            sandbox.end()
    finally:
        keepers.close()
