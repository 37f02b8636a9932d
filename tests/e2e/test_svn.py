"""A project whose sources are in Subversion, from the requester's side, with real processes."""

import os
from pathlib import Path

import pytest

from tests.adapters.vcs.svn.repositories import SvnOrigin
from tests.e2e.control import BUILD, Control
from tests.e2e.test_requests import run_program
from tests.support.packages import require
from tests.support.smtp import mail_text


@pytest.fixture
def origin(control: Control, tmp_path: Path) -> SvnOrigin:
    """The repository; what the farm of ``control`` builds is in its trunk."""
    require("svn", "subversion")
    made = SvnOrigin(tmp_path / "subversion")
    made.write("trunk/build.sh", BUILD)
    made.commit("trunk/main.c", control.source("first"))
    control.farm.extra["E2E_REPOSITORY"] = made.url()
    return made


@pytest.mark.long
def test_revisions_of_subversion_are_built_hit_near_enough_or_unknown(origin: SvnOrigin, running: Control) -> None:
    running.server("anna")
    one = running.farm.directory / "one.zip"

    missed = running.ask("--foreground", "--output", os.fspath(one), "ann@example.org")
    assert (missed["answer"], missed["state"], missed["revision"]) == ("dispatched", "satisfied", "r1")
    assert run_program(one) == "hello first"
    assert missed["artifact"]["name"].startswith("greeter-r1-linux-")

    origin.commit("elsewhere/file")
    hit = running.ask("--no-download", "ann@example.org")
    assert (hit["answer"], hit["revision"]) == ("hit", "r1"), "a commit elsewhere is no other revision of trunk"
    for typed in ("1", "r1", "r2"):
        assert running.ask("--revision", typed, "--no-download", "ann@example.org")["answer"] == "hit"

    third = origin.commit("trunk/main.c", running.source("third"))
    near = running.ask("--revrange=1", "--no-download", "bob@example.org")
    assert (near["answer"], near["revision"]) == ("hit", "r1")
    span = running.ask("--revrange", f"r1..{third}", "--no-download", "bob@example.org")
    assert (span["answer"], span["revision"]) == ("hit", "r1")

    line = running.refused("--revision=99", "ann@example.org", code=8)
    assert "no revision 99" in line.lower()
    line = running.refused("--revision=trunk", "ann@example.org", code=8)
    assert "number" in line

    two = running.farm.directory / "two.zip"
    exact = running.ask("--foreground", "--output", os.fspath(two), "bob@example.org")
    assert (exact["answer"], exact["revision"]) == ("dispatched", third)
    assert run_program(two) == "hello third"
    later = running.ask("--revision=r1", "--greeting=goodbye", "--foreground", "--no-download", "ann@example.org")
    assert (later["answer"], later["state"], later["revision"]) == ("dispatched", "satisfied", "r1")
    running.farm.programs[0].wait_for("mail for bob@example.org")
    assert f"HEAD ({third})" in mail_text(running.mail_to("bob@example.org"))
