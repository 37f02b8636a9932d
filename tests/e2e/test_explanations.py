"""Why: what would be answered, and why a request waits, asked of the real programs."""

import urllib.request

import pytest

from tests.e2e.control import Control


def explained(control: Control, *arguments: str) -> dict[str, object]:
    """Return what --explain or --why printed as JSON."""
    said = control.ask(*arguments)["explanation"]
    assert isinstance(said, dict)
    return said


def test_explain_asks_for_nothing_and_says_hit_join_dispatch_or_queue(running: Control) -> None:
    first = explained(running, "--explain")
    assert first["verdict"] == "queued"
    assert "no build server has ever registered" in str(first["reason"])
    assert "bin/metaserver invite NAME" in str(first["reason"]), "it says what to do"
    running.close_gate("anna")
    running.server("anna")
    would = explained(running, "--explain")
    assert (would["verdict"], would["server"]) == ("dispatched", "anna")
    asked = running.ask("ann@example.org")
    assert asked["answer"] == "dispatched", "explaining had asked for nothing"
    joined = explained(running, "--explain")
    assert (joined["verdict"], joined["build_id"]) == ("joined", asked["build_id"])
    running.open_gate("anna")
    running.farm.programs[0].wait_for("mail for ann")
    hit = explained(running, "--explain")
    assert hit["verdict"] == "hit"
    assert running.ask("--no-download", "ann@example.org")["request_id"] == 2, "no number was used up"


def test_a_miss_names_the_nearest_artifact_and_each_property_that_differs(running: Control) -> None:
    running.server("anna")
    running.ask("--foreground", "--no-download", "ann@example.org")
    said = explained(running, "--explain", "--greeting=goodbye", "--libc-version=2.5")
    assert said["verdict"] == "queued"
    assert any("libc_version ≤ 2.5" in str(line) for line in said["differences"])  # type: ignore[attr-defined]
    assert any("greeting is hello, not goodbye" in str(line) for line in said["differences"])  # type: ignore[attr-defined]
    assert "libc_version ≤ 2.5; the best is" in str(said["nearest_server"])


@pytest.mark.long
def test_why_says_that_the_server_is_busy_and_promises_nothing_once_that_takes_longer_than_ever(
    running: Control,
) -> None:
    """The first took a moment; the second waits at a gate, and nobody knows for how long."""
    running.server("anna")
    running.ask("--foreground", "--no-download", "ann@example.org")
    running.close_gate("anna")
    running.ask("--greeting=goodbye", "ann@example.org")
    first = running.ask("--loud", "ann@example.org")
    second = running.ask("--loud", "--memory=32", "--force", "--revision=main", "bob@example.org")
    assert second["answer"] == "joined"
    said = explained(running, "--why", f"{first['cancel_id']}")
    while "until" in str(said["reasons"]):  # not yet longer than the first, which took seconds on a busy machine
        said = explained(running, "--why", f"{first['cancel_id']}")
    assert said["verdict"] == "queued"
    assert "busy (1 of 1 builds)" in str(said["reasons"])
    assert (said["seconds"], said["basis"]) == (None, "")
    running.control("gate-anna").unlink()


def test_why_in_words_for_people(running: Control) -> None:
    running.control("refuse-anna").write_text("not before midnight")
    running.server("anna")
    asked = running.ask("ann@example.org")
    done = running.farm.request("--why", asked["cancel_id"])
    while "is being built on anna" in done.stdout:  # she was asked, and has not answered yet
        done = running.farm.request("--why", asked["cancel_id"])
    assert done.returncode == 0
    assert "anna" in done.stdout
    assert "not before midnight" in done.stdout


def test_why_of_an_ended_request_says_how_it_ended(running: Control) -> None:
    running.server("anna")
    done = running.ask("--foreground", "--no-download", "ann@example.org")
    assert explained(running, "--why", done["cancel_id"])["verdict"] == "satisfied"


def test_the_page_of_a_queued_build_says_why_it_waits_inside_the_metaserver_and_apart(control: Control) -> None:
    control.farm.start_metaserver("--web")
    control.server("anna")
    asked = control.ask("--memory=900000000", "ann@example.org")
    path = f"/build/{asked['build_id']}"
    inside = urllib.request.urlopen(control.farm.public_url + path).read().decode()  # noqa: S310
    assert "Why it waits" in inside
    assert "memory ≥ 900000000" in inside
    apart = control.farm.start("webserver", [str(control.farm.root / "bin" / "webserver"), "--port=0"])
    port = apart.wait_for(r"pages on http://[^:]+:(\d+)/")[1]
    assert "Why it waits" in urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read().decode()
    control.farm.programs[0].stop()
    assert "Why it waits" not in urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read().decode()
