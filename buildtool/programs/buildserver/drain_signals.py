"""How a machine's owner has its build server finish and leave: SIGHUP, or a file that is touched."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, race
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from buildtool.buildserver.server import BuildServer
from buildtool.errors import ConfigurationError
from buildtool.programs.common.beginning import is_ignored
from buildtool.programs.common.program import StopRequest

log = Logger()

STAMP = "shutdown.stamp"
LOOK = 2.0
"""Seconds between two looks whether the file is there."""


def clear(stamp: Path) -> None:
    """Remove a stamp that was touched before the program started. Raises ConfigurationError."""
    try:
        stamp.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"build_dir: {stamp} cannot be removed: {error.strerror}") from error


def watch(
    reactor: ReactorBase, stamp: Path, drain: StopRequest, allowed: Callable[[], str] = lambda: "both"
) -> Callable[[], None]:
    """Ask ``drain`` when SIGHUP comes or ``stamp`` appears; return what ends the watch.

    ``allowed`` says which of these may: signal, file, both or none. Where SIGHUP is ignored (``nohup`` does that) it
    stays ignored: the file does the same.
    """

    def look() -> None:
        if os.path.lexists(stamp) and allowed() in ("file", "both"):
            drain.ask(f"{stamp.name} was touched")

    def heard() -> None:
        if allowed() in ("signal", "both"):
            drain.ask("the build server was told to drain (SIGHUP)")
        else:
            log.info("SIGHUP is not heeded: --allow-shutdown {allowed}", allowed=allowed())

    def signalled(_number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(heard)

    looking = LoopingCall(look)
    looking.clock = reactor
    looking.start(LOOK, now=False)
    before = signal.getsignal(signal.SIGHUP)
    if not is_ignored(signal.SIGHUP):
        signal.signal(signal.SIGHUP, signalled)

    def end() -> None:
        looking.stop()
        signal.signal(signal.SIGHUP, before)

    return end


async def told_to_leave(
    server: BuildServer, stop: StopRequest, drain: StopRequest, taking_over: Coroutine[Any, Any, str]
) -> bool:
    """Return True when the program is told to stop, False when it has drained, to end or to start anew."""

    async def drained() -> str:
        reason = await drain.asked()
        log.info("draining: {reason}", reason=reason)
        await server.drain(reason)
        log.info("drained: everything is delivered")
        return reason

    first, _ = await race([Deferred.fromCoroutine(one) for one in (stop.asked(), drained(), taking_over)])
    return first == 0
