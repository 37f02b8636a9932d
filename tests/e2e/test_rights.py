"""Real programs with keys of every role: what each may do over the network, and what the pages may tell."""

import json
import urllib.error
import urllib.request

import pytest

from tests.e2e.control import Control
from tests.e2e.test_identities import joined, program
from tests.e2e.test_operator import operate


@pytest.fixture
def keyed(control: Control) -> Control:
    """A farm whose metaserver believes nobody without a key."""
    control.farm.extra |= {"BUILDTOOL_TRUSTED": "nobody"}
    control.farm.start_metaserver()
    return control


def person(farm: Control, name: str, role: str, owner: str = "") -> dict[str, str]:
    """Invite a person, have them join, and return the environment in which they are that person."""
    home = {"XDG_CONFIG_HOME": str(farm.directory / f"home-{name}")}
    words = ("--owner", owner) if owner else ()
    line = operate(farm, "invite", name, "--role", role, *words)
    done = program(farm, "startcompile.py", "join", line, **home)
    assert done.returncode == 0, done.stderr
    return home


def test_an_owner_and_an_operator_act_over_the_network_as_far_as_the_table_says(keyed: Control) -> None:
    joined(keyed, "attic", "--owner", "ben@example.org")
    ben, zoe = person(keyed, "ben", "requester", "ben@example.org"), person(keyed, "zoe", "operator")

    done = program(keyed, "startcompile.py", "pause", "attic", "--reason", "lunch", **ben)
    assert done.stdout == "build server attic is paused: lunch\n", done.stderr
    refused = program(keyed, "startcompile.py", "drain", **ben)
    assert refused.returncode == 8
    assert refused.stderr == ("startcompile.py: ben (requester) may not drain the farm: whoever is operator may\n")
    other = program(keyed, "startcompile.py", "eve@example.com", **ben)
    assert "ben asks for builds in the name of ben@example.org only" in other.stderr
    waits = json.loads(program(keyed, "startcompile.py", "--json", "ben@example.org", **ben).stdout)
    listed = program(keyed, "startcompile.py", "--list", **ben).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["request", waits["cancel_id"]]
    assert " queued " in listed[1]
    assert program(keyed, "startcompile.py", "cancel", str(waits["request_id"]), **ben).returncode == 0
    (mine,) = json.loads(program(keyed, "startcompile.py", "list", "--json", **ben).stdout)["requests"]
    assert mine["state"] == "cancelled"
    assert program(keyed, "startcompile.py", "--json", "ben@example.org", **ben).returncode == 0
    asked = program(keyed, "startcompile.py", "cancel", "--project", "greeter", **ben)
    assert asked.returncode == 2
    assert "nobody is at a terminal" in asked.stderr
    done = program(keyed, "startcompile.py", "--cancel", "--person", "ben@example.org", "--yes", **ben)
    assert done.stdout == "1 request waits that you may cancel\n1 request is cancelled\n", done.stderr
    done = program(keyed, "startcompile.py", "drain", "attic", "--reason", "lunch", **ben)
    assert done.stdout.startswith("build server attic is drained: nothing runs there"), done.stderr
    assert operate(keyed, "abort", "--project", "greeter", "--dry-run") == "0 builds are open that you may abort"
    mistyped = program(keyed, "metaserver", "invite", "lim", "--project", "greetr")
    assert (mistyped.returncode, mistyped.stderr) == (
        2, "metaserver: unknown project 'greetr': did you mean greeter?\n",
    )  # fmt: skip

    told = json.loads(program(keyed, "startcompile.py", "status", "--json", **zoe).stdout)
    assert [(one["server"], one["state"], one["reason"]) for one in told["stands"]] == [("attic", "paused", "lunch")]
    assert program(keyed, "startcompile.py", "revoke", "ben", **zoe).returncode == 0
    assert "was revoked" in program(keyed, "startcompile.py", "resume", "attic", **ben).stderr


def test_pages_of_their_own_explain_a_build_on_a_farm_that_trusts_nobody(keyed: Control) -> None:
    ben = person(keyed, "ben", "requester", "ben@example.org")
    assert program(keyed, "startcompile.py", "ben@example.org", **ben).returncode == 0
    web = [str(keyed.farm.root / "bin" / "webserver"), "--config", str(keyed.farm.config), "--port", "0"]
    at = keyed.farm.start("webserver", web).wait_for("pages on (http://127[0-9.:]*/)")
    with urllib.request.urlopen(f"{at[1]}build/1") as answer:  # noqa: S310 - http, as written
        assert b'id="why"' in answer.read()
    with urllib.request.urlopen(f"{at[1]}health") as answer:  # noqa: S310 - http, as written
        assert json.loads(answer.read())["metaserver"] == "ok"


def test_pages_ask_with_a_key_of_their_own_at_one_of_several_addresses(keyed: Control) -> None:
    """The first address is dead; a key that is not of pages is refused, and so is an address without any."""
    own = {"XDG_CONFIG_HOME": str(keyed.directory / "pages")}
    there = f"tls:127.0.0.1:{keyed.farm.ports['BUILDTOOL_PB_PORT']}"
    stranger = program(keyed, "webserver", "--host", there, **own)
    assert (stranger.returncode, stranger.stderr.count("\n")) == (2, 1)
    assert "invite NAME --role pages" in stranger.stderr
    twice = program(keyed, "webserver", "--host", there, "--use-tls", **own)
    assert "--use-tls goes with a plain host: --host is an endpoint string" in twice.stderr
    line = operate(keyed, "invite", "front", "--role", "pages")
    assert "joined 127.0.0.1" in program(keyed, "webserver", "join", line, **own).stdout
    web = [str(keyed.farm.root / "bin" / "webserver"), "--port", "0", "--host", f"tls:127.0.0.1:1,{there}"]
    at = keyed.farm.start("webserver", web, **own).wait_for("pages on (http://127[0-9.:]*/)")
    with urllib.request.urlopen(f"{at[1]}health") as answer:  # noqa: S310 - http, as written
        assert json.loads(answer.read())["metaserver"] == "ok"
    operate(keyed, "revoke", "front")
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(f"{at[1]}health")  # noqa: S310 - http, as written
    assert json.loads(told.value.read())["metaserver"] == "no answer"
