"""What a program would say in its log."""

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer


@implementer(ILogObserver)
class _Ear:
    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith("buildtool"):
            self.said.append(formatEvent(event))


@contextmanager
def listening() -> Iterator[list[str]]:
    """A list of what this project's own code logs, line by line, as it grows."""
    ear = _Ear()
    globalLogPublisher.addObserver(ear)
    try:
        yield ear.said
    finally:
        globalLogPublisher.removeObserver(ear)
