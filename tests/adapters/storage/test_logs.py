"""A log is what was appended to it, whatever was sent twice, while it grows and once it is compressed."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import zstandard
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.logs import FRAME, READ_LIMIT, LogState, LogStore
from buildtool.errors import (
    BadOffset,
    BadUpload,
    BuildToolError,
    Damaged,
    NotFound,
    StorageUnavailable,
    TooLong,
)

T = TypeVar("T")
LIMIT = 64 * 1024 * 1024


class LogCase(SynchronousTestCase):
    """A store whose threads are this one, so that every result is there at once."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.store = LogStore(self.state, Inline())
        self.do(self.store.start())

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def fails(self, kind: type[BuildToolError], coroutine: Coroutine[Any, Any, object]) -> Any:
        error = self.failureResultOf(Deferred.fromCoroutine(coroutine), kind).value
        assert "\n" not in str(error)
        return error

    def append(self, offset: int, data: bytes, limit: int = LIMIT) -> int:
        return self.do(self.store.append(7, 1, offset, data, limit))

    def read(self, start: int, size: int, build_id: int = 7) -> bytes:
        return self.do(self.store.read(build_id, 1, start, size))

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.state / "logs").iterdir())

    @property
    def packed(self) -> Path:
        return self.state / "logs" / "7-1.log.zst"


class AppendTests(LogCase):
    @given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300))), st.integers(1, 99))
    def test_any_split_with_any_overlaps_gives_the_same_log(
        self, data: bytes, pieces: list[tuple[int, int]], build_id: int
    ) -> None:
        self.setUp()
        length = 0
        for start, size in [*pieces, (0, len(data))]:
            piece = data[start : start + size]
            if start > length:
                assert self.fails(BadOffset, self.store.append(build_id, 1, start, piece, LIMIT)).length == length
                continue
            length = max(length, start + len(piece))
            assert self.do(self.store.append(build_id, 1, start, piece, LIMIT)) == length
        assert self.read(0, 1000, build_id) == data
        self.do(self.store.finish(build_id, 1))
        assert self.read(0, 1000, build_id) == data

    def test_a_log_does_not_grow_beyond_its_limit_but_takes_what_it_has_again(self) -> None:
        assert self.append(0, b"12345678", 8) == 8
        self.fails(TooLong, self.store.append(7, 1, 8, b"9", 8))
        self.fails(TooLong, self.store.append(7, 1, 4, b"56789", 8))
        assert self.append(4, b"5678", 8) == 8
        assert self.read(0, 99) == b"12345678"

    def test_a_gap_leaves_nothing_behind(self) -> None:
        self.fails(BadOffset, self.store.append(7, 1, 1, b"x", LIMIT))
        self.fails(NotFound, self.store.state(7, 1))

    def test_attempts_have_logs_of_their_own(self) -> None:
        self.append(0, b"first")
        self.do(self.store.append(7, 2, 0, b"second", LIMIT))
        assert self.read(0, 99) == b"first"


class FinishTests(LogCase):
    def test_a_finished_log_takes_nothing_new_but_answers_what_it_has(self) -> None:
        self.append(0, b"all there is")
        self.do(self.store.finish(7, 1))
        self.do(self.store.finish(7, 1))
        assert self.append(4, b"there") == 12
        self.fails(BadUpload, self.store.append(7, 1, 12, b"!", LIMIT))
        assert self.do(self.store.state(7, 1)) == LogState(12, finished=True)
        assert self.names() == ["7-1.log.idx", "7-1.log.zst"]

    @given(st.data())
    def test_every_range_of_a_compressed_log_is_the_range_of_the_log(self, data: st.DataObject) -> None:
        whole = (b"line %d\n" * 20000 % tuple(range(20000)) + bytes(range(256))) * 4
        assert len(whole) > 2 * FRAME
        if not self.packed.exists():
            self.append(0, whole)
            self.do(self.store.finish(7, 1))
        start = data.draw(st.integers(0, len(whole) + 10))
        size = data.draw(st.integers(0, 3 * FRAME))
        assert self.read(start, size) == whole[start : start + size]

    def test_one_read_is_bounded(self) -> None:
        self.append(0, bytes(READ_LIMIT + 5))
        assert len(self.read(0, 10 * READ_LIMIT)) == READ_LIMIT
        self.do(self.store.finish(7, 1))
        assert len(self.read(0, 10 * READ_LIMIT)) == READ_LIMIT

    def test_other_programs_can_decompress_it(self) -> None:
        whole = bytes(range(256)) * 3000
        self.append(0, whole)
        self.do(self.store.finish(7, 1))
        with self.packed.open("rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            assert reader.read() == whole

    def test_an_attempt_that_said_nothing_has_an_empty_finished_log(self) -> None:
        self.do(self.store.finish(7, 1))
        assert self.do(self.store.state(7, 1)) == LogState(0, finished=True)
        assert self.read(0, 10) == b""

    def test_a_start_clears_away_what_a_crash_left(self) -> None:
        """A crash while compressing leaves the new file half done; one right after it leaves the old one."""
        self.append(0, b"kept")
        self.packed.with_name("7-1.log.zst.new").write_bytes(b"half")
        self.do(self.store.start())
        assert self.read(0, 9) == b"kept"
        self.do(self.store.finish(7, 1))
        (self.state / "logs" / "7-1.log").write_bytes(b"kept")
        self.do(self.store.start())
        assert self.names() == ["7-1.log.idx", "7-1.log.zst"]
        assert self.read(0, 9) == b"kept"

    def test_those_that_still_grow_are_known_by_their_files(self) -> None:
        """A crash between the end of an Attempt and of its log leaves one that nobody would ever finish."""
        for build_id, epoch in ((7, 1), (7, 2), (12, 1)):
            self.do(self.store.append(build_id, epoch, 0, b"x", LIMIT))
        self.do(self.store.finish(7, 1))
        (self.state / "logs" / "something else.log").touch()
        assert self.do(LogStore(self.state, Inline()).unfinished()) == [(7, 2), (12, 1)]

    @given(st.data())
    def test_a_damaged_file_is_said_to_be_damaged(self, data: st.DataObject) -> None:
        self.setUp()
        self.append(0, bytes(range(256)) * 20)
        self.do(self.store.finish(7, 1))
        good = bytearray(self.packed.read_bytes())
        where = data.draw(st.integers(0, len(good) - 1))
        good[where] ^= data.draw(st.integers(1, 255))
        self.packed.write_bytes(bytes(good[: data.draw(st.integers(0, len(good)))]))
        try:
            got = self.read(0, 9999)
        except AssertionError:
            self.fails(Damaged, self.store.read(7, 1, 0, 9999))
        else:
            assert got == bytes(range(256)) * 20  # the byte was one that nothing depends on

    def test_a_link_in_place_of_a_log_is_not_followed(self) -> None:
        (self.state / "key").write_bytes(b"secret")
        (self.state / "logs" / "7-1.log").symlink_to(self.state / "key")
        self.fails(StorageUnavailable, self.store.read(7, 1, 0, 9))
        self.fails(StorageUnavailable, self.store.append(7, 1, 0, b"x", LIMIT))


class ChangedTests(LogCase):
    def test_growing_and_ending_are_told_and_repeating_is_not(self) -> None:
        first = self.store.changed(7, 1)
        self.append(0, b"ab")
        self.successResultOf(first)
        second, third = self.store.changed(7, 1), self.store.changed(7, 1)
        self.append(0, b"ab")
        self.assertNoResult(second)
        self.do(self.store.append(8, 1, 0, b"other", LIMIT))
        self.assertNoResult(second)
        self.do(self.store.finish(7, 1))
        self.successResultOf(second)
        self.successResultOf(third)

    def test_whoever_gives_up_leaves_nothing_behind(self) -> None:
        first, second = self.store.changed(7, 1), self.store.changed(7, 1)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        assert self.store._watchers == {}
