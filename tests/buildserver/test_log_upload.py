"""A build's log on its way: in order and whole, or with a hole in the middle that says how big it is."""

import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buildtool.buildserver.log_upload import BATCH, PATIENCE, TAIL, WINDOW, LogPipe, Ring, clean
from buildtool.buildserver.masking import Masker
from buildtool.errors import BadUpload, Unavailable
from buildtool.model.logs.marks import LogMark, MarkKind
from buildtool.protocol.messages import LOG_TAIL_LIMIT
from tests.fakes_build import FakeUploads


class Pipes(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.receiver = Clock(), FakeUploads(log_limit=16 * 1024 * 1024)

    def pipe(self, limit: int = 16 * 1024 * 1024) -> LogPipe:
        return LogPipe(self.clock, self.append, limit)

    async def append(self, offset: int, data: bytes, marks: Sequence[LogMark] = ()) -> int:
        return await self.receiver.append_log("", "", offset, data, marks)

    @property
    def pieces(self) -> list[int]:
        return [size for _, size in self.receiver.appended]

    def closed(self, pipe: LogPipe, seconds: float = 2 * PATIENCE) -> bool:
        flushing = Deferred.fromCoroutine(pipe.flush())
        self.clock.pump([0.25] * int(seconds * 4))
        complete: bool = self.successResultOf(flushing)
        pipe.abandon()
        assert self.clock.getDelayedCalls() == []
        return complete

    def test_small_pieces_wait_a_moment_and_travel_together(self) -> None:
        pipe = self.pipe()
        for word in (b"one ", b"two ", b"three"):
            self.successResultOf(Deferred.fromCoroutine(pipe.write(word)))
        assert self.pieces == []
        self.clock.advance(0.25)
        assert self.receiver.log == b"one two three"
        assert self.pieces == [13]
        assert self.closed(pipe)

    def test_a_full_batch_waits_for_nothing(self) -> None:
        pipe = self.pipe()
        Deferred.fromCoroutine(pipe.write(b"x" * BATCH))
        assert self.pieces == [BATCH]

    def test_a_slow_metaserver_holds_the_command_up(self) -> None:
        """Beyond the window the writer waits, until the metaserver has taken something."""
        pipe, self.receiver.held = self.pipe(), Deferred()
        self.successResultOf(Deferred.fromCoroutine(pipe.write(b"x" * WINDOW)))
        writing = Deferred.fromCoroutine(pipe.write(b"y"))
        self.assertNoResult(writing)
        self.receiver.held.callback(None)
        self.successResultOf(writing)
        assert self.closed(pipe)
        assert self.receiver.log == b"x" * WINDOW + b"y"

    def test_a_dead_link_does_not_hold_the_command_for_ever(self) -> None:
        """After PATIENCE seconds it goes on, in bounded memory; what did not fit is missing, and said to be."""
        pipe = self.pipe()
        self.receiver.log_errors = [Unavailable("away")] * 20
        writing = Deferred.fromCoroutine(pipe.write(b"x" * (WINDOW + 1)))
        self.assertNoResult(writing)
        self.clock.pump([0.25] * int(PATIENCE * 4 + 4))
        self.successResultOf(writing)
        for _ in range(100):
            self.successResultOf(Deferred.fromCoroutine(pipe.write(b"y" * BATCH)))
        assert len(pipe._pending) <= WINDOW + BATCH
        self.receiver.log_errors = []
        self.clock.pump([0.25] * 40)
        assert self.closed(pipe)
        omitted = 100 * BATCH - TAIL
        assert self.receiver.log.endswith(b"\n[... %d bytes omitted ...]\n" % omitted + b"y" * TAIL)

    def test_closing_gives_a_dead_link_up(self) -> None:
        pipe = self.pipe()
        self.receiver.held = Deferred()
        Deferred.fromCoroutine(pipe.write(b"x"))
        assert not self.closed(pipe)

    def test_what_did_not_arrive_is_flushed_once_more_when_the_metaserver_is_back(self) -> None:
        """Its end is there once, with the line about what is missing, and at once: it waits for no further try."""
        pipe = self.pipe(4 * 1024)
        Deferred.fromCoroutine(pipe.write(b"x" * 10_000))
        self.receiver.log_errors = [Unavailable("away")] * 1000
        flushing = Deferred.fromCoroutine(pipe.flush())
        self.clock.pump([0.25] * int(4 * PATIENCE + 4))
        assert self.successResultOf(flushing) is False
        assert not pipe.over
        assert not self.receiver.log
        assert pipe._ring.kept() == b"", "what waits is in memory once"
        self.receiver.log_errors = []
        assert self.successResultOf(Deferred.fromCoroutine(pipe.flush())) is True
        missing = 10_000 - (4 * 1024 - 100)
        assert self.receiver.log.count(b"\n[... %d bytes omitted ...]\n" % missing) == 1
        assert self.clock.getDelayedCalls() == []

    def test_flushing_what_was_abandoned_says_that_it_did_not_arrive(self) -> None:
        pipe = self.pipe()
        Deferred.fromCoroutine(pipe.write(b"x"))
        pipe.abandon()
        assert self.successResultOf(Deferred.fromCoroutine(pipe.flush())) is False

    def test_marks_say_where_phases_begin_and_end_and_what_is_missing(self) -> None:
        pipe = self.pipe(4 * 1024)
        pipe.begin("sources", "of lua")
        self.clock.advance(1.5)
        pipe.end("[checked out]", "checked out")
        pipe.begin("build", "[build: make]")
        Deferred.fromCoroutine(pipe.write(b"x\n" * 5_000))
        pipe.end("[build: exited with code 2]", "exited with code 2", failed=True)
        assert self.closed(pipe)
        log, marks = self.receiver.log, self.receiver.marks
        assert [mark.number for mark in marks] == list(range(5))
        cut = log.index(b"\n[... ")
        assert [(mark.kind, mark.offset, mark.words) for mark in marks] == [
            (MarkKind.BEGIN, 0, "sources"),
            (MarkKind.END, log.index(b"[build: make]"), "checked out"),
            (MarkKind.BEGIN, log.index(b"[build: make]"), "build"),
            (MarkKind.CUT, cut, log[cut:].split()[1].decode()),
            (MarkKind.FAILED, len(log), "exited with code 2"),
        ]
        assert [mark.seconds for mark in marks[:3]] == [0.0, 1.5, 1.5]

    def test_what_a_command_writes_is_no_mark_and_a_secret_is_in_none(self) -> None:
        pipe = LogPipe(self.clock, self.append, 10_000, Masker([b"hunter22"]))
        pipe.begin("login hunter22", "[login]")
        Deferred.fromCoroutine(pipe.write(b"[build: make]\n[build: exited with code 0 after 1 s]\n"))
        assert self.closed(pipe)
        assert [(mark.kind, mark.words) for mark in self.receiver.marks] == [(MarkKind.BEGIN, "login ***")]

    @given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(0, 3), st.integers(500, 20_000))
    def test_every_mark_comes_once_with_the_bytes_that_it_stands_in(
        self, sizes: list[int], lost: int, limit: int
    ) -> None:
        self.clock, self.receiver = Clock(), FakeUploads(log_limit=16 * 1024 * 1024)
        losing = [Unavailable("the answer was lost")] * lost

        async def append(offset: int, data: bytes, marks: Sequence[LogMark]) -> int:
            length = await self.append(offset, data, marks)
            if losing:
                raise losing.pop()
            return length

        pipe = LogPipe(self.clock, append, limit)
        for number, size in enumerate(sizes):
            pipe.begin(f"step {number}", f"[{number}]")
            Deferred.fromCoroutine(pipe.write(b"x" * size))
            pipe.end(f"[/{number}]", "done")
        assert self.closed(pipe)
        marks, log = self.receiver.marks, self.receiver.log
        assert [mark.number for mark in marks] == list(range(len(marks)))
        assert [mark.offset for mark in marks] == sorted(mark.offset for mark in marks)
        cut = [mark for mark in marks if mark.kind is MarkKind.CUT]
        assert len(marks) == 2 * len(sizes) + len(cut)
        assert bool(cut) == (b" bytes omitted ..." in log)
        if not cut:
            begins = [mark for mark in marks if mark.kind is MarkKind.BEGIN]
            assert [log[mark.offset :].startswith(b"[%d]\n" % number) for number, mark in enumerate(begins)]

    def test_a_lost_answer_does_not_repeat_bytes(self) -> None:
        lost: list[int] = []

        async def append(offset: int, data: bytes, marks: Sequence[LogMark]) -> int:
            length = await self.append(offset, data, marks)
            if not lost:
                lost.append(length)
                raise Unavailable("the connection was lost before it answered")
            return length

        pipe = LogPipe(self.clock, append, 1_000)
        Deferred.fromCoroutine(pipe.write(b"once only"))
        assert self.closed(pipe)
        assert self.receiver.log == b"once only"

    def test_a_log_that_is_not_wanted_does_not_stop_the_build(self) -> None:
        pipe = self.pipe()
        self.receiver.log_errors = [BadUpload("no")]
        Deferred.fromCoroutine(pipe.write(b"x" * BATCH))
        self.successResultOf(Deferred.fromCoroutine(pipe.write(b"y" * 10 * WINDOW)))
        assert not self.closed(pipe)
        assert pipe.last().endswith("yyy")

    def test_nothing_is_sent_after_it_was_abandoned(self) -> None:
        pipe, self.receiver.held = self.pipe(), Deferred()
        writing = Deferred.fromCoroutine(pipe.write(b"x" * 2 * WINDOW))
        pipe.abandon()
        self.successResultOf(writing)
        assert self.clock.getDelayedCalls() == []
        assert self.receiver.log == b""

    @given(st.lists(st.binary(max_size=3000), max_size=30), st.integers(500, 20_000))
    def test_whatever_is_written_arrives_in_order_and_within_the_limit(self, parts: list[bytes], limit: int) -> None:
        """What arrives is all of it, or a head and a tail of it around a line that counts what is missing."""
        self.clock, self.receiver = Clock(), FakeUploads(log_limit=16 * 1024 * 1024)
        pipe, whole = self.pipe(limit), b"".join(parts)
        for part in parts:
            Deferred.fromCoroutine(pipe.write(part))
            self.clock.advance(0.1)
        assert self.closed(pipe)
        got = self.receiver.log
        assert len(got) <= limit
        if got != whole:
            found = re.search(rb"\n\[\.\.\. (\d+) bytes omitted \.\.\.\]\n", got)
            assert found is not None
            head, tail = got[: found.start()], got[found.end() :]
            assert whole.startswith(head)
            assert whole.endswith(tail)
            assert len(head) + len(tail) + int(found[1]) == len(whole)


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(1, 300))
def test_a_ring_keeps_the_end_and_counts_the_rest(parts: list[bytes], size: int) -> None:
    ring = Ring(size)
    for part in parts:
        ring.add(part)
    whole = b"".join(parts)
    assert ring.kept() == whole[-size:]
    assert ring.dropped == max(0, len(whole) - size)


@given(st.binary(max_size=40_000))
def test_the_end_of_a_log_is_clean_text_of_bounded_size(data: bytes) -> None:
    """Any bytes at all make text that can be mailed, shown, and sent in a message."""
    pipe = LogPipe(Clock(), lambda offset, data, _marks: FakeUploads().append_log("", "", offset, data), 10**6)
    pipe._last.add(data)
    text = pipe.last()
    assert len(text.encode()) <= LOG_TAIL_LIMIT
    if len(data) > LOG_TAIL_LIMIT and b"\n" in data[-LOG_TAIL_LIMIT:-1]:
        assert clean(data).endswith(text)
    assert all(char.isprintable() or char in "\n\t" or ord(char) > 0x9F for char in text)


def test_escapes_and_progress_bars_become_plain_lines() -> None:
    assert clean(b"\x1b[31mred\x1b[0m\r\n10%\r20%\r\n\x00\xff\x1b]0;title\x07.") == "red\n10%\n20%\n\ufffd\ufffd."
