"""The phases of a build: each has its time, none goes unsaid, and nothing that is shown is beyond the whole."""

from collections.abc import Sequence

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.logs.index import LogIndex
from buildtool.model.logs.marks import LogMark, MarkKind
from buildtool.model.records import Attempt, Build
from buildtool.web.pages.build import deciding_epoch
from buildtool.web.pages.details.phases import SHOWN, PhaseRow, phases
from buildtool.web.urls import Urls
from tests import strategies
from tests.web.fake_pages import NOW
from tests.web.farm import detail, farm

URLS = Urls("http://farm.example", "http://farm.example:23433")
BEGIN, END, FAILED = MarkKind.BEGIN, MarkKind.END, MarkKind.FAILED


def index_of(marks: Sequence[tuple[MarkKind, float, str]]) -> LogIndex:
    index = LogIndex()
    index.grow(b"line\n" * 1_000)
    for number, (kind, seconds, words) in enumerate(marks):
        index.mark(LogMark(number, number, kind, seconds, words), number + 1)
    return index


def shown(number: int, index: LogIndex | None = None) -> tuple[PhaseRow, ...]:
    found = detail(number, farm())
    return phases(found.build, found.attempts, deciding_epoch(found.build), index, URLS, NOW)


def told(number: int, index: LogIndex | None = None) -> list[tuple[str, str]]:
    return [(it.name, it.took) for it in shown(number, index)]


DONE = ((BEGIN, 0.0, "sources"), (END, 3.0, "checked out"), (BEGIN, 3.0, "make"), (BEGIN, 50.0, "artifact"),
        (END, 52.0, "succeeded"))  # fmt: skip


def test_a_build_was_waited_for_handed_over_built_by_its_commands_packed_and_uploaded() -> None:
    assert told(1, index_of(DONE)) == [
        ("Waited", "1 min 40 s"), ("Handed over", "1.5 s"), ("Sources", "3.0 s"), ("make", "47 s"),
        ("Artifact packed", "2.0 s"), ("Upload", "16 s"),
    ]  # fmt: skip
    rows = shown(1, index_of(DONE))
    assert [it.code for it in rows if it.name == "make"] == [True]
    assert [it.url for it in rows if it.name == "make"] == ["/build/1/log?attempt=1&from=3#L3"]


def test_what_of_it_a_visitor_may_not_see_is_one_phase() -> None:
    assert told(1) == [("Waited", "1 min 40 s"), ("Handed over", "1.5 s"), ("Built", "1 min 8 s")]


def test_what_goes_on_counts_on_from_when_it_began() -> None:
    last = shown(4, index_of(DONE[:3]))[-1]
    assert (last.name, last.took, last.since) == ("make", "1 min 56 s", f"{NOW - 120 + 1.5 + 3.0:.3f}")
    assert shown(4, index_of(DONE))[-1].name == "Uploads"
    assert told(6) == [("Waits", "1 min 35 s")]


def test_earlier_attempts_are_one_phase_and_a_failure_is_where_it_was() -> None:
    assert told(2)[:3] == [("Waited", "1 min 40 s"), ("Earlier attempts", "26 min 40 s"), ("Handed over", "1.5 s")]
    failing = (*DONE[:3], (FAILED, 60.0, "exited with 2"))
    assert [(it.name, it.note) for it in shown(3, index_of(failing)) if it.tone == "bad"] == [("make", "exited with 2")]


def test_more_commands_than_can_be_shown_are_counted_with_their_time() -> None:
    many = [(BEGIN, float(number) / 2, f"step {number}") for number in range(SHOWN + 60)]
    rows = shown(1, index_of([*many, (END, 60.0, "succeeded")]))
    assert [(it.name, it.took) for it in rows[-2:]] == [("60 more commands", "40 s"), ("Upload", "8.5 s")]


marks = st.lists(
    st.tuples(
        st.sampled_from(MarkKind), st.floats(-10, 1e6), st.sampled_from(("sources", "make", "artifact", "a@b.c"))
    ),
    max_size=12,
)


@given(strategies.builds, st.lists(strategies.attempts, max_size=4), st.none() | marks.map(index_of), strategies.times)
def test_every_phase_is_within_the_whole_and_at_most_one_goes_on_whatever_the_clocks_said(
    made: Build, attempts: list[Attempt], index: LogIndex | None, when: float
) -> None:
    tried = [evolve(it, epoch=number) for number, it in enumerate(attempts, 1)]
    rows = phases(made, tried, len(tried) or None, index, URLS, when)
    assert rows
    for it in rows:
        assert 0 <= it.bar.x <= 100
        assert it.bar.x + it.bar.width <= 100.02
        assert not it.took.startswith("-")
    assert sum(bool(it.since) for it in rows) <= 1
