"""A log in a file: lines are whole and none is lost, whoever renames the file and whenever."""

import argparse
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from buildtool.errors import UsageError
from buildtool.programs.common import output
from buildtool.programs.serving.log_file import LogFile, read_count, read_size


def opened(path: Path, size: int = 100, count: int | None = 3, *, rotates: bool = True) -> LogFile:
    log = LogFile(path, size, count, rotates=rotates)
    log.open()
    return log


def read(directory: Path, name: str = "log") -> list[str]:
    """All lines of the files of a log, the oldest first."""
    numbers = sorted((int(one.suffix[1:]) for one in directory.glob(f"{name}.*")), reverse=True)
    files = [directory / f"{name}.{number}" for number in numbers] + [directory / name]
    return [line for one in files for line in one.read_text().splitlines()]


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 5) | st.none())
def test_a_log_is_as_small_as_was_said_its_files_as_many_and_what_is_missing_is_the_oldest(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], count: int | None
) -> None:
    directory = tmp_path_factory.mktemp("log")
    lines = [f"{number:03}{'x' * length}" for number, length in enumerate(lengths)]
    log = opened(directory / "log", 100, count)
    for line in lines:
        log.write(f"{line}\n")
    log.close()
    files = list(directory.iterdir())
    assert all(one.stat().st_size <= 100 for one in files)
    assert count is None or len(files) <= count + 1
    kept = read(directory)
    assert kept == lines[len(lines) - len(kept) :]
    assert count is not None or kept == lines
    assert len(kept) == len(lines) or len(files) == (count or 0) + 1


@pytest.mark.parametrize("rotates", [False, True], ids=["left to others", "rotating too"])
def test_renames_under_load_lose_no_line(tmp_path: Path, rotates: bool) -> None:
    """As logrotate does: the file is renamed while lines are written, and no signal is sent."""
    log = opened(tmp_path / "log", 10_000, None, rotates=rotates)
    enough = threading.Event()
    lines = 0

    def write() -> None:
        nonlocal lines
        while not enough.is_set():
            log.write(f"{lines}\n")
            lines += 1

    writing = threading.Thread(target=write)
    writing.start()
    renamed = 0
    while renamed < 20:
        try:
            (tmp_path / "log").rename(tmp_path / f"away-{renamed}")
        except FileNotFoundError:
            continue  # it is not there again yet
        renamed += 1
    enough.set()
    writing.join()
    log.write("last\n")
    log.close()
    found = [line for one in tmp_path.iterdir() for line in one.read_text().splitlines()]
    assert sorted(found) == sorted(["last", *map(str, range(lines))])
    assert (tmp_path / "log").read_text().endswith("last\n")


def test_a_crash_in_the_midst_of_a_rotation_costs_no_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("c" * 90 + "\n")
    (tmp_path / "log.2").write_text("b\n")
    (tmp_path / "log.3").write_text("a\n")
    log = opened(tmp_path / "log")
    log.write("d" * 50 + "\n")
    log.close()
    assert read(tmp_path) == ["a", "b", "c" * 90, "d" * 50]


def test_a_log_is_for_its_account_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        opened(tmp_path / "log").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_two_programs_that_rotate_do_not_share_a_log_and_two_that_do_not_may(tmp_path: Path) -> None:
    first = opened(tmp_path / "log")
    with pytest.raises(UsageError, match=r"another program writes .*/log: give each a file of its own"):
        opened(tmp_path / "log")
    second = opened(tmp_path / "log", rotates=False)
    first.write("one\n")
    second.write("two\n")
    assert read(tmp_path) == ["one", "two"]
    first.close()
    second.close()


def test_what_was_rotated_is_locked_again(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    log.write("x" * 99 + "\n")
    log.write("y\n")
    with pytest.raises(UsageError, match="another program writes"):
        opened(tmp_path / "log")
    log.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [("gone/log", "No such file or directory"), (".", "Is a directory"), ("pipe", "No such device or address")],
)
def test_what_cannot_be_a_log_is_named_in_one_line(tmp_path: Path, name: str, words: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=f"^--log-file: .* cannot be written: {words}$"):
        opened(tmp_path / name)


def test_a_device_is_no_log() -> None:
    with pytest.raises(UsageError, match="it is no file"):
        opened(Path(os.devnull))


def test_lines_that_a_full_disk_refused_are_counted_where_it_takes_lines_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path / "log", 1_000)
    write = os.write
    full = [True]

    def written(descriptor: int, data: bytes) -> int:
        if full[0]:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr("buildtool.programs.serving.log_file.os.write", written)
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            log.write("lost\n")
    full[0] = False
    log.write("kept\n")
    log.close()
    assert read(tmp_path) == ["3 lines could not be written here", "kept"]


def test_where_no_new_log_can_be_begun_the_old_one_goes_on_and_that_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    log = opened(tmp_path / "there" / "log")
    (tmp_path / "there").rename(tmp_path / "away")
    log.write("one\n")
    log.write("two\n")
    assert (tmp_path / "away" / "log").read_text() == "one\ntwo\n"
    assert capsys.readouterr().err.count("cannot be begun anew, and what there is grows on: No such file") == 1
    (tmp_path / "there").mkdir()
    log.write("three\n")
    log.close()
    assert (tmp_path / "there" / "log").read_text() == "three\n"


def test_what_is_written_past_the_program_goes_into_the_log_that_is_current(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    number = os.open(os.devnull, os.O_WRONLY)
    log.point((number,))
    os.write(number, b"early\n")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.write("line\n")
    os.write(number, b"late\n")
    os.close(number)
    log.close()
    assert read(tmp_path) == ["early", "line", "late"]


def test_what_ends_a_program_is_complained_of_in_its_log_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = opened(tmp_path / "log")
    with output.copied(log):
        output.complain("port 1 is taken")
    output.complain("not there")
    log.close()
    assert read(tmp_path) == ["port 1 is taken"]
    assert capsys.readouterr().err == "port 1 is taken\nnot there\n"


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("500K", 512_000), ("10m", 10 * 1024**2), ("1G", 1024**3)])
def test_a_size_is_in_bytes_or_larger_units(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1.5M", "4095", "3K", "٣٣٣٣٣", "9" * 20, "10MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a size: say bytes, or 500K|at least 4096 bytes"):
        read_size(text)


def test_a_count_is_a_number_or_none() -> None:
    assert (read_count("1"), read_count("none"), read_count("None")) == (1, None, None)
    for wrong in ("0", "-1", "x", "", "1e3", "100001"):
        with pytest.raises(argparse.ArgumentTypeError, match="or none to keep all"):
            read_count(wrong)


@pytest.mark.world
def test_a_server_of_ours_writes_its_log_into_the_file_and_says_there_why_it_ends(tmp_path: Path) -> None:
    program = (
        "import sys; from argparse import Namespace; from pathlib import Path\n"
        "from buildtool.errors import PortTaken\n"
        "from buildtool.programs.common import program\n"
        "from buildtool.programs.serving.hosting import hosted\n"
        "from twisted.logger import Logger\n"
        "async def main(reactor, stop):\n"
        "    for number in range(200): Logger(namespace='buildtool').info('line {n} ' + 'x' * number, n=number)\n"
        "    raise PortTaken('port 1 is taken')\n"
        "said = Namespace(log_file=Path('log'), log_size=8192, log_count=None, no_logrotate=False,"
        " daemon=False, pid_file=None)\n"
        "sys.exit(hosted('thing', lambda said, log: program.run('thing', main, log=log))(said))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "thing: port 1 is taken\n")
    assert (tmp_path / "log.1").exists()
    assert (tmp_path / "log").read_text().splitlines()[-1] == "thing: port 1 is taken"
