"""A hit that was looked for before a decision is believed in it while its shelves are as they were, and no longer."""

from buildtool.domain.admission import find_hit
from buildtool.domain.model import Demand, Shelf
from buildtool.domain.state import State
from tests.domain.farm import Farm
from tests.domain.worlds import POLICIES, spec


def test_a_hit_is_looked_for_again_once_a_shelf_has_changed() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(0))
    farm.deliver("anna")
    (artifact,) = farm.artifacts()
    demand = Demand(spec(0), "main", "", (spec(0).revision,))
    state, key = State(POLICIES), demand.shelves()[0]
    assert find_hit(state, demand) is None
    state.stock(key, Shelf((artifact,)))
    assert find_hit(state, demand) is artifact
    state.stock(key, Shelf())
    assert find_hit(state, demand) is None


def test_a_hit_is_known_for_the_demand_that_was_looked_for_last_only() -> None:
    state = State(POLICIES)
    first, second = (Demand(spec(0), "main", "", (spec(0).revision,)) for _ in range(2))
    for demand in (first, second):
        find_hit(state, demand)
        assert state.hit is not None
        assert state.hit[0] is demand
