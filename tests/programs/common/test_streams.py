"""All programs with output that is closed, full, not read or in another encoding: one line or the right output."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs.common.surroundings import QUIET, ROOT, bare, shell

PRINTING = [
    "startcompile.py --help",
    "startcompile.py --version",
    "metaserver --help",
    "metaserver --check-config",
    "webserver --check-config",
    "buildserver.py --version",
    "buildserver.py --show-info --no-cross",
    "buildserver.py --show-info --no-cross --json",
]
REFUSED = {
    "startcompile.py --host 127.0.0.1 --port 1 --explain": 7,
    "metaserver --status": 7,
    "metaserver --fsck": 1,
    "webserver --nonsense": 2,
}

SETTING = 'export BUILDTOOL_STATE_DIR=$DIR/state BUILDTOOL_BUILD_DIR=$DIR/build; run() { "$PY" "$BIN"/$COMMAND; }; '


@pytest.mark.parametrize("command", PRINTING)
def test_output_that_cannot_be_written_is_told_in_one_line_and_by_the_exit_code(command: str, tmp_path: Path) -> None:
    done = shell(SETTING + "run > /dev/full", bare(LANG="C"), COMMAND=command, DIR=str(tmp_path))
    program = command.split(maxsplit=1)[0]
    assert done.stderr.decode() == (
        f"{program}: standard output cannot be written, and not everything was printed: No space left on device\n"
    )
    assert done.returncode == 1


@pytest.mark.parametrize("command", REFUSED)
def test_what_ends_with_a_complaint_ends_so_too_when_it_cannot_be_heard(command: str, tmp_path: Path) -> None:
    script = SETTING + "run > /dev/full; echo $?; run <&- >&- 2>&-; echo $?"
    done = shell(script, bare(LANG="C"), COMMAND=command, DIR=str(tmp_path))
    assert [int(code) for code in done.stdout.split()] == 2 * [REFUSED[command]]
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("command", [PRINTING[0], PRINTING[3], PRINTING[4], PRINTING[6]])
def test_streams_that_are_closed_and_readers_that_go_are_no_defect(command: str, tmp_path: Path) -> None:
    script = """
        run | true; unread=${PIPESTATUS[0]}
        run >&-; closed=$?
        run <&- >&- 2>&-; none=$?
        PYTHONIOENCODING=ascii run 2> /dev/full > "$DIR/ascii"
        echo $unread $closed $none $?
    """
    done = shell(SETTING + script, bare(LANG="C"), COMMAND=command, DIR=str(tmp_path))
    said = done.stderr.decode()
    unread, *others = map(int, done.stdout.split())
    assert not [word for word in QUIET if word in said], said
    program = command.split(maxsplit=1)[0]
    assert said == f"{program}: standard output cannot be written, and not everything was printed: it is closed\n"
    assert others == [1, 1, 0]
    assert unread in (0, 141)  # 0 if it was faster than the reader's end
    assert (tmp_path / "ascii").read_bytes().count(b"\n") > 1


@pytest.mark.parametrize("room", [60_000, 70_000, 80_000, 90_000])
@pytest.mark.parametrize("command", PRINTING[1:3])
def test_too_little_memory_is_told_in_one_line(command: str, room: int, tmp_path: Path) -> None:
    """Whichever part of the program it is that finds no room while it is loaded."""
    script = SETTING + f"ulimit -v {room}; run"
    done = shell(script, bare(LANG="C"), COMMAND=command, DIR=str(tmp_path))
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") == (done.returncode != 0)


def test_a_defect_is_told_in_one_line_where_there_is_no_memory_to_say_where_it_was() -> None:
    """The same, at the one moment that no limit hits for certain: while the line is made."""
    code = """if True:
        import sys, traceback
        from buildtool.programs.common import launch
        def full(*_): raise MemoryError
        def loaded(_): raise SystemError("no room")
        traceback.extract_tb, launch._loaded = full, loaded
        sys.exit(launch._run("metaserver", "metaserver"))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    said = "metaserver: a defect of metaserver: SystemError (there is not enough memory to say where; see ulimit -a)"
    assert (done.returncode, done.stderr) == (1, f"{said}\n")
