"""What all programs share: one line per event on stderr, and running until told to stop."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

from twisted.internet.base import ReactorBase
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.concurrency.signal import Signal
from buildtool.errors import BuildToolError, UsageError
from buildtool.model.text import one_line, quoted
from buildtool.programs.common.ending import EXIT_FAILED, EXIT_SIGNAL, refuse
from buildtool.programs.common.log_rates import LineRates
from buildtool.programs.common.output import TextSink, complain, put

SAME_SIGNAL = 1.0
"""Seconds in which a second signal is the first once more: ``timeout``, terminals and supervisors signal twice."""

LOG_LINE = 1_000
"""The most characters of what an event says, of its error's message, and of where that came from, in its line."""

SUM_UP_EVERY = 30.0
"""Seconds between two looks whether lines were left out of the log."""

LOG_FORMAT = "BUILDTOOL_LOG"
"""The variable of the environment that says how events are written: ``text``, as by default, or ``json``."""

IDS = {
    "request": "request", "build": "build", "build_id": "build", "epoch": "attempt", "project": "project",
    "name": "server",
}  # fmt: skip
"""Under which name a program's log has what an event is about, by what the event calls it: in all programs the same."""

_FRAMES = 12


# --- logging --------------------------------------------------------------------------------------------


@implementer(ILogObserver)
class _Lines:
    """Writes every event as one line; of the libraries' only warnings, unless ``verbose``.

    Of a kind of line that comes again and again only so many are written, and now and then how many more there were.
    """

    def __init__(self, stream: TextSink, written: Callable[[LogEvent], str] | None = None, *, verbose: bool) -> None:
        self._stream = stream
        self._written = event_line if written is None else written
        self._verbose = verbose
        self._rates = LineRates()

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level") or LogLevel.info
        ours = str(event.get("log_namespace", "")).startswith("buildtool")
        least = LogLevel.info if ours or self._verbose else LogLevel.warn
        if level < least:
            return
        line = self._written(event)
        if self._rates.allows(event, line):
            self._write(line)
        self.sum_up()

    def sum_up(self, *, at_the_end: bool = False) -> None:
        """Write how many lines were left out, where that was a while ago or the program ends."""
        for words in self._rates.left_out(at_the_end=at_the_end):
            event: LogEvent = {"log_level": LogLevel.warn, "log_time": time.time(), "log_format": "{words}"}
            self._write(self._written({**event, "words": words}))

    def _write(self, line: str) -> None:
        try:
            put(self._stream, line)
        except OSError:
            return  # the terminal is gone; the program goes on without one


def start_logging(*, verbose: bool = False, stream: TextSink | None = None, program: str = "") -> _Lines:
    """Log to ``stream`` (stderr), one line per event; return what writes them.

    Raises UsageError where the environment asks for a format that there is not.
    """
    said = os.environ.get(LOG_FORMAT) or "text"
    if said not in ("text", "json"):
        raise UsageError(f"${LOG_FORMAT} = {quoted(said)} is not usable: it is text or json")
    written = event_line if said == "text" else partial(event_object, program)
    observer = _Lines(sys.stderr if stream is None else stream, written, verbose=verbose)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    return observer


def event_line(event: LogEvent) -> str:
    """Return an event as one line: local time, level, words, and for a failure where it came from."""
    when = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(event.get("log_time", 0.0)))
    level = (event.get("log_level") or LogLevel.info).name
    words = one_line(formatEvent(event), LOG_LINE)
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        said = one_line(failure.getErrorMessage(), LOG_LINE)
        kind = failure.type.__name__ if failure.type else ""
        words = f"{words}: {kind}: {said} {one_line(_where(failure), LOG_LINE)}".rstrip()
    return f"{when} {level:<5} {words}\n"


def event_object(program: str, event: LogEvent) -> str:
    """Return an event as one line of JSON: when, how bad, which program, what happened, and what it is about."""
    at = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    told: dict[str, object] = {
        "time": at.isoformat(timespec="milliseconds"),
        "level": (event.get("log_level") or LogLevel.info).name,
        "program": program,
        "logger": str(event.get("log_namespace", "")),
        "message": one_line(formatEvent(event), LOG_LINE),
    }
    for said, name in IDS.items():
        value = event.get(said)
        if isinstance(value, str | int) and value != "":
            told[name] = one_line(value, LOG_LINE) if isinstance(value, str) else value
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        told["error"] = {
            "type": failure.type.__name__ if failure.type else "",
            "message": one_line(failure.getErrorMessage(), LOG_LINE),
            "where": one_line(_where(failure), LOG_LINE),
        }
    return json.dumps(told) + "\n"


def _where(failure: Failure) -> str:
    frames = [f"{Path(name).name}:{line} {method}" for method, name, line, *_ in failure.frames[-_FRAMES:]]
    return f"(at {' < '.join(reversed(frames))})" if frames else ""


# --- running --------------------------------------------------------------------------------------------


class StopRequest:
    """A request to stop the program; ``reason`` is "" until there is one."""

    def __init__(self) -> None:
        self.reason = ""
        self._asked = Signal()

    def ask(self, reason: str) -> None:
        """Ask the program to stop. Only the first reason counts."""
        if self.reason:
            return
        self.reason = reason
        self._asked.notify()

    async def asked(self) -> str:
        """Return the reason once the program was asked to stop."""
        if not self.reason:
            await self._asked.wait()
        return self.reason


Main = Callable[[ReactorBase, StopRequest], Coroutine[Any, Any, int]]
"""A program: given the reactor and its StopRequest, it returns its exit code, or raises a BuildToolError."""


def monotonic_reactor() -> ReactorBase:
    """Return the reactor, its timers following the monotonic clock.

    The stock reactor's follow wall time: a clock that is set forward by an hour would fire them all.
    """
    from twisted.internet import reactor as stock

    reactor = cast(ReactorBase, stock)
    reactor.seconds = time.monotonic  # before anything asks it for the time
    return reactor


class _Program:
    """A program's life in the reactor, from its start until its exit code is known."""

    def __init__(self, name: str, reactor: ReactorBase, main: Main) -> None:
        self._name = name
        self._reactor = reactor
        self._main = main
        self._stop = StopRequest()
        self._running: Deferred[None] | None = None
        self._asked_at = -math.inf
        self.code = EXIT_FAILED

    def start(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        self._running = Deferred.fromCoroutine(self._live())
        self._running.addBoth(lambda _: self._reactor.stop())

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._told, signal.Signals(number))

    def _told(self, which: signal.Signals) -> None:
        now = self._reactor.seconds()
        if not self._stop.reason:
            self._asked_at = now
            self._stop.ask(f"{self._name} was told to stop ({which.name})")
        elif now - self._asked_at >= SAME_SIGNAL and self._running is not None:
            self._running.cancel()

    async def _live(self) -> None:
        try:
            self.code = await self._main(self._reactor, self._stop)
        except BuildToolError as error:
            self.code = refuse(self._name, error)
        except CancelledError:
            complain(f"{self._name}: broken off")
            self.code = EXIT_SIGNAL + signal.SIGTERM
        except Exception:  # noqa: BLE001 - a defect: told in one line, with the places to look at
            event = {"log_failure": Failure(), "log_level": LogLevel.critical, "log_time": time.time()}
            complain(event_line({**event, "log_format": f"a defect of {self._name}"}).removesuffix("\n"))


def run(name: str, main: Main, *, verbose: bool = False, log: TextSink | None = None) -> int:
    """Run ``main`` until it returns, and return its exit code. What happens is written to ``log``, or else to stderr.

    SIGTERM and SIGINT ask it to stop; another one, a second later or more, breaks it off. Raises UsageError.
    """
    reactor = monotonic_reactor()
    lines = start_logging(verbose=verbose, stream=log, program=name)
    program = _Program(name, reactor, main)
    summing_up = LoopingCall(lines.sum_up)
    reactor.callWhenRunning(summing_up.start, SUM_UP_EVERY, False)
    reactor.callWhenRunning(program.start)
    reactor.run()
    lines.sum_up(at_the_end=True)
    return program.code
