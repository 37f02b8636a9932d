"""Limits of one build: what each is by default, whose fault it is when one is exceeded, and how that is told."""

import pytest

from buildtool.model.guest.limits import FILES, MIB, PROCESSES, BuildLimits, ExceededLimit, Limited, limits_for
from buildtool.model.records import AttemptEnd


@pytest.mark.parametrize("what", Limited)
def test_each_limit_has_an_end_and_is_told_with_its_value_and_the_peak(what: Limited) -> None:
    exceeded = ExceededLimit(what, 100 * MIB, 200 * MIB)
    assert exceeded.end in (AttemptEnd.LIMITED, AttemptEnd.FAILED)
    assert what.value in exceeded.words() or "file" in exceeded.words()
    assert "100.0 MiB" in exceeded.words() or f"{100 * MIB}" in exceeded.words()


def test_what_another_machine_may_have_more_of_is_not_the_projects_fault() -> None:
    ends = {what: ExceededLimit(what, 1, 2).end for what in Limited}
    assert {what for what, end in ends.items() if end is AttemptEnd.LIMITED} == {Limited.MEMORY, Limited.DISK}


def test_memory_is_shared_by_the_builds_of_a_machine_and_a_part_is_left_to_its_owner() -> None:
    assert limits_for(1000 * MIB, 2).memory == 450 * MIB
    assert limits_for(1000 * MIB, 2, said=200 * MIB).memory == 100 * MIB
    assert limits_for(None, 2).memory is None
    assert limits_for(MIB, 64).memory == MIB


def test_every_thing_has_its_limit() -> None:
    limits = BuildLimits(memory=1, disk=2)
    assert [limits.of(what) for what in (Limited.MEMORY, Limited.DISK, Limited.PROCESSES, Limited.FILES)] == [
        1, 2, PROCESSES, FILES,
    ]  # fmt: skip
    assert limits.of(Limited.FILE_SIZE) == limits.file_size


def test_words_say_which_limit_its_value_and_the_peak() -> None:
    said = ExceededLimit(Limited.MEMORY, 512 * MIB, 600 * MIB).words()
    assert said == (
        "it exceeded the limit of memory: on this machine a build may use 512.0 MiB, its peak was 600.0 MiB"
    )
    said = ExceededLimit(Limited.PROCESSES, 4096, 4096).words()
    assert said == "it exceeded the limit of processes: a build may have 4096 processes, its peak was 4096 processes"
