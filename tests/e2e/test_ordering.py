"""Real programs: who moves a request that waits in the order, and that it stays there when the metaserver is killed."""

import json

import pytest

from tests.e2e.control import Control
from tests.e2e.test_identities import program
from tests.e2e.test_operator import operate, standing
from tests.e2e.test_rights import person


@pytest.fixture
def keyed(control: Control) -> Control:
    """A farm whose metaserver believes nobody without a key."""
    control.farm.extra |= {"BUILDTOOL_TRUSTED": "nobody"}
    control.farm.start_metaserver()
    return control


def waiting(farm: Control) -> list[int]:
    """Return the builds that wait, in the order in which they are due."""
    return [one["build_id"] for one in standing(farm)["waiting"]]


def test_a_request_is_moved_forward_by_an_operator_and_back_by_who_asked_and_stays_there(keyed: Control) -> None:
    ben, zoe = person(keyed, "ben", "requester", "ben@example.org"), person(keyed, "zoe", "operator")
    for options in ((), ("--loud",), ("--greeting=goodbye",)):
        assert program(keyed, "startcompile.py", *options, "ben@example.org", **ben).returncode == 0
    assert waiting(keyed) == [1, 2, 3]
    done = program(keyed, "startcompile.py", "lower", "1", "--rounds", "5", **ben)
    assert done.stdout == "request 1 is moved 5 rounds back; 2 builds stand before it\n", done.stderr
    again = program(keyed, "startcompile.py", "lower", "1", "--rounds", "2", **ben)
    assert (again.returncode, again.stderr.count("\n")) == (8, 1)
    assert "only an operator moves it forward again" in again.stderr
    refused = program(keyed, "startcompile.py", "raise", "1", "--rounds", "2", **ben)
    assert refused.stderr == "startcompile.py: ben (requester) may not move requests forward: whoever is operator may\n"
    done = program(keyed, "startcompile.py", "raise", "3", "--rounds", "20", "--json", **zoe)
    assert json.loads(done.stdout)["words"] == ["request 3 is moved 20 rounds forward; no build stands before it"]
    assert waiting(keyed) == [3, 2, 1]
    next(one for one in keyed.farm.programs if one.name == "metaserver").kill()
    keyed.farm.start_metaserver()
    assert waiting(keyed) == [3, 2, 1]
    told = operate(keyed, "raise", "1", "--rounds", "0")
    assert told == "request 1 is neither moved forward nor back; 1 build stands before it"
    assert "--rounds N" in operate(keyed, "raise", "1", code=2)
