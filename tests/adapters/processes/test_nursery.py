"""A nursery whose build server is killed at any moment ends by itself, without a word."""

import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.packages import require_that

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "import sys; from buildtool.adapters.processes.keeper import main; main(int(sys.argv[1]))"


def nursery(theirs: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(theirs.fileno())],
        cwd=ROOT,
        pass_fds=[theirs.fileno()],
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("ready", [True, False])
def test_a_nursery_ends_in_silence_when_nobody_has_read_or_will_read_that_it_is_ready(ready: bool) -> None:
    """What was not read is lost with the connection, which then does not end but breaks."""
    linux = sys.platform.startswith("linux")
    require_that(present=linux, what="there are no subreapers", remedy="run this test on Linux")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with nursery(theirs) as process:
        theirs.close()
        if ready:
            assert select.select([ours], [], [], 30)[0]
        ours.close()
        said = process.communicate(timeout=30)[1]
    assert (process.returncode, said) == (0, b"")
