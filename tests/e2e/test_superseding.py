"""Who asks for what was pushed since with --supersede, by the real programs: the older request ends, and says so."""

import pytest

from tests.e2e.control import Control
from tests.support.smtp import mail_text


@pytest.mark.long
def test_a_newer_commit_ends_the_request_for_an_older_one_which_is_told_everywhere(running: Control) -> None:
    older = running.ask("--revision=main", "ann@example.org")
    other = running.ask("--revision=main", "bob@example.org")
    third = running.commit(**{"main.c": running.source("third")})
    last = running.ask("--revision=refs/heads/main", "--supersede", "ann@example.org")
    assert (last["state"], last["revision"]) == ("waiting", third)

    told = running.ask("follow", older["cancel_id"], code=14)
    assert told["state"] == "superseded"
    assert told["reason"] == f"request {last['request_id']} took its place, for a newer commit of refs/heads/main"
    why = running.ask("why", older["cancel_id"])["explanation"]
    assert (why["verdict"], why["reason"]) == ("superseded", told["reason"])
    assert running.ask("why", other["cancel_id"])["explanation"]["verdict"] == "queued", "who else waits is kept"

    running.farm.programs[0].wait_for("mail for ann@example.org")
    assert "A newer commit of yours took the place" in mail_text(running.mail_to("ann@example.org"))
    commit = running.refused(f"--revision={third}", "--supersede", "ann@example.org", code=2)
    assert "name a branch or tag" in commit
