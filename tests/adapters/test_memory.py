"""Memory that was taken for a burst goes back to the system soon after, and nothing is done for nothing."""

import sys

import pytest

from buildtool.adapters.memory import GROWN, GivingBack, resident, trim


def test_it_is_given_back_when_the_program_has_grown_and_not_before() -> None:
    sizes = iter([100, 90, 90 + GROWN - 1, 90 + GROWN, 95, 95 + GROWN - 1, 95 + GROWN, 99])
    given: list[int] = []

    def give() -> bool:
        given.append(1)
        return True

    giving = GivingBack(lambda: next(sizes), give)
    assert [giving.look() for _ in range(6)] == [False, False, False, True, False, True]
    assert len(given) == 2


def test_what_was_freed_in_the_middle_is_given_back() -> None:
    if not sys.platform.startswith("linux") or not trim():
        pytest.skip("only the GNU C library gives memory back when it is asked")
    before = resident()
    pieces = [bytes(20_000) + bytes([number % 256]) for number in range(3_000)]
    assert resident() - before > 40_000_000
    kept = pieces[-1]
    pieces.clear()
    trim()
    assert resident() - before < 15_000_000
    assert kept
