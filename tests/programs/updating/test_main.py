"""What an operator types: what is missing is said, and what runs, what waits and what failed is shown."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from docutils import nodes

from buildtool.errors import UsageError
from buildtool.model.updating.record import UpdatePhase, UpdateRecord
from buildtool.programs.updating.choice import READY, choice_of
from buildtool.programs.updating.main import COMMAND_LINE, UPDATE_CODES, status_lines
from tests.programs.updating.conftest import Installed
from tests.test_docs import ROOT, defined, rows, section

A, B = "a" * 40, "b" * 40
SOURCE = ("--source", "https://example.org/x.git")


def refused(*words: str) -> str:
    """Why what is said is refused."""
    with pytest.raises(UsageError) as error:
        choice_of(COMMAND_LINE.parse(["run", *words])[1])
    return str(error.value)


def test_what_is_missing_or_said_twice_is_one_line() -> None:
    assert refused() == "--source is not said: name the repository of the program"
    assert refused(*SOURCE).startswith("--signed-by FILE is not said: name your public keys, or say --unsigned")
    assert refused(*SOURCE, "--unsigned", "--signed-by", "/k").endswith("are two different things: say one of them")
    assert refused(*SOURCE, "--unsigned", "--branch", "b", "--tags", "v*").endswith("different things: say one of them")
    assert refused(*SOURCE, "--unsigned", "--account", "nobody there") == (
        "--account: there is no account 'nobody there' on this machine"
    )
    assert "is not the address of a repository" in refused("--source", "x")
    assert "is no command: No closing quotation" in refused(*SOURCE, "--check", "'x")
    both = refused(*SOURCE, "--unsigned", "--without-database", "--with-migrations", "/b")
    assert both == "--without-database and --with-migrations are two different things: say one of them"
    assert "cannot be a ref of the repository" in refused(*SOURCE, "--branch", "a..b")


def test_what_is_not_said_has_its_default_and_a_watch_may_be_left_out() -> None:
    choice = choice_of(COMMAND_LINE.parse(["run", *SOURCE, "--unsigned", "--watch", "0"])[1])
    assert (choice.place, choice.ready, choice.check) == (
        Path("/opt/buildtool"), READY, ("bin/metaserver", "check-config")
    )  # fmt: skip
    assert (choice.within, choice.watch, choice.keep) == (300.0, 0.0, 2)


def test_status_says_what_runs_what_waits_and_why_something_failed() -> None:
    record = UpdateRecord(holds=A, name="v1", since=0.0, past=(B,), tip=B, accepted=B, words="x", code=14, at=60.0)
    record = record.beginning(B, "v2", 1.0).failing("it died", 0.0, for_good=True).accepting("c" * 40)
    lines = status_lines(A, record.beginning(B, "v2", 1.0).entering(UpdatePhase.STARTING))
    assert lines == [
        "current     v1 (aaaaaaaaaaaa), since 1970-01-01 00:00 UTC",
        "before      bbbbbbbbbbbb",
        "under way   v2: starting",
        "newest      bbbbbbbbbbbb",
        "failed      v2 at 1970-01-01 00:00 UTC: it died",
        "last run    1970-01-01 00:01 UTC, code 14: x",
    ]
    assert status_lines("", UpdateRecord()) == ["current     none: no version is installed"]


@pytest.mark.world
def test_the_program_runs_as_it_is_typed_and_its_answer_can_be_read(installed: Installed, tmp_path: Path) -> None:
    commit = installed.push("one")
    words = [
        sys.executable, str(ROOT / "deploy/update"), "--place", str(installed.place.path), "--source",
        installed.origin.url, "--unsigned", "--check", "bin/check", "--settings-file", str(tmp_path / "settings.toml"),
    ]  # fmt: skip
    (tmp_path / "settings.toml").write_text('[update]\nrestart = "bin/start"\nready = ["bin/ready"]\n')
    done = subprocess.run([*words, "run", "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["code"], told["current"], told["holds"], told["versions"]) == (0, commit, commit, [commit])
    (installed.origin.path / "new").write_text("harm\x1b[2J\n")
    second = installed.push("two")
    done = subprocess.run([*words, "diff"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        f"{second[:12]} of A <a@example.org>, unsigned: change how (2 files changed: how, new)"
    )
    assert "+harm\\x1b[2J" in done.stdout.splitlines(), "nothing of it commands the terminal"
    assert installed.place.versions() == (commit,), "nothing of it is unpacked"
    words = [*words[:4], "accept", second[:10]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    told = f"{second[:12]} is accepted, and tried at the next run\n"
    assert (done.stdout, done.stderr) == (told, ""), "what diff has shown, and no source is asked for"


def test_the_manual_has_each_option_command_and_exit_code() -> None:
    part = section("docs/operator.rst", "Updates by themselves")
    assert defined(part) == {name for name in COMMAND_LINE.options if name != "--settings-file"}
    words = {word.astext() for term in part.findall(nodes.term) for word in term.findall(nodes.literal)}
    commands = {f"{one.name} {one.usage}".rstrip() for one in COMMAND_LINE.commands}
    assert {word for word in words if not word.startswith("-")} == commands
    assert {row[0]: row[1] for row in rows(part)} == {str(code): said for code, said in UPDATE_CODES.items()}
