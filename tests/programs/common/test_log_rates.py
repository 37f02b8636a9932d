"""The log: whatever peers cause in it is one harmless line each, and so many bytes and no more."""

import io

import pytest
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from buildtool.programs.common.log_rates import SUMMED_UP_AFTER, LineRates
from buildtool.programs.common.program import _Lines

HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e\r\n\u2028\x00\ud800" + "A" * 4_000


class Now:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def log() -> tuple[Logger, io.StringIO, Now, _Lines]:
    stream, now = io.StringIO(), Now()
    lines = _Lines(stream, verbose=False)
    lines._rates = LineRates(now)
    return Logger("buildtool.metaserver.requests", observer=LogPublisher(lines)), stream, now, lines


Log = tuple[Logger, io.StringIO, Now, _Lines]


def test_ten_seconds_of_one_build_server_are_a_few_lines_and_how_many_more_there_were(log: Log) -> None:
    logger, stream, now, lines = log
    for _ in range(10_000):
        now.at += 0.001
        logger.info("build server {name} drains: {why}", name="chatty", why=HOSTILE)
    now.at += SUMMED_UP_AFTER
    lines.sum_up()
    said = stream.getvalue().splitlines()
    assert len(stream.getvalue()) < 20_000
    assert all(line.isprintable() for line in said)
    assert f"left out: {10_000 - len(said) + 1:,} more lines about chatty in 70 s" in said[-1]


def test_all_kinds_and_names_together_stay_below_a_megabyte_a_minute_and_what_matters_comes_through(log: Log) -> None:
    logger, stream, now, lines = log
    for number in range(4_000):
        now.at += 0.015
        for kind in ("{name} a {why}", "{name} b {why}", "{name} c {why}", "{name} d {why}", "{name} e {why}"):
            logger.warn(kind, name=f"name{number}", why=HOSTILE)
        logger.failure("a defect", Failure(ValueError(HOSTILE)))
        if number % 1_000 == 0:
            logger.error("trouble: {line}", line=f"the disk is full {number}")
    assert len(stream.getvalue().encode()) < 1_000_000
    assert all(f"the disk is full {number}" in stream.getvalue() for number in range(0, 4_000, 1_000))
    before = len(stream.getvalue())
    lines.sum_up(at_the_end=True)
    assert stream.getvalue()[before:].count("left out: ") == 6


def test_what_a_library_was_made_to_say_is_one_kind_whatever_its_words(log: Log) -> None:
    _, stream, _, lines = log
    library = Logger("twisted.web", observer=LogPublisher(lines))
    for number in range(10_000):
        library.warn(f"{number} {'x' * 900}".replace("{", ""))
    assert len(stream.getvalue()) < 100_000


def test_a_farm_that_has_much_to_do_has_all_of_it_in_its_log(log: Log) -> None:
    """Two hundred builds a minute, on twenty machines."""
    logger, stream, now, _ = log
    for number in range(2_000):
        now.at += 0.3
        words = {"build": number, "epoch": 1, "project": "testproject", "name": f"machine{number % 20}"}
        logger.info("build {build}.{epoch} of {project} is given to {name}", **words)
    assert stream.getvalue().count("\n") == 2_000
