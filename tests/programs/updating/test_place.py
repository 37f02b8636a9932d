"""The link of an installation leads to a whole version at every moment, and half-made ones are told from whole ones."""

import os
import stat
import threading
from pathlib import Path

import pytest

from buildtool.errors import AlreadyRunning, MachineFault
from buildtool.programs.updating.place import VersionPlace

A, B = "a" * 40, "b" * 40


def place(directory: Path) -> VersionPlace:
    """An installation with two versions, of which one is whole."""
    made = VersionPlace(directory, sync=lambda: None)
    for commit in (A, B):
        made.version(commit).mkdir(parents=True)
    made.mark_whole(A)
    return made


def test_the_link_is_there_whenever_it_is_looked_at_while_it_is_replaced(tmp_path: Path) -> None:
    made = place(tmp_path)
    made.lead_to(A)
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(made.link.resolve().name)

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(200):
        made.lead_to((A, B)[number % 2])
    done.set()
    looking.join()
    assert seen <= {A, B}
    assert made.current() == B


def test_what_was_not_made_to_its_end_is_not_whole_nor_what_is_being_removed(tmp_path: Path) -> None:
    made = place(tmp_path)
    assert (made.whole(A), made.whole(B), made.whole("")) == (True, False, False)
    assert made.versions() == (A, B)
    made.remove(A)
    made.remove(A)
    assert (made.versions(), made.whole(A)) == ((B,), False)


def test_there_may_be_no_link_yet_and_a_file_in_its_place_is_said(tmp_path: Path) -> None:
    made = place(tmp_path)
    assert made.current() == ""
    made.link.write_text("")
    with pytest.raises(MachineFault, match="is no link to a version"):
        made.current()
    made.link.unlink()
    made.link.symlink_to("/srv/checkout")
    with pytest.raises(MachineFault, match="leads to /srv/checkout, which is no version: remove it"):
        made.current()


def test_a_pipe_where_versions_should_be_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "versions")
    with pytest.raises(MachineFault, match="versions has no versions: Not a directory"):
        VersionPlace(tmp_path).versions()


def test_the_accounts_of_the_servers_may_enter_whatever_the_umask_of_who_installs(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with VersionPlace(tmp_path / "opt/farm").lock():
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "opt/farm").stat().st_mode) == 0o755


def test_what_holds_the_installation_is_named_and_gives_it_up_at_its_end(tmp_path: Path) -> None:
    made = place(tmp_path)
    with made.lock(), pytest.raises(AlreadyRunning, match=r"as process \d+"), made.lock():
        pass
    with made.lock():
        assert made.room()[1] > 0
