"""Directories of ours: nobody else reads or writes in them, whatever the umask is and whatever they were before."""

import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.adapters.storage.private_directories import OTHERS, OTHERS_WRITE, make_private, tighten
from tests.support.packages import require_that

MODES = st.integers(0, 0o777).map(lambda mode: mode | 0o700)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@given(st.integers(0, 0o077), st.one_of(st.none(), MODES))
@example(0, None)
@example(0o077, 0o777)
def test_a_private_directory_is_private_and_what_was_open_is_told_once(umask: int, before: int | None) -> None:
    with TemporaryDirectory() as directory:
        place = Path(directory) / "above" / "place"
        if before is not None:
            place.mkdir(parents=True)
            place.chmod(before)
        old = os.umask(umask)
        try:
            told = make_private([place])
        finally:
            os.umask(old)
        assert mode(place) == 0o700
        assert len(told) == bool((before or 0) & OTHERS)
        assert make_private([place]) == []


@given(MODES)
def test_only_what_is_forbidden_is_taken_away(before: int) -> None:
    with TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(before)
        told = tighten(place, OTHERS_WRITE)
        assert mode(place) == before & ~OTHERS_WRITE
        assert len(told) == bool(before & OTHERS_WRITE)


def test_what_is_not_there_or_belongs_to_somebody_else_is_no_error(tmp_path: Path) -> None:
    assert tighten(tmp_path / "none", OTHERS) == []
    (tmp_path / "file").touch()
    assert tighten(tmp_path / "file" / "below", OTHERS) == []
    require_that(present=os.geteuid() == 0, what="another account is tried", remedy="run the tests as root")
    place = tmp_path / "theirs"
    place.mkdir()
    place.chmod(0o777)
    tmp_path.chmod(0o755)
    os.chown(place, 1, 1)
    os.seteuid(65_534)
    try:
        told = tighten(place, OTHERS)
    finally:
        os.seteuid(0)
    assert len(told) == 1
    assert mode(place) == 0o777


def test_what_is_everybody_s_stays_so(tmp_path: Path) -> None:
    pipe, shared = tmp_path / "pipe", tmp_path / "shared"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    assert tighten(pipe, OTHERS_WRITE) == []
    assert mode(pipe) == 0o666
    shared.mkdir()
    shared.chmod(0o1777)
    assert tighten(shared, OTHERS_WRITE) == [f"{shared} is used by others, too (mode 1777): name a directory below it"]
    assert mode(shared) == 0o1777
