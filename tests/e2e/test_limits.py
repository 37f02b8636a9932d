"""A limit that is reached is one line for a person, with a real metaserver that reads it from its configuration."""

import json

import pytest

from buildtool.client import BlockingFarm, BuildWish
from buildtool.errors import LimitReached
from tests.e2e.control import Control
from tests.e2e.test_identities import program
from tests.e2e.test_operator import operate

LIMITED = """
from pathlib import Path
exec(compile(Path({path!r}).read_text(), {path!r}, "exec"))
limits = {{"requests_an_hour": 2, "explanations_a_minute": 1}}
"""


@pytest.fixture
def limited(control: Control) -> Control:
    """A farm whose metaserver believes nobody without a key, and lets each ask twice."""
    path = control.directory / "limited.py"
    path.write_text(LIMITED.format(path=str(control.farm.config)))
    control.farm.config = path
    control.farm.extra |= {"BUILDTOOL_TRUSTED": "nobody", "XDG_CONFIG_HOME": str(control.directory / "home")}
    control.farm.start_metaserver("--web")
    return control


def test_the_third_request_is_told_when_to_try_again_and_the_next_person_is_not_held_up(limited: Control) -> None:
    for name in ("ann", "ben"):
        line = operate(limited, "invite", name, "--role", "requester", "--owner", f"{name}@example.org")
        (limited.directory / f"line-{name}").write_text(line + "\n")
        home = str(limited.directory / name)
        joined = program(
            limited, "startcompile.py", "join", str(limited.directory / f"line-{name}"), XDG_CONFIG_HOME=home
        )
        assert joined.returncode == 0, joined.stderr
        count = 3 if name == "ann" else 2
        asked = [limited.farm.request(f"{name}@example.org", XDG_CONFIG_HOME=home) for _ in range(count)]
        assert [one.returncode == 0 for one in asked] == [True, True, *[False] * (count - 2)], asked
        if name == "ann":
            (told,) = asked[-1].stderr.strip().splitlines()
            assert "the limit of 2 requests an hour for ann@example.org is reached: try again in 30 min" in told
    home = str(limited.directory / "ben")
    made = program(limited, "startcompile.py", "token", "nightly", "--json", XDG_CONFIG_HOME=home)
    with BlockingFarm(limited.farm.public_url, json.loads(made.stdout)["token"]) as farm:
        assert farm.limits == {}
        farm.requests.explain(BuildWish("greeter"))
        left = farm.limits["explanations"]
        assert (left.left, left.most, left.seconds) == (0, 1, 60)
        assert 0 < left.full <= 60
        with pytest.raises(LimitReached, match="the limit of 1 explanations a minute") as caught:
            farm.requests.explain(BuildWish("greeter"))
        assert 0 < caught.value.again <= 60
        still = {one.name: one.left for one in farm.farm.me().left}
        assert still["requests"] == 0, "ben has asked twice"
        assert farm.farm.project("greeter").compile[0].name == "greeting"
    assert '"requests_an_hour"' in operate(limited, "check-config", "--json")
