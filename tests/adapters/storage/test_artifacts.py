"""Artifacts are stored whole or not at all, and damaged ones are never opened."""

import errno
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.archive.checking import check_archive
from buildtool.adapters.storage.artifacts import LARGE, ArtifactStore, ContentCheck
from buildtool.adapters.storage.filesystem import RealDisk
from buildtool.adapters.storage.uploads import Upload
from buildtool.errors import (
    BadOffset,
    BadUpload,
    BuildToolError,
    Damaged,
    NotFound,
    StorageUnavailable,
    Superseded,
    UnsafeArchive,
    WrongDigest,
)
from tests.adapters.http.transfers import digest_of
from tests.adapters.maintenance.states import soil
from tests.support.rewriting import rewrite

T = TypeVar("T")


class StoreCase(SynchronousTestCase):
    """A store whose threads are this one, so that every result is there at once."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.store = self.opened()

    def opened(self, *keep: tuple[int, int], check: ContentCheck | None = None) -> ArtifactStore:
        store = ArtifactStore(self.state, Inline(), check=check)
        self.do(store.start(keep))
        return store

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def fails(self, kind: type[BuildToolError], coroutine: Coroutine[Any, Any, object]) -> Any:
        error = self.failureResultOf(Deferred.fromCoroutine(coroutine), kind).value
        assert "\n" not in str(error)
        return error

    def begin(self, offset: int = 0, size: int = 100) -> Upload:
        return self.do(self.store.uploads.begin(7, 1, offset, size, lambda: None))

    def send(self, data: bytes, offset: int = 0) -> None:
        upload = self.begin(offset, offset + len(data))
        self.do(upload.write([data]))
        self.do(upload.close())

    def publish(self, data: bytes, digest: str = "") -> None:
        self.do(self.store.publish(7, 1, digest or digest_of(data), len(data)))

    def path(self, data: bytes) -> Path:
        digest = digest_of(data)
        return self.state / "artifacts" / digest[:2] / f"{digest}.zip"

    def read(self, data: bytes) -> bytes:
        stored = self.do(self.store.open(digest_of(data)))
        try:
            return self.do(stored.read(0, stored.size))
        finally:
            stored.close()


class PublishTests(StoreCase):
    def test_what_was_uploaded_is_found_under_its_digest_and_the_upload_is_gone(self) -> None:
        self.send(b"bytes")
        self.publish(b"bytes")
        assert self.path(b"bytes").read_bytes() == b"bytes"
        assert list((self.state / "incoming").iterdir()) == []
        assert self.do(self.store.present(digest_of(b"bytes"), 5))
        assert not self.do(self.store.present(digest_of(b"bytes"), 6))
        assert self.read(b"bytes") == b"bytes"

    def test_what_may_not_be_kept_is_not_published_and_its_upload_is_gone(self) -> None:
        self.store = self.opened(check=check_archive)
        for data in (b"no zip", b"x" * LARGE * 2):
            self.send(data)
            self.fails(UnsafeArchive, self.store.publish(7, 1, digest_of(data), len(data)))
            assert not self.path(data).exists()
            assert self.do(self.store.uploads.uploaded(7, 1)) == 0
        empty = b"PK\5\6" + bytes(18)
        self.send(empty)
        self.publish(empty)
        assert self.read(empty) == empty

    def test_what_is_incomplete_is_not_looked_into(self) -> None:
        """Its rest may come: it is the machine's connection that is at fault."""
        self.store = self.opened(check=check_archive)
        self.send(b"PK")
        self.fails(BadUpload, self.store.publish(7, 1, digest_of(b"PK\5\6"), 4))
        assert self.do(self.store.uploads.uploaded(7, 1)) == 2

    def test_publishing_again_changes_nothing(self) -> None:
        self.send(b"bytes")
        self.publish(b"bytes")
        self.publish(b"bytes")
        assert self.path(b"bytes").read_bytes() == b"bytes"

    def test_an_upload_with_another_digest_is_thrown_away(self) -> None:
        self.send(b"bytes")
        self.fails(WrongDigest, self.store.publish(7, 1, digest_of(b"other"), 5))
        assert not self.do(self.store.present(digest_of(b"other"), 5))
        assert self.do(self.store.uploads.uploaded(7, 1)) == 0

    def test_an_upload_of_another_size_is_refused_and_can_go_on(self) -> None:
        self.send(b"byt")
        self.fails(BadUpload, self.store.publish(7, 1, digest_of(b"bytes"), 5))
        self.send(b"es", 3)
        self.publish(b"bytes")

    def test_nothing_uploaded_is_nothing_published(self) -> None:
        self.fails(BadUpload, self.store.publish(7, 1, digest_of(b"bytes"), 5))

    def test_half_an_upload_does_not_matter_when_another_attempt_has_published_the_same(self) -> None:
        """Whoever asks how much is there hears that it is all there, and sends no more."""
        upload = self.begin(0, 5)
        self.do(upload.write([b"by"]))
        self.do(upload.close())
        other = self.do(self.store.uploads.begin(8, 1, 0, 5, lambda: None))
        self.do(other.write([b"bytes"]))
        self.do(other.close())
        self.do(self.store.publish(8, 1, digest_of(b"bytes"), 5))
        self.publish(b"bytes")
        assert self.read(b"bytes") == b"bytes"
        assert list((self.state / "incoming").iterdir()) == []

    def test_a_digest_that_is_none_is_refused_and_makes_no_path(self) -> None:
        self.send(b"bytes")
        for digest in ("", "../../key", "A" * 64, digest_of(b"bytes") + "\n"):
            self.fails(BadUpload, self.store.publish(7, 1, digest, 5))
            assert not self.do(self.store.present(digest, 5))
            self.fails(NotFound, self.store.open(digest))

    def test_bytes_changed_on_disk_since_they_came_are_noticed_after_a_restart(self) -> None:
        self.send(b"bytes")
        (self.state / "incoming" / "7-1").write_bytes(b"bytez")
        self.store = self.opened((7, 1))
        self.fails(WrongDigest, self.store.publish(7, 1, digest_of(b"bytes"), 5))

    def test_a_good_copy_replaces_a_damaged_one(self) -> None:
        self.send(b"bytes")
        self.publish(b"bytes")
        rewrite(self.path(b"bytes"), b"bytez")
        self.fails(Damaged, self.store.open(digest_of(b"bytes")))
        self.send(b"bytes")
        self.publish(b"bytes")
        assert self.read(b"bytes") == b"bytes"

    def test_damage_that_keeps_the_size_is_found_when_it_is_opened_and_it_is_present_no_more(self) -> None:
        self.send(b"bytes")
        self.publish(b"bytes")
        assert self.read(b"bytes") == b"bytes"
        rewrite(self.path(b"bytes"), b"bytez")
        self.fails(Damaged, self.store.open(digest_of(b"bytes")))
        self.fails(Damaged, self.store.open(digest_of(b"bytes")))
        assert not self.do(self.store.present(digest_of(b"bytes"), 5))
        self.fails(BadUpload, self.store.publish(7, 1, digest_of(b"bytes"), 5))

    def test_damage_that_keeps_size_and_time_of_writing_is_found_too(self) -> None:
        self.send(b"as it should be")
        self.publish(b"as it should be")
        self.do(self.store.open(digest_of(b"as it should be"))).close()
        soil(self.path(b"as it should be"))
        self.fails(Damaged, self.store.open(digest_of(b"as it should be")))
        assert not self.do(self.store.present(digest_of(b"as it should be"), 15))

    def test_what_is_no_plain_file_is_not_waited_for(self) -> None:
        """A FIFO would not even be opened until somebody writes to it."""
        digest = digest_of(b"x")
        self.path(b"x").parent.mkdir()
        os.mkfifo(self.path(b"x"))
        self.fails(StorageUnavailable, self.store.open(digest))
        os.mkfifo(self.state / "incoming" / "7-1")
        upload = Deferred.fromCoroutine(self.store.uploads.begin(7, 1, 0, 1, lambda: None))
        assert "no plain file" in str(self.failureResultOf(upload, StorageUnavailable).value)

    def test_artifacts_on_a_file_system_of_their_own_are_published_whole(self) -> None:
        """As the system says it when a name is to go from one to the other; a copy that fails leaves the upload."""

        class Apart(RealDisk):
            full = False

            def rename(self, source: Path, target: Path) -> None:
                if ("artifacts" in source.parts) != ("artifacts" in target.parts):
                    raise OSError(errno.EXDEV, "Invalid cross-device link")
                super().rename(source, target)

            def append(self, file: int, data: bytes) -> None:
                if self.full:
                    raise OSError(errno.ENOSPC, "No space left on device")
                super().append(file, data)

        disk = Apart()
        self.store = ArtifactStore(self.state, Inline(), disk)
        self.do(self.store.start())
        data = b"across" * 400_000
        self.send(data)
        disk.full = True
        error = self.fails(StorageUnavailable, self.store.publish(7, 1, digest_of(data), len(data)))
        assert "the disk is full" in str(error)
        assert not self.path(data).exists()
        disk.full = False
        self.publish(data)
        assert self.path(data).read_bytes() == data
        assert list((self.state / "incoming").iterdir()) == []
        assert list((self.state / "artifacts" / "arriving").iterdir()) == []
        (self.state / "artifacts" / "arriving" / "left by a crash").touch()
        self.do(self.store.start())
        assert [path.name for path in (self.state / "artifacts").iterdir()] == [digest_of(data)[:2]]

    def test_damage_from_before_the_start_is_found(self) -> None:
        self.send(b"bytes")
        self.publish(b"bytes")
        rewrite(self.path(b"bytes"), b"bytez")
        self.store = self.opened()
        self.fails(Damaged, self.store.open(digest_of(b"bytes")))

    def test_a_link_in_place_of_an_artifact_is_not_followed(self) -> None:
        (self.state / "key").write_bytes(b"secret")
        path = self.path(b"secret")
        path.parent.mkdir()
        path.symlink_to(self.state / "key")
        self.fails(StorageUnavailable, self.store.open(digest_of(b"secret")))

    def test_a_directory_that_cannot_be_made_is_one_line_and_keeps_the_upload(self) -> None:
        self.send(b"bytes")
        self.path(b"bytes").parent.write_bytes(b"in the way")
        self.fails(StorageUnavailable, self.store.publish(7, 1, digest_of(b"bytes"), 5))
        self.path(b"bytes").parent.unlink()
        self.publish(b"bytes")


class UploadTests(StoreCase):
    @given(st.binary(max_size=200), st.lists(st.integers(0, 200)), st.booleans())
    def test_an_upload_in_any_parts_with_restarts_and_steps_back_arrives_whole(
        self, data: bytes, cuts: list[int], restart: bool
    ) -> None:
        there = 0
        for cut in [*(min(cut, len(data)) for cut in cuts), len(data)]:
            start = min(cut, there)
            upload = self.begin(start, len(data))
            self.do(upload.write([data[start:cut], b""]))
            self.do(upload.close())
            there = cut
            assert self.do(self.store.uploads.uploaded(7, 1)) == there
            if restart:
                self.store = self.opened((7, 1))
        self.publish(data)
        assert self.read(data) == data

    def test_a_gap_is_refused_with_how_much_is_there(self) -> None:
        assert self.fails(BadOffset, self.store.uploads.begin(7, 1, 5, 9, lambda: None)).length == 0
        assert list((self.state / "incoming").iterdir()) == []
        self.send(b"abc")
        assert self.fails(BadOffset, self.store.uploads.begin(7, 1, 5, 9, lambda: None)).length == 3

    def test_whoever_goes_back_is_judged_by_what_they_sent_then(self) -> None:
        self.send(b"byXes")
        upload = self.begin(2, 5)
        self.do(upload.write([b"tes"]))
        self.do(upload.verify(digest_of(b"bytes")))

    def test_the_newest_writer_is_the_only_one(self) -> None:
        told: list[str] = []
        older = self.do(self.store.uploads.begin(7, 1, 0, 5, lambda: told.append("older")))
        self.do(older.write([b"by"]))
        newer = self.begin(2, 5)
        assert told == ["older"]
        self.fails(Superseded, older.write([b"XX"]))
        self.fails(Superseded, older.verify(digest_of(b"by")))
        self.do(newer.write([b"tes"]))
        self.do(older.close())
        self.do(newer.verify(digest_of(b"bytes")))
        self.do(newer.close())
        self.publish(b"bytes")

    def test_publishing_ends_a_writer(self) -> None:
        upload = self.begin(0, 5)
        self.do(upload.write([b"bytes"]))
        self.publish(b"bytes")
        self.fails(Superseded, upload.write([b"more"]))
        assert self.read(b"bytes") == b"bytes"

    def test_a_discarded_upload_is_gone_and_discarding_nothing_is_fine(self) -> None:
        upload = self.begin(0, 5)
        self.do(upload.write([b"by"]))
        self.do(self.store.discard(7, 1))
        self.fails(Superseded, upload.write([b"tes"]))
        self.do(self.store.discard(7, 1))
        assert self.do(self.store.uploads.uploaded(7, 1)) == 0

    def test_a_start_removes_the_uploads_that_nobody_will_go_on_with(self) -> None:
        self.send(b"bytes")
        (self.state / "incoming" / "8-1").write_bytes(b"old")
        (self.state / "incoming" / "odd").mkdir()
        self.opened((7, 1))
        assert [path.name for path in (self.state / "incoming").iterdir()] == ["7-1"]

    def test_more_than_the_disk_can_hold_is_refused_before_a_byte_is_taken(self) -> None:
        self.fails(StorageUnavailable, self.store.uploads.begin(7, 1, 0, 2**60, lambda: None))
        self.fails(StorageUnavailable, self.store.uploads.room(2**60))
