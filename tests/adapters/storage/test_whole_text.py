"""A file of text is there whole, or nothing is: not a part, not a directory, and what was there stays."""

import os
from pathlib import Path

import pytest

from buildtool.adapters.storage.whole_text import new_text, replace_text


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refused)


def below(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def test_a_new_file_is_there_with_its_directories(tmp_path: Path) -> None:
    with new_text(tmp_path / "a" / "b" / "c.txt", "é\n"):
        assert (tmp_path / "a" / "b" / "c.txt").read_text("utf-8") == "é\n"
    assert below(tmp_path) == ["a", "a/b", "a/b/c.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_fails_once_it_is_there_takes_it_back(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_text(tmp_path / "a" / "b" / "c.txt", "c"):
        raise error
    assert below(tmp_path) == []


def test_what_has_the_name_already_stays_even_where_it_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("kept", "link"):
        with pytest.raises(FileExistsError), new_text(tmp_path / name, "new"):
            pass
    assert (tmp_path / "kept").read_text() == "mine"
    assert below(tmp_path) == ["kept", "link"]


@pytest.mark.usefixtures("full")
def test_on_a_full_disk_nothing_is_left_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(OSError, match="No space"):
        replace_text(tmp_path / "kept", "new")
    with pytest.raises(OSError, match="No space"), new_text(tmp_path / "a" / "b" / "c.txt", "new"):
        pass
    assert (tmp_path / "kept").read_text() == "mine"
    assert below(tmp_path) == ["kept"]


def test_text_that_has_no_bytes_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError), new_text(tmp_path / "a" / "c.txt", "\udcff"):
        pass
    assert below(tmp_path) == []


def test_what_is_replaced_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a long text of before")
    replace_text(tmp_path / "kept", "new")
    assert (tmp_path / "kept").read_text() == "new"
    assert below(tmp_path) == ["kept"]
