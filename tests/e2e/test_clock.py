"""Real metaservers whose clock is set while they run, or while they are away: what was asked for outlives it."""

import os
from pathlib import Path

import pytest

from buildtool.demo.local_farm import Program
from tests.e2e.control import Control
from tests.support.packages import require_that

LIBRARIES = tuple(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


pytestmark = pytest.mark.long  # whenever such a program looks at the clock, the library reads a file
MAIN = "import sys; from buildtool.programs.metaserver.main import main; sys.argv = ['metaserver']; sys.exit(main())"
"""What bin/metaserver does, but for executing itself anew, which the library does not see its environment in."""


class Clocked:
    """A farm whose metaservers go by a clock that the test sets; the monotonic clock stays what it is."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.offset = control.directory / "offset"
        self.set("+0")

    def set(self, offset: str) -> None:
        """Let the clock be so far ahead: ``+8d``, ``-3600`` (seconds)."""
        fresh = self.offset.with_suffix(".new")
        fresh.write_text(f"{offset}\n")
        fresh.rename(self.offset)

    def start(self) -> Program:
        environment = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        program = self.control.farm.start("metaserver", ["-c", MAIN], **environment)
        program.wait_for("ready:")
        return program


@pytest.fixture
def clocked(control: Control) -> Clocked:
    require_that(
        present=bool(LIBRARIES) and os.name == "posix",
        what="libfaketime is not installed",
        remedy="apt-get install libfaketime",
    )
    return Clocked(control)


def test_a_clock_that_is_days_ahead_for_a_while_expires_nothing(clocked: Clocked) -> None:
    control, metaserver = clocked.control, clocked.start()
    asked = control.ask("ann@example.org")
    clocked.set("+8d")
    control.ask("--greeting=goodbye", "bob@example.org")
    metaserver.wait_for(r"the clock of this machine was set by \+691[12]\d\d s")
    clocked.set("+0")
    control.ask("--greeting=goodbye", "--force", "cid@example.org")
    metaserver.wait_for(r"the clock of this machine was set by -691[12]\d\d s")
    assert control.ask("--why", asked["cancel_id"])["explanation"]["verdict"] == "queued"
    control.server("anna")
    assert control.ask("--foreground", "--output", "one.zip", "dan@example.org")["request_id"] != asked["request_id"]
    assert control.ask("--why", asked["cancel_id"])["explanation"]["verdict"] == "satisfied"


def test_requests_outlive_a_metaserver_that_is_away_for_longer_than_they_live(clocked: Clocked) -> None:
    control, metaserver = clocked.control, clocked.start()
    asked = control.ask("ann@example.org")
    metaserver.stop()
    clocked.set("+30d")
    again = clocked.start()
    assert control.ask("--why", asked["cancel_id"])["explanation"]["verdict"] == "queued"
    assert again.stop() == 0
    clocked.set("-30d")
    clocked.start()
    control.server("anna")
    assert control.ask("--foreground", "--output", "one.zip", "bob@example.org")["state"] == "satisfied"
    assert control.ask("--why", asked["cancel_id"])["explanation"]["verdict"] == "satisfied"
