"""Bytes come out as they went in, a source rests while too much waits, and a watch rings when nothing flows."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.concurrency.backpressure import BodyReader, BodyWriter, StallWatch
from buildtool.errors import Unavailable
from tests.support.inline import run

HIGH = 10


class Tap:
    """A source that tells whether it runs."""

    runs = True

    def pauseProducing(self) -> None:
        self.runs = False

    def resumeProducing(self) -> None:
        self.runs = True


STEPS = st.lists(st.binary(max_size=12) | st.sampled_from(["read", "somebody resumes it"]), max_size=20)


@given(STEPS, st.sampled_from(["end", "fail", "fail after the end"]))
def test_all_that_is_fed_is_read_in_order_and_the_source_rests_above_the_mark(
    steps: list[bytes | str], how: str
) -> None:
    tap, fed, read = Tap(), b"", b""
    reader = BodyReader(lambda: tap, lambda: HIGH)
    results: list[object] = []

    async def consume() -> None:
        nonlocal read
        async for batch in reader:
            read += b"".join(batch)
            await gate

    gate: Deferred[None] = Deferred()
    Deferred.fromCoroutine(consume()).addBoth(results.append)
    for step in steps:
        if isinstance(step, bytes):
            reader.feed(step)
            fed += step
            assert tap.runs or len(fed) - len(read) >= HIGH or not step
        elif step == "read":
            opened, gate = gate, Deferred()
            opened.callback(None)
            assert tap.runs or len(fed) > len(read)
        else:
            tap.resumeProducing()
        assert fed.startswith(read)
    (reader.fail if how == "fail" else lambda _: reader.end())(Unavailable("the sender left"))
    if how == "fail after the end":
        reader.fail(Unavailable("too late"))
    reader.feed(b"too late")
    while not results:
        opened, gate = gate, Deferred()
        opened.callback(None)
    assert read == fed
    assert (results == [None]) == (how != "fail")
    if how == "fail":
        results[0].trap(Unavailable)  # type: ignore[attr-defined]


@given(st.lists(st.sampled_from(["pause", "resume", "stop"]), max_size=8))
def test_a_writer_waits_while_its_consumer_takes_nothing_and_hears_when_it_never_will_again(acts: list[str]) -> None:
    writer = BodyWriter()
    for act in acts:
        getattr(writer, f"{act}Producing")()
        heard: list[bool] = []
        Deferred.fromCoroutine(writer.ready()).addCallback(heard.append)
        assert bool(heard) == (writer.stopped or act != "pause")
        writer.resumeProducing()
        assert heard == [not writer.stopped]
        if act == "pause":
            writer.pauseProducing()
    writer.stopProducing()
    assert run(writer.ready()) is False


@given(st.lists(st.floats(0.0, 9.0), max_size=8), st.sampled_from(["nothing", "stop", "longer"]))
def test_a_watch_rings_once_after_so_long_without_progress_and_never_once_it_is_stopped(
    pauses: list[float], then: str
) -> None:
    clock, rung = Clock(), []
    watch = StallWatch(clock, 9.5, lambda: rung.append(clock.seconds()))
    for pause in pauses:
        clock.advance(pause)
        watch.progress()
    assert not rung
    if then == "longer":
        watch.again(20.0)
    elif then == "stop":
        watch.stop()
        watch.stop()
    clock.advance(9.5)
    assert watch.expired == bool(rung) == (then == "nothing")
    clock.advance(20.0)
    assert len(rung) == (then != "stop")
    watch.progress()
    watch.stop()


@given(st.lists(st.floats(0.0, 3.0), max_size=9))
def test_what_flows_adds_nothing_to_a_time_that_is_allowed_in_all(pauses: list[float]) -> None:
    clock, rung = Clock(), []
    watch = StallWatch(clock, 9.5, lambda: rung.append(clock.seconds()))
    watch.allow_in_all(10.0)
    for pause in pauses:
        clock.advance(pause)
        watch.progress()
    clock.advance(10.0)
    assert watch.expired
    assert len(rung) == 1
