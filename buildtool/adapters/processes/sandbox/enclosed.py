"""One sandbox as the build server has it: the connection to its keeper.

Tested by tests/adapters/processes/sandbox/test_sandboxes.py.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence

from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.keeper import ENCLOSE, PREPARE
from buildtool.adapters.processes.keeper_client import Keeper, Keepers, KeptCommand


class EnclosedKeeper:
    """A sandbox with its keeper, for the commands of one Attempt, one after the other.

    Nothing can be started in it before it is equipped.
    """

    def __init__(self, keepers: Keepers, said: Mapping[str, object]) -> None:
        """Start the sandbox, as ``said`` (``Sandboxes.order``); blocks. Raises OSError: why there is none."""
        self._keepers = keepers
        order = json.dumps({"mark": keepers.mark, **said}).encode("ascii")
        freezer = str(said.get("freezer") or "")
        try:
            self._prepare(keepers.new_keeper(freezer), order)
        except ConnectionError:  # it was killed before anything ran
            self._prepare(keepers.new_keeper(freezer), order)

    def _prepare(self, keeper: Keeper, order: bytes) -> None:
        try:
            self.pid = keeper.enclose(PREPARE, order)
        except BaseException:
            keeper.close()
            raise
        self._keeper = keeper

    def equip(self, said: Mapping[str, object]) -> None:
        """Set up what its commands work in, as ``said`` (``Sandboxes.order``). Blocks; raises OSError."""
        self._keeper.enclose(ENCLOSE, json.dumps(said).encode("ascii"))

    def start(self, command: CommandLine, outlet: int, _ring: Callable[[], None] | None = None) -> KeptCommand:
        """Start a command in the sandbox, writing to ``outlet``. Raises OSError or ValueError."""
        self._keeper.give(self._keepers.order(command), outlet)
        return KeptCommand(self._keeper, self._keeper.line(), _keep)

    def prove(self, private: Sequence[str], own: Sequence[str], shared: int) -> dict[str, str]:
        """Try to escape; return what could be done that should not (``sandbox/escapes``). Blocks. Raises OSError."""
        asked = {"mark": self._keepers.mark, "private": list(private), "own": list(own), "shared": shared}
        order = json.dumps(asked).encode("ascii")
        answer, outlet = os.pipe()
        with os.fdopen(answer, "rb") as stream:
            try:
                self._keeper.give(order, outlet)
            finally:
                os.close(outlet)
            child = KeptCommand(self._keeper, self._keeper.line(), _keep)
            said = stream.read()
        while child.news is not None:
            child.hear()
        try:
            found: dict[str, str] = json.loads(said)
        except ValueError as error:
            words = said.decode("utf-8", "replace").strip().splitlines()
            raise OSError(f"the attempts to get out of it broke off: {words[-1] if words else ''}") from error
        return found

    def listen(self) -> socket.socket:
        """Return a socket that listens on 127.0.0.1 in the sandbox's own network. Blocks. Raises OSError."""
        return self._keeper.listen()

    def end(self) -> None:
        """End the sandbox; return once all of it is gone. Blocks. Raises OSError if it does not go."""
        self._keeper.end()


def _keep(_keeper: Keeper) -> None:
    """Leave a keeper as it is: its sandbox is for this Attempt alone."""
