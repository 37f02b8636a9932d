"""A delivery is open until every trigger of its project has looked after it, whatever comes meanwhile."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.metaserver.hooking.owed import OwedLooks

KEYS = [("paint", "a"), ("paint", "b"), ("brush", "a")]


def test_a_look_that_began_before_a_delivery_does_not_do_for_it() -> None:
    owed = OwedLooks()
    owed.hint("paint", ["a"], 1)
    looked = owed.begin(KEYS)
    owed.hint("paint", ["a"], 2)
    owed.end(looked, ("paint", "a"))
    assert owed.settle(KEYS) == {}
    owed.end(owed.begin(KEYS), ("paint", "a"))
    assert owed.settle(KEYS) == {"paint": 2}
    owed.settled("paint", 2)
    assert owed.settle(KEYS) == {}


def test_what_comes_while_it_is_written_down_stays_open() -> None:
    owed = OwedLooks()
    owed.hint("paint", [], 1)
    assert owed.settle(KEYS) == {"paint": 1}
    owed.hint("paint", ["a"], 2)
    owed.settled("paint", 1)
    owed.end(owed.begin(KEYS), ("paint", "a"))
    assert owed.settle(KEYS) == {"paint": 2}


def test_a_trigger_that_is_gone_keeps_nothing_open() -> None:
    owed = OwedLooks()
    owed.hint("paint", ["gone"], 1)
    assert owed.settle(KEYS) == {"paint": 1}


def test_a_project_that_is_gone_for_a_while_owes_its_look_when_it_is_back() -> None:
    owed = OwedLooks()
    owed.hint("paint", ["a"], 1)
    assert owed.settle([("brush", "a")]) == {}
    assert owed.settle(KEYS) == {}
    owed.end(owed.begin(KEYS), ("paint", "a"))
    assert owed.settle(KEYS) == {"paint": 1}


@given(st.lists(st.one_of(st.sampled_from(["paint", "brush"]), st.sampled_from(KEYS)), max_size=12))
def test_nothing_is_settled_before_each_trigger_has_looked_since(steps: list[str | tuple[str, str]]) -> None:
    owed, number, waiting = OwedLooks(), 0, dict[tuple[str, str], int]()
    newest = dict[str, int]()
    for step in steps:
        if isinstance(step, str):
            number += 1
            owed.hint(step, [name for project, name in KEYS if project == step], number)
            newest[step] = number
            waiting |= {key: number for key in KEYS if key[0] == step}
        else:
            owed.end(owed.begin([step]), step)
            waiting.pop(step, None)
        expected = {one: last for one, last in newest.items() if one not in {project for project, _ in waiting}}
        assert owed.settle(KEYS) == expected
        assert {key for key in KEYS if owed.owes(key)} == set(waiting)
