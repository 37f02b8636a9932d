"""A machine that was started for a purpose ends once there is nothing left to do: with ``--max-idle``."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from buildtool.buildserver.server import BuildServer
from buildtool.programs.common.program import StopRequest

LOOK = 1.0
"""Seconds between two looks whether the build server has been idle for long enough."""


@define
class IdleLimit:
    """The limit of how long a build server may have nothing to do, in seconds; None is for ever.

    It is busy while it builds, and while what it built waits for the metaserver, whether that is there or not.
    """

    server: BuildServer
    timers: IReactorTime
    seconds: int | None
    drain: StopRequest
    reached: bool = False

    def watch(self) -> Callable[[], None]:
        """Start to watch, and ask for a drain once the limit is reached; return what ends the watch."""
        looking = LoopingCall(self._look)
        looking.clock = self.timers
        if self.seconds is not None:
            self.server.busy_at = self.timers.seconds()
            looking.start(LOOK, now=False)

        def end() -> None:
            if looking.running:
                looking.stop()

        return end

    def _look(self) -> None:
        now = self.timers.seconds()
        if self.server.running or self.server.held():
            self.server.busy_at = now
        elif self.seconds is not None and now - self.server.busy_at >= self.seconds and not self.drain.reason:
            self.reached = True
            self.drain.ask(f"nothing to do for {self.seconds} s (--max-idle)")
