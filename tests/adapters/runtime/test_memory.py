"""Memory that was taken for a burst goes back to the system soon after, and nothing is done for nothing."""

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from buildtool.adapters.runtime.memory import AGAIN, GROWN, OFTEN, GarbageSearch, MemoryTrim, resident, trim
from tests.support.failures import keep_young


def test_it_is_given_back_when_the_program_has_grown_and_not_before() -> None:
    sizes = iter([100, 90, 90 + GROWN - 1, 90 + GROWN, 95, 95 + GROWN - 1, 95 + GROWN, 99])
    given: list[int] = []

    def give() -> bool:
        given.append(1)
        return True

    giving = MemoryTrim(lambda: next(sizes), give)
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


class Ring:
    """Garbage, once nobody has it, that only looking for it finds."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def own_garbage() -> Iterator[None]:
    """Let Python look for garbage as often as it does by itself, and as these tests have it afterwards."""
    gc.set_threshold(700, 10, 10)
    yield
    gc.unfreeze()
    keep_young()


def grow() -> list[Ring]:
    """Make as much as has to come before it is worth looking for garbage."""
    return [Ring() for _ in range((OFTEN + 2) * gc.get_threshold()[0] * gc.get_threshold()[1])]


@pytest.mark.usefixtures("own_garbage")
def test_garbage_is_looked_for_once_enough_has_come_and_never_among_what_was_looked_through() -> None:
    garbage = GarbageSearch(lambda: 0.0)
    garbage.begin()
    assert not garbage.look()
    kept, lost = grow(), weakref.ref(Ring())
    frozen = gc.get_freeze_count()
    assert garbage.look()
    assert lost() is None
    assert gc.get_freeze_count() > frozen + len(kept) // 2, "some that other tests left may have gone meanwhile"
    assert len(gc.get_objects()) < len(kept)
    assert not garbage.look()


@pytest.mark.usefixtures("own_garbage")
def test_python_itself_looks_through_all_there_is_no_more() -> None:
    GarbageSearch(lambda: 0.0).begin()
    before = gc.get_stats()[2]["collections"]
    kept = [grow() for _ in range(4)]
    assert gc.get_stats()[2]["collections"] == before
    assert kept


@pytest.mark.usefixtures("own_garbage")
def test_what_becomes_garbage_after_it_was_kept_is_found_in_the_end() -> None:
    now = 0.0
    garbage = GarbageSearch(lambda: now)
    old = Ring()
    seen = weakref.ref(old)
    garbage.begin()
    del old
    kept = grow()
    assert garbage.look()
    assert seen() is not None
    now = AGAIN
    assert garbage.look()
    assert seen() is None
    assert not garbage.look()
    assert kept
