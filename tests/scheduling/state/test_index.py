"""An Index is a dictionary of sets that takes less room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.scheduling.state.index import Index


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 4)), max_size=60))
def test_it_holds_what_was_added_and_not_dropped_in_order(steps: list[tuple[bool, int, int]]) -> None:
    index: Index[int] = Index()
    model: dict[int, dict[int, None]] = {}
    for adding, key, member in steps:
        there = model.setdefault(key, {})
        if adding:
            index.add(key, member)
            there[member] = None
        elif member in there:
            index.drop(key, member)
            del there[member]
        else:
            with pytest.raises(KeyError):
                index.drop(key, member)
    for key in range(4):
        assert list(index.get(key)) == list(model.get(key, ()))
    assert {key: list(members) for key, members in index.items()} == {k: list(m) for k, m in model.items() if m}
