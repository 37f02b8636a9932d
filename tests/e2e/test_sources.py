"""Commits that were seen are built whatever becomes of their repository, with real programs."""

import shutil
import socket

import pytest

from tests.e2e.control import Control
from tests.e2e.test_requests import run_program
from tests.support.smtp import mail_text


def overwrite(control: Control) -> None:
    """Take the newest commit from its branch and from the repository."""
    control.git("reset", "--quiet", "--hard", "HEAD~1")
    control.git("reflog", "expire", "--expire=now", "--all")
    control.git("gc", "--quiet", "--prune=now")


@pytest.mark.long
def test_a_commit_that_was_overwritten_while_it_waited_is_built(running: Control) -> None:
    lost = running.commit(**{"main.c": running.source("lost")})
    assert running.ask("ann@example.org")["answer"] == "queued"
    overwrite(running)
    anna = running.server("anna")
    running.farm.programs[0].wait_for(r"mail for ann@example\.org")
    hit = running.ask("--revision", lost, "--output", "one.zip", "bob@example.org")
    assert (hit["answer"], hit["revision"]) == ("hit", lost)
    assert run_program(running.farm.directory / "one.zip") == "hello lost"
    anna.wait_for(f"commit {lost} .* came from the metaserver")


def test_a_commit_is_built_though_its_repository_is_away_altogether(running: Control) -> None:
    commit = running.commit(**{"main.c": running.source("away")})
    assert running.ask("ann@example.org")["answer"] == "queued"
    running.repository.rename(running.directory / "away.git")
    running.server("anna")
    running.farm.programs[0].wait_for(r"mail for ann@example\.org")
    hit = running.ask("--revision", commit, "--output", "one.zip", "bob@example.org")
    assert hit["answer"] == "hit"
    assert run_program(running.farm.directory / "one.zip") == "hello away"


def test_a_commit_that_is_nowhere_any_more_fails_at_once_and_says_what_to_do(running: Control) -> None:
    running.commit(**{"main.c": running.source("gone")})
    assert running.ask("ann@example.org")["answer"] == "queued"
    overwrite(running)
    for mirror in (running.farm.directory / "metaserver" / "mirrors").glob("*.git"):
        shutil.rmtree(mirror)
    running.server("anna")
    running.farm.programs[0].wait_for(r"mail for ann@example\.org")
    text = mail_text(running.mail_to("ann@example.org"))
    assert "push it again" in " ".join(text.split())


@pytest.mark.long
def test_a_mirror_that_is_damaged_under_a_running_metaserver_is_made_anew_and_said_once(running: Control) -> None:
    metaserver = running.farm.programs[1]
    running.server("anna")
    running.ask("--foreground", "ann@example.org")
    mirrors = running.farm.directory / "metaserver" / "mirrors"
    for pack in mirrors.glob("*.git/objects/pack/*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:-40])
    for words in ("second", "third"):
        newest = running.commit(**{"main.c": running.source(words)})
        answer = running.ask("--foreground", "--output", f"{words}.zip", "ann@example.org")
        assert answer["revision"] == newest
        assert run_program(running.farm.directory / f"{words}.zip") == f"hello {words}"
    assert len([line for line in metaserver.lines if "is damaged, and made anew" in line]) == 1


@pytest.mark.long
def test_git_describes_a_commit_alike_wherever_it_came_from(running: Control) -> None:
    script = "set -e\n{ echo '#!/bin/cat'; git describe --long --always; } >program\ncat program\n"
    running.git("tag", "--annotate", "--message", "one", "v1.0")
    lost = running.commit(**{"build.sh": script})
    first = running.server("anna")
    running.ask("--foreground", "--output", "one.zip", "ann@example.org")
    first.stop()
    overwrite(running)
    running.ask("--revision", lost, "--force", "bob@example.org")
    bert = running.server("bert")
    running.farm.programs[0].wait_for(r"mail for bob@example\.org")
    bert.wait_for("came from the metaserver")
    running.ask("--revision", lost, "--output", "two.zip", "cid@example.org")
    one, two = running.farm.directory / "one.zip", running.farm.directory / "two.zip"
    assert one.read_bytes() == two.read_bytes()
    assert f"v1.0-1-g{lost[:7]}" in run_program(one)


@pytest.mark.long
def test_a_build_that_is_cancelled_while_an_origin_does_not_answer_frees_its_slot(running: Control) -> None:
    """A git:// server that says nothing is waited for half an hour by those who want something of it."""
    running.server("anna")
    good = running.commits[-1]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x.git"
        (running.repository / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = x\n\turl = {url}\n')
        running.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},x")
        running.git("add", ".gitmodules")
        running.git("commit", "--quiet", "--message", "a submodule somewhere")
        asked = running.ask("ann@example.org")
        with silent.accept()[0]:
            running.ask("--cancel", asked["cancel_id"])
            after = running.ask("--revision", good, "--foreground", "--no-download", "bob@example.org")
    assert after["state"] == "satisfied"
