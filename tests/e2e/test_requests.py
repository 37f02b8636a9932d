"""Requests, from the requester's side, with real processes over loopback."""

import hashlib
import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import farm
from tests.e2e.control import Control

SHARED = pytest.mark.xdist_group("serving")  # one farm for all of them


@pytest.fixture(scope="module", params=["control port", pytest.param("http", marks=pytest.mark.long)])
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A metaserver and the build server anna, which takes every build at once, for all tests that ask for no more."""
    with farm(tmp_path_factory.mktemp("serving")) as made:
        made.farm.start_metaserver("--web")
        made.server("anna")
        if request.param == "http":
            made.farm.extra["BUILDTOOL_HTTP"] = made.farm.public_url
        yield made


@pytest.fixture
def building(serving: Control) -> Control:
    """The same, with sources of which nothing was built yet, the newest of its revisions."""
    serving.commit(**{"main.c": serving.source(f"state {len(serving.commits)}")})
    return serving


def run_program(artifact: Path) -> str:
    """Unpack the program that an artifact holds, and return what it says."""
    place = artifact.with_suffix("")
    with zipfile.ZipFile(artifact) as archive:
        archive.extractall(place)
    program = place / "program"
    program.chmod(0o755)
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout.strip()


@SHARED
def test_a_miss_is_built_and_the_same_request_is_then_a_hit(building: Control) -> None:
    first = building.ask("--foreground", "--output", "one.zip", "ann@example.org")
    assert first["answer"] == "dispatched"
    assert first["state"] == "satisfied"
    second = building.ask("--output", "two.zip", "bob@example.org")
    assert (second["answer"], second["build_state"]) == ("hit", "succeeded")
    one, two = building.farm.directory / "one.zip", building.farm.directory / "two.zip"
    assert one.read_bytes() == two.read_bytes()
    assert hashlib.sha256(one.read_bytes()).hexdigest() == second["artifact"]["digest"]
    assert run_program(one) == f"hello state {len(building.commits) - 1}"


@SHARED
def test_compile_options_make_other_binaries_and_a_contradiction_is_refused(building: Control) -> None:
    building.ask("--foreground", "--output", "one.zip", "ann@example.org")
    other = building.ask("--foreground", "--greeting=goodbye", "--output", "two.zip", "ann@example.org")
    assert other["answer"] == "dispatched"
    assert run_program(building.farm.directory / "two.zip") == f"goodbye state {len(building.commits) - 1}"
    line = building.refused("--greeting=goodbye", "--loud", "ann@example.org", code=2)
    assert "--loud=yes needs --greeting=hello" in line


@SHARED
def test_ids_of_own_requests_are_completed_and_listed_also_where_no_key_says_who_asks(building: Control) -> None:
    made = building.ask("--foreground", "--no-download", "ann@example.org")
    offered = building.farm.request("__complete", "fish", "log", f"{made['request_id']}-").stdout.splitlines()
    assert [one.split("\t")[0] for one in offered] == ["words", made["cancel_id"]]
    assert "greeter HEAD" in offered[1]
    assert made["cancel_id"] not in building.farm.request("__complete", "fish", "cancel", "").stdout
    listed = building.farm.request("list", "--most=1")
    assert listed.returncode == 0, listed.stderr
    assert (
        "the farm cannot list your requests: below is what this account asked for from this machine (1)"
        in listed.stdout
    )
    assert made["cancel_id"] in listed.stdout
    elsewhere = building.farm.request("list", XDG_CACHE_HOME=str(building.farm.directory / "nothing"))
    assert elsewhere.returncode != 0
    assert "no key says who you are" in elsewhere.stderr
    assert "this account remembers none that was made from this machine" in elsewhere.stderr


def test_three_requesters_of_one_build_are_joined_and_mailed_each(running: Control) -> None:
    running.close_gate("anna")
    anna = running.server("anna")
    answers = [running.ask(f"{name}@example.org") for name in ("ann", "bob", "cid")]
    assert [answer["answer"] for answer in answers] == ["dispatched", "joined", "joined"]
    assert len({answer["build_id"] for answer in answers}) == 1
    mailbox = running.farm.programs[0]
    running.open_gate("anna")
    for _ in answers:
        mailbox.wait_for(r"mail for (\w+)@example\.org")
    assert {mail["Delivered-To"] for mail in running.mails()} == {f"{n}@example.org" for n in ("ann", "bob", "cid")}
    assert anna.process.poll() is None


def test_a_request_waits_for_a_capable_server_and_both_requesters_of_the_queued_build_are_mailed(
    running: Control,
) -> None:
    assert running.ask("ann@example.org")["answer"] == "queued"
    assert running.ask("bob@example.org")["answer"] == "joined"
    running.server("anna")
    for _ in range(2):
        running.farm.programs[0].wait_for("mail for")
    assert {mail["Delivered-To"] for mail in running.mails()} == {"ann@example.org", "bob@example.org"}


@SHARED
def test_a_queued_request_says_why_it_waits(building: Control) -> None:
    answer = building.ask("--memory=900000000", "ann@example.org")
    assert answer["answer"] == "queued"
    assert any("memory" in line and "anna" in line for line in answer["why"])


def test_cancelling_one_of_two_lets_the_build_go_on_and_the_last_stops_it(running: Control) -> None:
    running.close_gate("anna")
    running.server("anna")
    first, second = running.ask("ann@example.org"), running.ask("bob@example.org")
    cancelled = running.ask("--cancel", first["cancel_id"])
    assert cancelled["state"] == "cancelled"
    assert running.ask("cid@example.org")["answer"] == "joined", "the build still runs"
    third = running.ask("dora@example.org")
    for answer in (second, third):
        running.ask("--cancel", answer["cancel_id"])
    (last,) = [answer for answer in [running.ask("cid@example.org")] if answer["answer"] == "joined"]
    assert last["build_id"] == first["build_id"]


def test_the_last_cancel_ends_the_build_and_frees_the_server_for_another(running: Control) -> None:
    running.close_gate("anna")
    running.server("anna")
    only = running.ask("ann@example.org")
    running.ask("--cancel", only["cancel_id"])
    running.control("gate-anna").unlink()
    done = running.ask("--foreground", "--greeting=goodbye", "--no-download", "bob@example.org")
    assert done["state"] == "satisfied"
    assert not [mail for mail in running.mails() if mail["Delivered-To"] == "ann@example.org"]


def test_a_wrong_token_cancels_nothing(running: Control) -> None:
    only = running.ask("ann@example.org")
    number, _, token = only["cancel_id"].partition("-")
    line = running.refused("--cancel", f"{number}-{'a' * len(token)}", code=8)
    assert "token" in line


@SHARED
def test_a_near_revision_satisfies_a_range_and_an_exact_request_builds_its_own(building: Control) -> None:
    for words in ("second", "third"):
        building.commit(**{"main.c": building.source(f"{words} {len(building.commits)}")})
    first, second, third = building.commits[-3:]
    building.ask("--foreground", "--revision", second, "--no-download", "ann@example.org")
    near = building.ask("--revision", third, "--revrange=1", "--no-download", "bob@example.org")
    assert (near["answer"], near["revision"]) == ("hit", second)
    older = building.ask("--revrange", f"{first}..{third}", "--no-download", "bob@example.org")
    assert (older["answer"], older["revision"]) == ("hit", second)
    exact = building.ask("--foreground", "--no-download", "bob@example.org")
    assert (exact["answer"], exact["revision"]) == ("dispatched", third)


@SHARED
def test_force_builds_again_and_the_newest_artifact_wins(building: Control) -> None:
    first = building.ask("--foreground", "--no-download", "ann@example.org")
    forced = building.ask("--foreground", "--force", "--no-download", "ann@example.org")
    assert forced["build_id"] != first["build_id"]
    assert building.ask("--no-download", "ann@example.org")["build_id"] == forced["build_id"]


@SHARED
def test_a_foreground_request_shows_the_log_as_it_grows(building: Control) -> None:
    done = building.farm.request("--foreground", "--no-download", "ann@example.org")
    assert done.returncode == 0
    assert "building on anna" in done.stdout + done.stderr


@SHARED
def test_a_failure_is_told_event_by_event_and_its_step_is_printed_alone(building: Control) -> None:
    building.commit(**{"main.c": "int main(void) { return 0 }\n"})
    asked = building.farm.request("--json", "--foreground", "--force", "ann@example.org")
    assert asked.returncode == 3, asked.stderr
    events = [json.loads(line) for line in asked.stdout.splitlines()]
    assert {"note", "state", "log"} <= {one["event"] for one in events[:-1]}
    assert (events[-1]["event"], events[-1]["state"]) == ("end", "failed")
    assert events[-1]["asked_at"] > 1e9
    lines = [line for one in events for line in one.get("lines", ())]
    whole = building.farm.request("log", events[-1]["cancel_id"])
    assert whole.stdout.splitlines() == lines
    step = building.farm.request("--log", events[-1]["cancel_id"], "--failed-step").stdout.splitlines()
    assert step[0] != lines[0]
    assert any("error" in line for line in step)
    assert set(step) < set(lines)


@SHARED
def test_the_refs_of_a_project_are_completed_and_a_mistyped_one_is_answered_with_the_nearest(building: Control) -> None:
    building.git("branch", "-f", "feature-x")
    building.ask("explain", "--revision=feature-x")  # the mirror has it from then on
    offered = building.farm.request("__complete", "zsh", "--revision=fea").stdout.splitlines()
    assert offered == ["words", "--revision=feature-x"]
    wrong = building.refused("explain", "--revision=featur-x", code=8)
    assert wrong.endswith("has no branch, tag or commit 'featur-x': did you mean feature-x?")


def test_whoever_waits_only_so_long_is_told_that_it_goes_on_and_takes_it_up_again(running: Control) -> None:
    """No build server is there when it is asked for; one comes while another program follows."""
    asked = running.ask("--deadline", "1s", "ann@example.org", code=10)
    assert asked["state"] == "waiting"
    assert running.farm.request("follow", str(asked["cancel_id"]), "--deadline", "1s").returncode == 10
    assert running.farm.request("download", str(asked["cancel_id"])).returncode == 10
    running.server("anna")
    ended = running.ask("follow", str(asked["cancel_id"]), "--no-download")
    assert (ended["state"], ended["exit"]) == ("satisfied", 0)
    assert running.ask("download", str(asked["cancel_id"]), "--output", "mine.zip")["path"] == "mine.zip"
