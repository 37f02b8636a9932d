"""The lifecycle tables allow what the drawings in docs/lifecycles.rst show, and nothing else."""

import enum
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildtool.errors import IllegalTransition
from buildtool.model.lifecycle import ATTEMPT, BUILD, REQUEST, check, ends
from buildtool.model.records import AttemptState, BuildState, RequestState

Table = Mapping[Any, frozenset[Any]]

TABLES: dict[str, tuple[Table, type[enum.Enum]]] = {
    "Request": (REQUEST, RequestState),
    "Build": (BUILD, BuildState),
    "Attempt": (ATTEMPT, AttemptState),
}
DRAWINGS = (Path(__file__).parents[2] / "docs" / "lifecycles.rst").read_text(encoding="utf-8")
EVERY = [pytest.param(name, id=name) for name in TABLES]


def drawn(name: str) -> tuple[dict[tuple[str, str], str], set[str]]:
    """Return the arrows of a drawing with their labels, and the states that are drawn as ends."""
    found = re.search(rf"^ +digraph {name} {{\n(.*?)^ +}}$", DRAWINGS, re.MULTILINE | re.DOTALL)
    assert found, f"docs/lifecycles.rst has no drawing of {name}"
    arrows: dict[tuple[str, str], str] = {}
    finals: set[str] = set()
    for line in filter(None, map(str.strip, found[1].splitlines())):
        arrow = re.fullmatch(r'(\w+) -> (\w+) +\[label="([^"]+)"\];', line)
        circle = re.fullmatch(r"([\w, ]+) \[shape=doublecircle\];", line)
        if arrow:
            assert (arrow[1], arrow[2]) not in arrows, f"drawn twice: {line}"
            arrows[arrow[1], arrow[2]] = arrow[3]
        elif circle:
            finals |= set(circle[1].split(", "))
        else:
            assert line == "new [shape=point];", f"not understood: {line}"
    return arrows, finals


def named(state: enum.Enum | None) -> str:
    return "new" if state is None else str(state.value)


@pytest.mark.parametrize("name", EVERY)
def test_the_drawing_has_exactly_the_arrows_of_the_table(name: str) -> None:
    table, _ = TABLES[name]
    arrows, _ = drawn(name)
    assert set(arrows) == {(named(old), named(new)) for old, targets in table.items() for new in targets}


@pytest.mark.parametrize("name", EVERY)
def test_the_drawing_marks_exactly_the_ends(name: str) -> None:
    table, _ = TABLES[name]
    _, finals = drawn(name)
    assert finals == {named(state) for state in ends(table)}


@pytest.mark.parametrize("name", EVERY)
def test_every_state_can_be_reached_and_every_state_leads_to_an_end(name: str) -> None:
    table, states = TABLES[name]
    reached: set[enum.Enum | None] = {None}
    while more := {new for old in reached for new in table.get(old, frozenset())} - reached:
        reached |= more
    assert reached == {None, *states}
    finishing: set[enum.Enum | None] = set(ends(table))
    while more := {old for old, targets in table.items() if targets & finishing} - finishing:
        finishing |= more
    assert finishing == {None, *states}


@pytest.mark.parametrize("name", EVERY)
def test_a_step_that_is_not_in_the_table_raises_and_names_both_states(name: str) -> None:
    table, states = TABLES[name]
    for old, new in itertools.product([None, *states], states):
        if old is new or new in table.get(old, frozenset()):
            check(table, old, new)
            continue
        with pytest.raises(IllegalTransition) as caught:
            check(table, old, new)
        assert str(caught.value).startswith(f"a {name} cannot go from ")
        assert str(caught.value).endswith(f" to {new.value}")


def test_an_end_is_for_good() -> None:
    for table, _ in TABLES.values():
        assert all(state not in table for state in ends(table))
