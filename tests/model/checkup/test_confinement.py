"""Verdicts on what keeps builds from a machine: less than is wanted is a problem, anything less than all a warning."""

import pytest

from buildtool.model.checkup.confinement import ALONE, judge_limits, judge_path, judge_sandbox
from buildtool.model.checkup.verdicts import CheckVerdict
from buildtool.model.trust.evidence import SandboxLevel

NONE, WEAK, STRICT = SandboxLevel.NONE, SandboxLevel.WEAK, SandboxLevel.STRICT


@pytest.mark.parametrize(
    ("level", "least", "verdict"),
    [
        (STRICT, STRICT, CheckVerdict.OK),
        (STRICT, None, CheckVerdict.OK),
        (WEAK, STRICT, CheckVerdict.PROBLEM),
        (NONE, WEAK, CheckVerdict.PROBLEM),
        (WEAK, WEAK, CheckVerdict.WARNING),
        (NONE, None, CheckVerdict.WARNING),
        (NONE, NONE, CheckVerdict.WARNING),
    ],
)
def test_less_than_is_wanted_is_a_problem_and_less_than_strict_a_warning(
    level: SandboxLevel, least: SandboxLevel | None, verdict: CheckVerdict
) -> None:
    assert judge_sandbox(level, least, ["a build can"], "").verdict is verdict


def test_a_problem_says_why_and_both_ways_out() -> None:
    told = judge_sandbox(NONE, STRICT, ["bubblewrap is not installed"], "install it")
    assert told.sentence == (
        "none, though strict is wanted: bubblewrap is not installed: install it; or --sandbox none builds without"
    )
    assert judge_sandbox(WEAK, None, ["a build can make io_uring"], "").mend == ALONE, "where no mend is known"


def test_limits_that_only_a_look_keeps_are_told_with_what_each_place_can_do() -> None:
    words = "a build may use 1 GiB of memory"
    assert judge_limits(words, ["memory", "pids"], linux=True, container=False).verdict is CheckVerdict.OK
    mends = [
        judge_limits(words, ["freezer"], linux=linux, container=container).mend
        for linux, container in ((True, False), (True, True), (False, False))
    ]
    assert ["Delegate=yes" in mends[0], "container" in mends[1], ALONE in mends[2]] == [True, True, True]


def test_directories_of_path_that_builds_do_not_see_are_named_with_the_option_that_shows_them() -> None:
    told = judge_path(["/home/me/.cargo/bin", "/opt/x"])
    assert told.verdict is CheckVerdict.OK
    assert "/home/me/.cargo/bin, /opt/x" in told.words
    assert "--readable" in told.words
    assert "every directory" in judge_path([]).words
