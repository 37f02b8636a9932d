"""A pid file is held by the process that wrote it: stale ones, and numbers of other programs, stop nobody."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from buildtool.errors import AlreadyRunning, UsageError
from buildtool.programs.serving.pid_file import HELD, PidFile, running

ROOT = Path(__file__).resolve().parents[3]

HOLDER = """
import sys, time
from pathlib import Path
from buildtool.programs.serving.pid_file import PidFile
file = PidFile.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
file.release()
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HELD, "")


def holder(path: Path) -> subprocess.Popen[str]:
    """Return a process that holds a pid file, until its standard input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_a_pid_file_has_the_number_is_private_and_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    file = PidFile.take(path)
    assert path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.release()
    assert not list(tmp_path.iterdir())


def test_a_stale_file_with_the_number_of_another_program_names_nobody_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\n")
    assert running(path) is None
    file = PidFile.take(path)
    assert path.read_text() == f"{os.getpid()}\n"
    file.release()


def test_a_process_that_has_ended_does_not_run_though_what_it_left_holds_its_file(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path.write_text(f"{ended.pid}\n")
    with path.open() as left:
        fcntl.flock(left, fcntl.LOCK_EX)
        assert running(path) is None
        PidFile.take(path).release()


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "99999999999", "1 2"])
def test_what_is_no_pid_file_is_neither_believed_nor_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pid"
    path.write_text(text)
    for act in (running, PidFile.take):
        with pytest.raises(UsageError, match="holds no number of a process: name another file"):
            act(path)
    assert path.read_text() == text


def test_a_pipe_is_no_pid_file_and_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    os.mkfifo(path)
    for act in (running, PidFile.take):
        with pytest.raises(UsageError, match="cannot be read: it is a pipe, and no file"):
            act(path)


def test_where_no_file_can_be_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--pid-file: .*/gone/pid cannot be written: No such file"):
        PidFile.take(tmp_path / "gone" / "pid")


def test_a_process_that_executes_itself_anew_goes_on_holding_its_file(tmp_path: Path) -> None:
    """Its number and the descriptor stay, which the environment says; that of another process says nothing."""
    path = tmp_path / "pid"
    first = PidFile.take(path)
    again = PidFile.take(path)
    assert again == first
    first.release()


@pytest.mark.world
def test_of_two_starts_at_once_one_holds_the_file_and_the_other_names_it(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    both = [holder(path) for _ in range(2)]
    said = [one.stdout.readline() for one in both if one.stdout]
    assert sorted(said) == ["", "held\n"]
    first, second = both if said[0] else both[::-1]
    process = running(path)
    assert process is not None
    assert process.number == first.pid
    process.close()
    with pytest.raises(AlreadyRunning, match=f"it runs already, as process {first.pid} "):
        PidFile.take(path)
    for one in (first, second):
        _, error = one.communicate()
        assert (one is second) == (f"it runs already, as process {first.pid}" in error)


@pytest.mark.world
def test_who_is_stopped_is_waited_for_until_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with holder(path) as one:
        assert one.stdout is not None
        one.stdout.readline()
        process = running(path)
        assert process is not None
        assert not process.gone(0.0)
        process.stop()
        one.wait()
        assert process.gone(30.0)
        process.stop()  # which says nothing to nobody
        process.close()
        assert one.returncode == -signal.SIGTERM
    assert running(path) is None
