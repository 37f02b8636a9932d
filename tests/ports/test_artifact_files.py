"""``ArtifactFiles`` and ``ArtifactRemover``: the real store and remover, and the memory of the metaserver's tests."""

import errno
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest
from attrs import define, field

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.artifact_removal import ArtifactRemoval
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.filesystem import FileStatus, RealDisk
from buildtool.errors import BadUpload, StorageUnavailable, WrongDigest
from buildtool.ports.metaserver import ArtifactFiles
from tests.support.inline import run
from tests.support.memory import MemoryFiles

DATA, OTHER, LONGER = b"an artifact", b"of anothers", b"an artifact and more"
SIZE = len(DATA)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


DIGEST = digest_of(DATA)
ALL = {digest_of(data) for data in (DATA, OTHER, LONGER)}


class Remover(ArtifactFiles, Protocol):
    """Both ports in one."""

    async def remove_unless(self, digest: str, named: Callable[[], Awaitable[bool]]) -> bool: ...


class Failing(RealDisk):
    """A disk that is away while it is ``broken``."""

    broken = False

    def look(self, path: Path) -> FileStatus:
        self._check()
        return super().look(path)

    def rename(self, source: Path, target: Path) -> None:
        self._check()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._check()
        super().unlink(path)

    def _check(self) -> None:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")


@define
class Stored:
    """The real ones, over a disk that may fail."""

    directory: Path
    disk: Failing = field(factory=Failing)
    store: ArtifactStore = field(init=False)
    files: Remover = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = ArtifactStore(self.directory, Inline(), self.disk)
        self.files = ArtifactRemoval(self.directory, self.store, Inline(), self.disk)
        run(self.store.start())

    def upload(self, data: bytes, build_id: int = 7, epoch: int = 1) -> None:
        async def send() -> None:
            upload = await self.store.uploads.begin(build_id, epoch, 0, len(data), lambda: None)
            await upload.write([data])
            await upload.close()

        run(send())

    def fail(self, *, now: bool) -> None:
        self.disk.broken = now


@define
class Remembered:
    """What the metaserver's tests have."""

    directory: Path
    files: MemoryFiles = field(factory=lambda: MemoryFiles(missing=set(ALL)))

    def upload(self, data: bytes, build_id: int = 7, epoch: int = 1) -> None:
        self.files.uploads[build_id, epoch] = (digest_of(data), len(data))

    def fail(self, *, now: bool) -> None:
        self.files.trouble = StorageUnavailable("the disk is away") if now else None


At = Stored | Remembered


@pytest.fixture(params=[Stored, Remembered])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> At:
    made: At = request.param(tmp_path)
    return made


def publish(at: At, digest: str = DIGEST, size: int = SIZE, build_id: int = 7, epoch: int = 1) -> None:
    run(at.files.publish(build_id, epoch, digest, size))


def there(at: At, digest: str = DIGEST, size: int = SIZE) -> bool:
    return not run(at.files.absent([(digest, size)]))


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


def test_what_was_published_is_there_with_its_size_and_nothing_else_is(at: At) -> None:
    assert not there(at)
    at.upload(DATA)
    assert not there(at), "it was only uploaded"
    publish(at)
    wanted = [(DIGEST, SIZE), (DIGEST, SIZE + 1), (digest_of(OTHER), SIZE), ("no digest", 3), (DIGEST, SIZE)]
    assert run(at.files.absent(wanted)) == frozenset(wanted[1:4])
    assert run(at.files.absent([])) == frozenset()


def test_publishing_again_what_is_there_is_harmless_whoever_does_it_and_whatever_they_sent(at: At) -> None:
    """A build server that has not heard the answer tells its end again; and two may make the same bytes."""
    at.upload(DATA)
    publish(at)
    publish(at)
    publish(at, build_id=8)
    at.upload(DATA, 9)
    publish(at, build_id=9)
    at.upload(b"half", 10)
    publish(at, build_id=10)
    assert there(at)
    with pytest.raises(BadUpload):
        publish(at, size=SIZE + 1)
    assert there(at)


def test_what_was_not_uploaded_or_not_whole_is_not_published_until_it_is(at: At) -> None:
    at.upload(DATA, epoch=2)
    with pytest.raises(BadUpload):
        publish(at)
    for _ in range(2):
        at.upload(DATA[:-1])
        with pytest.raises(BadUpload):
            publish(at)
    with pytest.raises(BadUpload):
        publish(at, "no digest")
    assert not there(at)
    at.upload(DATA)
    publish(at)
    assert there(at)


def test_bytes_that_are_not_those_of_the_digest_are_refused_and_gone(at: At) -> None:
    at.upload(OTHER)
    with pytest.raises(WrongDigest):
        publish(at)
    with pytest.raises(BadUpload):
        publish(at, digest_of(OTHER))
    assert run(at.files.absent([(one, SIZE) for one in ALL])) == {(one, SIZE) for one in ALL}


def test_what_was_discarded_is_not_published_and_discarding_nothing_does_not_matter(at: At) -> None:
    run(at.files.discard(7, 1))
    at.upload(DATA)
    at.upload(LONGER, epoch=2)
    for _ in range(2):
        run(at.files.discard(7, 1))
    with pytest.raises(BadUpload):
        publish(at)
    publish(at, digest_of(LONGER), len(LONGER), epoch=2)
    run(at.files.discard(7, 2))
    assert there(at, digest_of(LONGER), len(LONGER)), "it is no upload any more"


def test_a_disk_that_is_away_is_no_answer_and_afterwards_everything_is_as_it_was(at: At) -> None:
    at.upload(DATA)
    at.fail(now=True)
    with pytest.raises(StorageUnavailable):
        there(at)
    with pytest.raises(StorageUnavailable):
        publish(at)
    with pytest.raises(StorageUnavailable):
        run(at.files.discard(7, 1))
    at.fail(now=False)
    publish(at)
    at.fail(now=True)
    with pytest.raises(StorageUnavailable):
        run(at.files.remove_unless(DIGEST, no))
    at.fail(now=False)
    assert there(at)


def test_a_file_is_removed_once_and_only_if_nothing_names_it(at: At) -> None:
    at.upload(DATA)
    publish(at)
    assert not run(at.files.remove_unless(DIGEST, yes))
    assert there(at)
    assert run(at.files.remove_unless(DIGEST, no))
    assert not there(at)
    assert not run(at.files.remove_unless(DIGEST, no)), "there is none any more"
    at.upload(DATA)
    publish(at)
    assert there(at)
