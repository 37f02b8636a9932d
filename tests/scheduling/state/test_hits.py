"""A hit that was looked for before is believed while its shelves are as they were, and no longer."""

from buildtool.model.matching.shelves import Shelf
from buildtool.model.records import Demand
from buildtool.scheduling.state.state import State
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import POLICIES, spec


def test_a_hit_is_looked_for_again_once_a_shelf_has_changed() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(0))
    farm.deliver("anna")
    (artifact,) = farm.artifacts()
    demand = Demand(spec(0), "main", "", (spec(0).revision,))
    state, key = State(POLICIES), demand.shelves[0]
    assert state.hits.find(demand) is None
    state.shelves.stock(key, Shelf((artifact,)))
    assert state.hits.find(demand) is artifact
    state.shelves.stock(key, Shelf())
    assert state.hits.find(demand) is None


def test_a_hit_is_known_for_the_demand_that_was_looked_for_last_only() -> None:
    hits = State(POLICIES).hits
    first, second = (Demand(spec(0), "main", "", (spec(0).revision,)) for _ in range(2))
    hits.find(first)
    assert hits.last is not None
    assert hits.last[0] is first
    hits.find(second)
    assert hits.last[0] is second
