"""What is typed at a terminal while the reactor runs.

Tested by tests/e2e/test_login.py and tests/programs/operating/test_several.py.
"""

from __future__ import annotations

import sys

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from buildtool.programs.common.output import put


class _Typing(LineOnlyReceiver):
    """What is typed: one line."""

    delimiter = b"\n"
    MAX_LENGTH = 1_000

    def __init__(self) -> None:
        self.line: Deferred[bytes] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        """Take the line."""
        if not self.line.called:
            self.line.callback(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take nothing, where the input has ended."""
        if not self.line.called:
            self.line.callback(b"")


async def typed(reactor: ReactorBase, prompt: str) -> str:
    """Ask on standard error, and return the line that is typed, without blanks; "" where the input has ended."""
    put(sys.stderr, prompt)
    typing = _Typing()
    terminal = StandardIO(typing, reactor=reactor)
    try:
        return (await typing.line).decode("utf-8", "replace").strip()
    finally:
        terminal.loseConnection()
