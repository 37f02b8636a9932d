"""The command line over HTTP does what it does at the control port, says the same and ends with the same code."""

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from buildtool.client import BlockingFarm, BuildWish
from buildtool.errors import Unavailable, UnknownRef
from tests.e2e.conftest import farm
from tests.e2e.control import Control

SHARED = pytest.mark.xdist_group("over http")


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A metaserver with its pages, and the build server anna."""
    with farm(tmp_path_factory.mktemp("paged")) as made:
        made.farm.start_metaserver("--web")
        made.server("anna")
        yield made


def both(at: Control, *words: str, commits: bool = False) -> list[subprocess.CompletedProcess[str]]:
    """Return what comes of the same command at the control port and over HTTP, each with sources of its own."""
    found = []
    for over in ([], ["--http", at.farm.public_url]):
        if commits:
            at.commit(**{"main.c": at.source(f"state {len(at.commits)}")})
        (at.farm.directory / "made.zip").unlink(missing_ok=True)
        found.append(at.farm.request(*words, *over))
    return found


def alike(done: subprocess.CompletedProcess[str], at: Control) -> tuple[int, str, str]:
    """Return exit code and output without what differs from one request, or one way to the farm, to another."""

    def without(text: str) -> str:
        text = re.sub(r"  .* before this one\n|, in place of what was there", "", text)  # what the first left
        return re.sub(r"\S*[0-9]\S*", "N", text.replace(at.farm.public_url, "127.0.0.1:1"))

    return done.returncode, without(done.stdout), without(done.stderr)


@SHARED
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("explain", "ann@example.org"), 0),
        (("explain", "--memory=900000000", "--json"), 0),
        (("--revision=nothing", "ann@example.org"), 8),
        (("cancel", "1-abcdef"), 8),
        (("why", "999999-abcdef", "--json"), 8),
        (("pause", "nobody"), 8),
        (("status",), 0),
    ],
)
def test_questions_and_acts_end_alike(paged: Control, words: tuple[str, ...], code: int) -> None:
    one, other = (alike(done, paged) for done in both(paged, *words))
    assert one == other
    assert one[0] == code


@SHARED
def test_a_request_that_nobody_can_build_yet_says_alike_why_it_waits(paged: Control) -> None:
    one, other = both(paged, "--memory=900000000", "ann@example.org", commits=True)
    other.stdout = other.stdout.replace("  1 build waits before this one: 1 of the same requester\n", "")  # the first
    assert alike(one, paged) == alike(other, paged)
    assert "needs memory" in other.stdout


@SHARED
def test_a_build_is_followed_with_its_log_and_fetched_alike(paged: Control) -> None:
    one, other = both(paged, "--foreground", "--output=made.zip", "ann@example.org", commits=True)
    assert alike(one, paged) == alike(other, paged)
    assert one.returncode == 0
    assert "| building on anna" in other.stdout
    with zipfile.ZipFile(paged.farm.directory / "made.zip") as archive:
        assert "program" in archive.namelist()


@SHARED
def test_logs_and_artifacts_come_from_the_one_address_that_was_said(paged: Control) -> None:
    paged.commit(**{"main.c": "int main(void) { return nothing; }"})
    over = ("--http", paged.farm.public_url)
    failed = paged.ask("--foreground", "ann@example.org", *over, code=3)
    assert failed["log_url"] == f"{paged.farm.public_url}/api/v1/builds/{failed['build_id']}/log?attempt=1"
    for more in ((), ("--failed-step",)):
        one, other = both(paged, "log", failed["cancel_id"], *more)
        assert (one.returncode, one.stdout) == (0, other.stdout)
        assert "error" in other.stdout
    with BlockingFarm(paged.farm.public_url) as there:
        index = there.builds.log_index(failed["build_id"])
        found = there.builds.search_log(failed["build_id"], "ERROR")
        assert found.count >= index.error_count > 0
        at = index.errors[0][1]
        assert b"error" in there.builds.log(failed["build_id"], start=at).data.split(b"\n")[0]


FIREWALL = """
import runpy, sys

def hook(event, told):
    if event == "socket.connect" and isinstance(told[1], tuple) and told[1][1] != {port}:
        raise OSError(113, "the firewall lets nothing through but port {port}")

sys.addaudithook(hook)
sys.argv = [{program!r}, *sys.argv[1:]]
runpy.run_path({program!r}, run_name="__main__")
"""


@SHARED
def test_whoever_gets_through_to_the_pages_alone_has_log_and_artifact(paged: Control) -> None:
    paged.commit(**{"main.c": paged.source(f"state {len(paged.commits)}")})
    made = paged.ask("--foreground", "--no-download", "ann@example.org")
    code = FIREWALL.format(
        port=urlsplit(paged.farm.public_url).port, program=str(paged.farm.root / "bin/startcompile.py")
    )

    def behind(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False,
            env=paged.farm.environment(), cwd=paged.farm.directory,
        )  # fmt: skip

    over = ("--http", paged.farm.public_url)
    fetched = behind("download", made["cancel_id"], "--output=through.zip", *over)
    assert fetched.returncode == 0, fetched.stderr
    through = (paged.farm.directory / "through.zip").read_bytes()
    assert hashlib.sha256(through).hexdigest() == made["artifact"]["digest"]
    assert "building on anna" in behind("log", made["cancel_id"], *over).stdout
    assert behind("log", made["cancel_id"]).returncode != 0, "the firewall is one"


@SHARED
def test_one_who_waits_is_told_when_the_deadline_comes_and_can_follow_fetch_and_cancel_later(paged: Control) -> None:
    paged.commit(**{"main.c": paged.source(f"state {len(paged.commits)}")})
    paged.close_gate("anna")
    over = ("--http", paged.farm.public_url)
    late = paged.ask("--deadline=1s", "ann@example.org", *over, code=10)
    assert late["state"] == "waiting"
    second = paged.ask("bob@example.org", *over)
    assert (second["answer"], second["build_id"]) == ("joined", late["build_id"])
    assert paged.ask("cancel", second["cancel_id"], *over)["state"] == "cancelled"
    paged.open_gate("anna")
    followed = paged.ask("follow", late["cancel_id"], "--no-download", *over)
    assert (followed["state"], followed["build_id"]) == ("satisfied", late["build_id"])
    fetched = paged.ask("download", late["cancel_id"], "--output=later.zip", *over)
    assert fetched["path"] == "later.zip"
    assert (paged.farm.directory / "later.zip").stat().st_size == fetched["artifact"]["size"]


@SHARED
def test_a_program_asks_waits_fetches_and_looks_around_by_the_client(paged: Control) -> None:
    paged.commit(**{"main.c": paged.source(f"state {len(paged.commits)}")})
    made, heard = paged.farm.directory / "by-client.zip", list[str]()
    with BlockingFarm(paged.farm.public_url) as there:
        asked = there.requests.submit(BuildWish("greeter", email="ann@example.org"))
        ended = there.requests.wait(asked, lambda now: heard.append(now.state))
        assert (asked.answer, ended.state, heard[-1:]) == ("dispatched", "satisfied", ["satisfied"])
        assert ended.artifact is not None
        assert ended.artifact.url == f"{paged.farm.public_url}/api/v1/artifacts/{ended.artifact.digest}"
        there.fetch(ended.artifact, str(made))
        shown = there.builds.show(ended.artifact.build_id).build
        assert shown.artifact is not None
        assert shown.artifact.digest == hashlib.sha256(made.read_bytes()).hexdigest() == ended.artifact.digest
        assert [one.name for one in there.machines.list().machines] == ["anna"]
        with pytest.raises(UnknownRef):
            there.requests.submit(BuildWish("greeter", "nothing", email="ann@example.org"))
    with pytest.raises(Unavailable, match="nothing listens"), BlockingFarm("http://localhost:1") as nowhere:
        nowhere.farm.health()


@SHARED
def test_where_no_pages_answer_is_one_line_and_the_exit_code_of_an_absent_metaserver(paged: Control) -> None:
    line = paged.refused("explain", "--http", "http://127.0.0.1:1", code=7)
    assert "no farm answers at http://127.0.0.1:1: nothing listens there" in line
    assert "https://" in paged.refused("explain", "--http", "farm.example.org", code=2)
    port = paged.farm.ports["BUILDTOOL_TRANSFER_PORT"]
    assert "is not the API" in paged.refused("explain", "--http", f"http://127.0.0.1:{port}", code=7)
