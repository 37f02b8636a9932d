"""Verdicts: one line and one object say the same, and what keeps a program from its work is never well."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.checkup.verdicts import (
    CheckResult,
    CheckVerdict,
    as_lines,
    as_object,
    fine,
    is_well,
    problem,
    warning,
)

RESULTS = st.lists(
    st.builds(
        CheckResult, st.text(max_size=12), st.sampled_from(CheckVerdict), st.text(max_size=50), st.text(max_size=50)
    )
)


@given(RESULTS)
def test_every_verdict_has_a_line_of_its_own_whatever_its_words_are(results: list[CheckResult]) -> None:
    lines = as_lines(results)
    assert len(lines) == len(results) + 1
    assert all("\n" not in one.sentence for one in results)
    for line, one in zip(lines, results, strict=False):
        assert line.startswith(one.verdict.value)


@given(RESULTS)
def test_it_is_well_exactly_where_there_is_no_problem(results: list[CheckResult]) -> None:
    assert is_well(results) is all(one.verdict is not CheckVerdict.PROBLEM for one in results)
    told = as_object(results)
    assert told["ok"] is is_well(results)
    assert isinstance(told["checks"], list)
    assert len(told["checks"]) == len(results)


def test_the_lines_end_with_the_mend_and_with_the_count() -> None:
    lines = as_lines(
        [fine("port", "it answers"), warning("disk", "little is left", "delete"), problem("name", "no", "ask")]
    )
    assert lines == [
        "ok       port  it answers",
        "warning  disk  little is left: delete",
        "problem  name  no: ask",
        "1 problem, 1 warning, 1 check passed",
    ]
