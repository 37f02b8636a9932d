"""Watches what Twisted logs as a failure, so that an error nobody awaited fails the test."""

import gc
import sys

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

YOUNG, ALL = 1, 2
"""Generations of objects: what a test and the one before it made, where `keep_young` was called; and everything."""


def keep_young() -> None:
    """Leave what is there by now out of all collections, and what a test makes out of the oldest generation.

    So collecting after each test the garbage that it made takes no longer for all that was made before it: looking at
    everything after each of them took a third of their processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 1_000)


def left_to_reactor() -> list[str]:
    """Return what the reactor of this process, where there is one, still has to call, and take it from it."""
    calls = (
        sys.modules["twisted.internet.reactor"].getDelayedCalls() if "twisted.internet.reactor" in sys.modules else []
    )
    said = [str(call) for call in calls]
    for call in calls:
        call.cancel()
    return said


@implementer(ILogObserver)
class LoggedFailures:
    """An observer of the global log that keeps every failure until the test says that it was expected."""

    def __init__(self) -> None:
        self._seen: list[Failure] = []
        self._generation = YOUNG

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if isinstance(failure, Failure):
            self._seen.append(failure)

    def start(self) -> None:
        globalLogPublisher.addObserver(self)

    def stop(self) -> None:
        globalLogPublisher.removeObserver(self)

    def forget(self) -> None:
        """Drop what was seen so far: somebody else has reported it."""
        self._seen.clear()

    def flush(self, *types: type[BaseException]) -> list[Failure]:
        """Take out, and return, the failures of these types (all of them when none is named).

        Garbage is collected first, because a Deferred reports its failure only when it goes away.
        """
        gc.collect(self._generation)
        self._generation = ALL  # what lived now is no longer young
        wanted = [f for f in self._seen if not types or f.check(*types)]
        self._seen = [f for f in self._seen if f not in wanted]
        return wanted

    def left(self) -> list[Failure]:
        """Return the failures that nobody took out, at the end of a test; its garbage is collected first."""
        gc.collect(self._generation)
        return self._seen
