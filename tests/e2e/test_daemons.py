"""Daemons that a build starts: none outlives it, however it hid, and whatever becomes of the build server."""

import os
import select
from pathlib import Path

import pytest

from tests.adapters.processes.test_runner import alive
from tests.e2e.control import BUILD, Control
from tests.support.packages import require, require_that

DAEMON = """\
mkfifo told
setsid env -i CONTROL="$CONTROL" sh -c 'echo $$ > told; cd /; exec env -i sleep 600' </dev/null >/dev/null 2>&1 &
cat told > "$CONTROL/daemon"
"""
PATIENCE_MS = 30_000


@pytest.fixture
def leaving(running: Control) -> Control:
    """A farm whose builds leave a daemon: a session of its own, no environment, no files of the build."""
    require_that(present=Path("/proc/self/stat").exists(), what="there are no subreapers", remedy="use Linux")
    require("setsid", "util-linux")
    running.commit(**{"build.sh": f"{DAEMON}{BUILD}"})
    return running


def test_a_build_succeeds_and_its_daemon_is_gone_when_it_is_delivered(leaving: Control) -> None:
    leaving.server("anna")
    assert leaving.ask("--foreground", "ann@example.org")["answer"] == "dispatched"
    assert not alive(int(leaving.control("daemon").read_text()))


def test_a_daemon_ends_when_its_build_server_is_killed(leaving: Control) -> None:
    leaving.close_gate("anna")
    anna = leaving.server("anna")
    leaving.ask("ann@example.org")
    with leaving.control("gate-anna").open("w"):  # the build has come to its gate, behind which the daemon runs
        end = select.poll()
        daemon = os.pidfd_open(int(leaving.control("daemon").read_text()))
        try:
            end.register(daemon, select.POLLIN)
            anna.kill()
            assert end.poll(PATIENCE_MS), "the daemon outlived its build server"
        finally:
            os.close(daemon)
