"""A recipe is tried on a working tree without any server, and what a second run makes otherwise is said."""

import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.adapters.processes.sandbox.sandboxed import bubblewrap
from tests.support.trying import PROGRAM, tried

pytestmark = pytest.mark.world

CONFIG = """
from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, choice, flag

def _plan(wanted):
    script = {"same": "cat a >out", "place": "pwd >out", "fail": "echo broken; exit 3", "wait": "echo up; sleep 600"}
    text = script[wanted.options["what"]]
    return Plan([Command(["sh", "-c", text], name="make it")], ["out"])

projects = [Project(
    name="paint",
    options=ProjectOptions((), (choice("what", ["same", "place", "fail", "wait"]), flag("loud"))),
    recipe=Recipe(7, _plan),
    path_to_url=lambda source: "/nowhere",
    client_checkers=[lambda checked: "too loud for now" if checked.options["loud"] else None],
)]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "config.py").write_text(CONFIG)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("one\n")
    return tmp_path


def words(place: Path, *more: str) -> list[str | Path]:
    return ["--try", "paint", "--config", place / "config.py", "--source", place / "source", *more]


def test_plan_output_and_artifact_are_shown_and_a_second_run_makes_the_same(place: Path) -> None:
    code, out, err = tried(*words(place, "--loud"), builds=place / "builds")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "project    paint, recipe 7"
    assert "declined   a build server here would say: too loud for now" in lines
    assert "  make it              sh -c 'cat a >out'" in lines
    assert any(line.startswith("| [make it: exited with code 0") for line in lines)
    assert lines[-2:] == ["  0644          4 out", "again      the same bytes, in another directory"]
    (kept,) = (place / "builds" / "trying").iterdir()
    assert f"kept in    {kept}" in lines
    assert [path.name for path in (place / "source").iterdir()] == ["a"]


def test_programs_read_one_object_and_hear_by_the_exit_code_that_it_differs(place: Path) -> None:
    code, out, err = tried(*words(place, "--what=place", "--json", "--output", f"{place}/kept"), builds=place / "b")
    assert code == 11
    assert "[make it: exited with code 0" in err
    found = json.loads(out)
    assert (found["same"], found["options"]) == (False, {"loud": False, "what": "place"})
    assert [one["name"] for one in found["differences"]] == ["out"]
    assert "directory that it was built in" in found["differences"][0]["advice"]
    assert {Path(run["artifact"]["path"]).parent for run in found["runs"]} == {place / "kept"}
    assert len(list((place / "kept").iterdir())) == 2


def test_what_does_not_build_has_the_project_s_exit_code_and_its_log(place: Path) -> None:
    code, out, _ = tried(*words(place, "--what", "fail", "--once"), builds=place / "b")
    assert code == 3
    assert "| broken" in out.splitlines()
    assert out.splitlines()[-1].startswith("failed: make it")
    assert list((place / "b" / "trying").iterdir()) == [], "nothing is left behind"


FETCHING = """
from buildtool.project import Command, Download, Plan, Project, ProjectOptions, Recipe

_GET = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())"

def _plan(wanted):
    return Plan(
        [Command(["sh", "-c", 'cat a x got >out; ! /usr/bin/python3 -c "$0" {url}/x; ls /home || true', _GET])],
        ["out"],
        downloads=[Download("{url}/x", "{digest}", "x")],
        fetch=[Command(["sh", "-c", '/usr/bin/python3 -c "$0" {url}/x >got', _GET], name="get")],
        network=["{host}"],
    )

projects = [Project("paint", ProjectOptions((), ()), Recipe(7, _plan), lambda source: "/nowhere")]
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory, and says nothing of it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def fetching(place: Path) -> Iterator[Path]:
    """Return a place whose recipe has a download and a command that fetches, from a server of the test's own."""
    web = place / "web"
    web.mkdir()
    (web / "x").write_text("two\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(web))) as server:
        host = f"127.0.0.1:{server.server_port}"
        said = {"{url}": f"http://{host}", "{digest}": sha256(b"two\n").hexdigest(), "{host}": host}
        text = FETCHING
        for name, value in said.items():
            text = text.replace(name, value)
        (place / "config.py").write_text(text)
        serving = Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        yield place
        server.shutdown()
        serving.join()


def test_what_is_declared_is_fetched_before_a_sandbox_in_which_there_is_no_network(fetching: Path) -> None:
    bubblewrap()
    code, out, err = tried(*words(fetching, "--once", "--json", "--allow-network=paint"), builds=fetching / "b")
    assert code == 0, err
    found = json.loads(out)
    assert found["sandbox"] == "strict"
    assert [one["path"] for one in found["plan"]["downloads"]] == ["x"]
    (run,) = found["runs"]
    with zipfile.ZipFile(run["artifact"]["path"]) as archive:
        assert archive.read("out") == b"one\ntwo\ntwo\n"
    assert "cannot access '/home'" in err
    assert "reached" in err


def test_who_does_not_allow_the_network_is_told_what_to_say(fetching: Path) -> None:
    code, out, _ = tried(*words(fetching, "--once"), builds=fetching / "b")
    assert code == 1
    assert out.splitlines()[-1].startswith("refused: only with --allow-network paint, which")
    assert any(line.startswith("  fetch: get ") for line in out.splitlines())
    code, out, err = tried(*words(fetching, "--allow-network=pant"), builds=fetching / "b")
    assert (code, out) == (2, "")
    assert err == "buildserver.py: --allow-network: there is no project 'pant': did you mean paint?\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (["--what=blue"], "--what: 'blue' is not one of same, place, fail, wait"),
        (["--wat=same"], "unknown option --wat (did you mean --what?)"),
        (["--what=same", "--what=fail"], "--what has several values: only one is tried at a time"),
        (["--loud", "word"], "'word' is too much (--help shows what is taken)"),
        (["--source", "/nowhere"], "--source /nowhere is no directory"),
    ],
)
def test_what_is_said_wrongly_is_one_line(place: Path, said: list[str], why: str) -> None:
    config = ["--try", "paint", "--config", str(place / "config.py")]
    code, out, err = tried(*config, *said, builds=place / "b", cwd=place / "source")
    assert (code, out, err) == (2, "", f"buildserver.py: {why}\n")


def test_a_trial_that_is_told_to_stop_leaves_nothing_running(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, words(place, "--what=wait"))],
        env={"PATH": "/usr/bin:/bin", "BUILDTOOL_BUILD_DIR": str(place / "b")}, stdout=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        assert started.stdout is not None
        assert "| up\n" in started.stdout
        started.send_signal(signal.SIGINT)
        rest = started.stdout.read()
    assert started.returncode == 1
    assert rest.splitlines()[-1].startswith("aborted: ")
    assert list((place / "b" / "trying").iterdir()) == []
