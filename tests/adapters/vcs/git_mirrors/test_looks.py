"""How a mirror looks is another after anything at all was done to it, and nothing just changed is relied on."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from buildtool.adapters.vcs.git_mirrors import looks
from buildtool.adapters.vcs.git_mirrors.looks import look
from buildtool.adapters.vcs.git_mirrors.mirror import Mirror
from tests.adapters.vcs.git_mirrors.mirrors import Mirrored


def rewritten(path: Path) -> None:
    """Write the same number of bytes, and give the file its times back."""
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())
    new.rename(path)


def emptied(path: Path) -> None:
    path.unlink()
    path.touch()


ACTS: dict[str, Callable[[Path], object]] = {
    "a file is written with its times kept": lambda top: rewritten(top / "objects" / "file"),
    "a file is put in another's place": lambda top: replaced(top / "objects" / "file"),
    "a file is emptied": lambda top: emptied(top / "objects" / "file"),
    "a file is removed": lambda top: (top / "objects" / "file").unlink(),
    "a file is closed": lambda top: (top / "objects" / "file").chmod(0),
    "a file has another name": lambda top: os.link(top / "objects" / "file", top.parent / "elsewhere"),
    "a pipe is there": lambda top: os.mkfifo(top / "refs" / "pipe"),
    "a lock is there": lambda top: (top / "config.lock").touch(),
    "a link is there": lambda top: (top / "refs" / "link").symlink_to("/"),
    "an empty directory is there": lambda top: (top / "refs" / "new").mkdir(),
    "a directory is closed": lambda top: (top / "refs").chmod(0),
    "a directory is open to all": lambda top: (top / "refs").chmod(0o777),
    "a directory is gone": lambda top: (top / "refs").rmdir(),
    "the top is closed": lambda top: top.chmod(stat.S_IRUSR | stat.S_IXUSR),
    "the top has another name": lambda top: top.rename(top.with_name("other")),
    "what lies beside is written": lambda top: rewritten(top.parent / "beside"),
    "what lies beside is gone": lambda top: (top.parent / "beside").unlink(),
}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that was changed was changed long ago."""
    monkeypatch.setattr(looks, "now_ns", lambda: time.time_ns() + 10 * looks.SETTLED)


def mirror(directory: Path) -> Path:
    top = directory / "mirror"
    (top / "objects").mkdir(parents=True)
    (top / "refs").mkdir()
    (top / "objects" / "file").write_text("content")
    (directory / "beside").write_text("stamp")
    return top


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_a_mirror_looks_otherwise_after_anything_was_done_to_it(act: Callable[[Path], object], tmp_path: Path) -> None:
    top = mirror(tmp_path)
    before = look(top, tmp_path / "beside")
    assert before
    assert look(top, tmp_path / "beside") == before
    act(top)
    assert look(top, tmp_path / "beside") != before


def test_what_was_changed_only_just_now_is_no_look_to_rely_on(tmp_path: Path) -> None:
    assert not look(mirror(tmp_path), tmp_path / "beside")


class UntouchedTests(Mirrored):
    async def pinned(self) -> tuple[Mirror, str]:
        """A mirror with a pinned commit that was changed long ago, and seen to since."""
        commit = self.origin.commit("a")
        await self.mirror.resolve(self.url, "main")
        await self.mirror.pin(self.url, commit)
        self.patch(looks, "now_ns", lambda: time.time_ns() + 10 * looks.SETTLED)
        await self.mirror.pin(self.url, commit)
        return self.mirror.mirror(self.url), commit

    async def test_a_pin_that_is_there_already_writes_nothing_in_a_mirror_that_nobody_touched(self) -> None:
        mirror, commit = await self.pinned()
        self.assertTrue(mirror.seen)
        before = mirror.stamp.stat(), look(mirror.path, mirror.stamp)
        await self.mirror.pin(self.url, commit)
        self.assertEqual((mirror.stamp.stat(), look(mirror.path, mirror.stamp)), before)

    async def test_a_mirror_that_was_touched_since_it_was_seen_to_is_seen_to_again(self) -> None:
        mirror, commit = await self.pinned()
        (mirror.path / "HEAD").write_text("ref: refs/heads/elsewhere\n")
        (mirror.path / "config.lock").touch()
        await self.mirror.pin(self.url, commit)
        self.assertEqual((mirror.path / "HEAD").read_text(), "ref: refs/heads/main\n")
        self.assertFalse((mirror.path / "config.lock").exists())
