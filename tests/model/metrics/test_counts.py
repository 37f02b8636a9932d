"""Figures are counted as they came, and in a bounded number of rows whatever names others make up."""

from collections import Counter

import hypothesis.strategies as st
from hypothesis import given, settings

from buildtool.model.metrics import table
from buildtool.model.metrics.counts import Counts, Sample, known
from tests.support.lanes import examples

NAMES = st.text("abc-é", min_size=1, max_size=6)


@settings(max_examples=examples(30))
@given(st.lists(st.tuples(NAMES, st.sampled_from(table.ENDED.values)), max_size=60))
def test_each_is_counted_once_under_its_own_name_or_with_all_others(ended: list[tuple[str, str]]) -> None:
    counts = Counts()
    for project, outcome in ended:
        counts.add(table.ENDED, project, outcome)
    found = {one.labels: one.numbers[0] for one in counts.samples()}
    assert sum(found.values()) == len(ended)
    first = list(dict.fromkeys(project for project, _ in ended))[: table.MOST]
    for pair, count in Counter(one for one in ended if one[0] in first).items():
        assert found[pair] == count
    assert {project for project, _ in found} <= {*first, table.OTHER}


def test_however_many_projects_there_are_their_rows_are_bounded() -> None:
    counts = Counts()
    for number in range(1_000):
        counts.add(table.ENDED, f"project-{number}", "failed")
        counts.add(table.ATTEMPTS, f"end-{number}")
    found = list(counts.samples())
    assert len(found) == table.MOST + 2
    assert {one.labels for one in found if one.name == table.ATTEMPTS.name} == {(table.OTHER,)}


@settings(max_examples=examples(30))
@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_a_histogram_has_every_duration_in_the_first_bound_that_it_is_not_above(took: list[float]) -> None:
    counts = Counts()
    for one in took:
        counts.observe(table.DISPATCH, "linux-ppc", took=one)
    for sample in counts.samples():
        below = 0.0
        for bound, count in zip(table.DISPATCH.bounds, sample.numbers, strict=False):
            assert count == sum(below < one <= bound or (below == 0 == one) for one in took)
            below = bound
        assert sum(sample.numbers[:-1]) == len(took)
        assert sample.numbers[-1] == sum(took)


def test_what_another_version_counts_in_another_way_is_left_out() -> None:
    there = [
        Sample(table.RUNNING.name, ("linux-ppc",), (2.0,)),
        Sample("buildtool_of_tomorrow", (), (1.0,)),
        Sample(table.RUNNING.name, (), (1.0,)),
        Sample(table.COMMIT.name, (), (1.0,)),
        Sample(table.EVENTS.name, (), (-1.0,)),
    ]
    assert [sample for _, sample in known(iter(there))] == there[:1]
