"""What every program does the same way: log lines, exit codes, and stopping when asked."""

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import cast

import hypothesis.strategies as st
import pytest
from hypothesis import given
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel

from buildtool.adapters.http.routes import HttpLimits
from buildtool.adapters.http.server import StreamingChannel
from buildtool.errors import (
    BuildToolError,
    ConfigurationError,
    EmptySecret,
    NoBuildServer,
    NoContact,
    NotRunning,
    PortTaken,
    ProtocolMismatch,
    UnknownProject,
    UsageError,
    by_code,
)
from buildtool.programs.common.ending import EXIT_FAILED, EXIT_NOT_RUNNING, exit_code, refuse
from buildtool.programs.common.program import (
    LOG_FORMAT,
    StopRequest,
    _Lines,
    _Program,
    event_line,
    event_object,
    start_logging,
)
from buildtool.programs.webserver.visits import PagesChannel
from buildtool.requester.outcome import ExitCode, exit_of_error

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import sys, time
from buildtool.programs.common import program as common
from buildtool.errors import PortTaken
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

async def main(reactor, stop):
    print("started", reactor.seconds is time.monotonic, flush=True)
    {body}

sys.exit(common.run("program", main))
"""


def program(body: str, *signals: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own; ``signals`` are sent once it has started, one after each line it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started True\n"
        for left, number in reversed(list(enumerate(signals))):
            process.send_signal(number)
            if left:
                process.stdout.readline()
        # A program that waits for a line has all signals behind it when the line comes.
        out, err = process.communicate("\n", timeout=30)
    finally:
        process.kill()
        process.communicate()
    return subprocess.CompletedProcess([], process.returncode, out, err)


def test_what_main_returns_is_the_exit_code() -> None:
    done = program("return 7")
    assert (done.returncode, done.stderr) == (7, "")


def test_an_error_is_one_line_and_its_code() -> None:
    done = program("raise PortTaken('port 80 (web_port)\\nis taken')")
    assert (done.returncode, done.stderr) == (1, "program: port 80 (web_port) is taken\n")


def test_a_defect_is_one_line_without_a_traceback() -> None:
    done = program("raise KeyError('x')")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "a defect of program: KeyError: 'x' (at <string>" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_the_program_to_stop(number: signal.Signals) -> None:
    done = program("print(await stop.asked()); return 0", number)
    assert (done.returncode, done.stdout) == (0, f"program was told to stop ({number.name})\n")


def test_a_signal_that_comes_twice_at_once_is_one() -> None:
    """``timeout`` and terminals signal the program and its group: that must not break off an orderly end."""
    body = "print(await stop.asked(), flush=True); sys.stdin.readline(); return 0"
    done = program(body, signal.SIGTERM, signal.SIGINT)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError, 2), (UnknownProject, 2), (ConfigurationError, 2), (EmptySecret, 2), (PortTaken, 1),
     (ProtocolMismatch, 8), (NoContact, 7), (NotRunning, 7), (NoBuildServer, 12), (BuildToolError, 1)],
)  # fmt: skip
def test_each_kind_of_error_has_its_exit_code(error: type[BuildToolError], code: int) -> None:
    assert exit_code(error("x")) == code


@pytest.mark.parametrize("error", by_code().values(), ids=lambda error: error.__name__)
def test_an_exit_code_of_a_server_means_what_it_means_in_startcompile(error: type[BuildToolError]) -> None:
    """Or it is 1, and the last line says more; or one that startcompile has not, since it asks no build server."""
    known = {int(one) for one in ExitCode}
    assert exit_code(error("x")) in (EXIT_FAILED, exit_of_error(error("x")), *({EXIT_NOT_RUNNING} - known))


def test_a_refusal_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert refuse("p", UsageError("a\n  b")) == 2
    assert capsys.readouterr() == ("", "p: a b\n")


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    plain = {"log_level": LogLevel.info, "log_time": 0.0, "log_format": "two\nlines of {what}", "what": "text\r\n"}
    assert event_line(plain).endswith(" info  two lines of text\n")
    broken = {"log_level": LogLevel.critical, "log_time": 0.0, "log_format": "it broke"}
    line = event_line({**broken, "log_failure": Failure(ValueError("bad\nvalue"))})
    assert line.endswith(" critical it broke: ValueError: bad value\n")


ABOUT = st.sampled_from(["build", "epoch", "request", "name", "project", "other"])


@given(st.dictionaries(ABOUT, st.integers() | st.text()), st.text())
def test_an_event_is_one_object_of_json_on_request_whatever_is_in_it(about: dict[str, int | str], words: str) -> None:
    event = {"log_level": LogLevel.warn, "log_time": 0.5, "log_format": "{words}", "words": words, **about}
    line = event_object("metaserver", event)
    assert line.endswith("\n")
    assert line.isascii()
    assert line.count("\n") == 1
    told = json.loads(line)
    assert (told["time"], told["level"], told["program"]) == ("1970-01-01T00:00:00.500+00:00", "warn", "metaserver")
    for said, name in (("build", "build"), ("epoch", "attempt"), ("request", "request"), ("name", "server")):
        assert (name in told) == (about.get(said, "") != "")
    assert "other" not in told
    broken = json.loads(event_object("p", {**event, "log_failure": Failure(ValueError("bad\nvalue"))}))
    assert broken["error"] == {"type": "ValueError", "message": "bad value", "where": ""}


def test_a_format_of_logs_that_there_is_not_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOG_FORMAT, "xml")
    with pytest.raises(UsageError, match=r"^\$BUILDTOOL_LOG = 'xml' is not usable: it is text or json$"):
        start_logging()


class Stops(SynchronousTestCase):
    def test_everybody_who_waits_is_told_the_first_reason(self) -> None:
        stop = StopRequest()
        early = Deferred.fromCoroutine(stop.asked())
        self.assertNoResult(early)
        stop.ask("first")
        stop.ask("second")
        assert self.successResultOf(early) == "first"
        assert self.successResultOf(Deferred.fromCoroutine(stop.asked())) == "first"


class Signals(SynchronousTestCase):
    def test_a_later_second_signal_breaks_the_program_off(self) -> None:
        """Within a second of the first it is the same one; later it is somebody who does not want to wait."""
        stopped: list[None] = []

        class FakeReactor(Clock):
            def stop(self) -> None:
                stopped.append(None)

        async def never(_reactor: ReactorBase, _stop: StopRequest) -> int:
            await Deferred()
            return 0

        clock = FakeReactor()
        running = _Program("program", cast(ReactorBase, clock), never)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            running.start()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        for wait, ended in ((0.0, []), (0.9, []), (0.1, [None])):
            clock.advance(wait)
            running._told(signal.SIGTERM)
            assert stopped == ended
        assert running.code == 128 + signal.SIGTERM


class Sited:
    """As much of a site as a channel asks for when a visitor comes."""

    limits = HttpLimits()


@pytest.mark.parametrize("channel", [PagesChannel, StreamingChannel])
def test_what_twisted_says_of_a_visitor_that_was_too_slow_is_not_taken_for_ours(channel: type[HTTPChannel]) -> None:
    quiet, verbose = StringIO(), StringIO()
    observers = [_Lines(quiet, verbose=False), _Lines(verbose, verbose=True)]
    made = channel()
    made.site = Sited()  # type: ignore[attr-defined] # as its factory does
    made.makeConnection(StringTransport())
    made.abortTimeout = None  # type: ignore[assignment]
    for observer in observers:
        globalLogPublisher.addObserver(observer)
    try:
        made.timeoutConnection()
    finally:
        made.setTimeout(None)
        for observer in observers:
            globalLogPublisher.removeObserver(observer)
    assert (quiet.getvalue(), verbose.getvalue().count("Timing out client")) == ("", 1)


def test_levels_below_warning_of_the_libraries_are_left_out() -> None:
    for verbose, expected in ((False, ["ours", "warned"]), (True, ["ours", "theirs", "warned"])):
        out = StringIO()
        lines = _Lines(out, verbose=verbose)
        for namespace, level, words in (
            ("buildtool.x", LogLevel.info, "ours"),
            ("twisted.x", LogLevel.info, "theirs"),
            ("twisted.x", LogLevel.warn, "warned"),
            ("buildtool.x", LogLevel.debug, "detail"),
        ):
            lines({"log_namespace": namespace, "log_level": level, "log_format": words, "log_time": 0.0})
        assert [line.split()[-1] for line in out.getvalue().splitlines()] == expected
