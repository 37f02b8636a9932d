"""A program that begins where it is loaded is what a process of its own would be, and what loads otherwise is one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import warm_program, warm_starts
from tests.support.warm_starts import ROOT, Forked, begin, kind_of, loads_alike

STARTCOMPILE = [sys.executable, str(ROOT / "bin" / "startcompile.py")]
MAILBOX = [sys.executable, "-m", "buildtool.demo.mailbox"]
SAY = "import sys; print(*(name for name in sys.modules if not name.startswith('tests')))"

Popen = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_starts, "cold", [False])


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **more}


def ended(popen: Popen, words: list[str], cwd: Path, **more: str) -> tuple[int, bytes, bytes]:
    """Run a program to its end; return its exit code and what it wrote on each stream."""
    with popen(
        words,
        env=environment(**more),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        out, error = running.communicate(timeout=60)
    return running.returncode, out, error


@pytest.mark.parametrize(
    "words",
    [
        [*STARTCOMPILE, "--version"],
        [*STARTCOMPILE, "--confog=x"],
        [*STARTCOMPILE, "--config", "nowhere.py", "--explain"],
        [sys.executable, str(ROOT / "bin" / "metaserver"), "--fsck", "--config", "empty.py"],
        [sys.executable, str(ROOT / "bin" / "metaserver"), "--config", "empty.py"],
        [sys.executable, str(ROOT / "bin" / "buildserver.py"), "--version"],
    ],
    ids=" ".join,
)
def test_it_answers_as_one_that_is_started_anew(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("state_dir = 'state'\nprojects = []\n")
    assert ended(begin, words, tmp_path) == ended(subprocess.Popen, words, tmp_path)


def test_its_directory_environment_and_session_are_those_of_whoever_asked_and_a_signal_ends_it(tmp_path: Path) -> None:
    """Nothing else is open in it but what it opened, and its end is told as that of a child would be."""
    running = begin(
        [*MAILBOX, "mail"], env=environment(E2E_SAID="so"), cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    with running:
        assert isinstance(running, Forked)
        assert running.stdout is not None
        assert b"listening on port" in running.stdout.readline()
        place = Path(f"/proc/{running.pid}")
        assert (place / "cwd").readlink() == tmp_path
        assert os.getsid(running.pid) == os.getpgid(running.pid) == running.pid
        open_ = {one.readlink().name.partition(":")[0] for one in (place / "fd").iterdir()}
        assert open_ <= {"pipe", "null", "socket", "anon_inode", "[eventpoll]", "urandom"}, open_
        assert running.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.01)
        running.kill()
        assert running.wait(30) == -signal.SIGKILL
    assert running.poll() == -signal.SIGKILL


@pytest.mark.parametrize("kind", sorted(warm_program.PROGRAMS))
def test_what_is_loaded_is_what_the_program_loads_itself_without_the_reactor(kind: str) -> None:
    """But for what a process needs that is asked to begin it."""
    _, *modules = warm_program.PROGRAMS[kind]
    own = f"from tests.support import warm_program; warm_program.load({kind!r}); {SAY}"
    names = ", ".join(("buildtool.programs.common.launch", *modules))
    said = [
        subprocess.run(
            [sys.executable, "-c", text], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split()
        for text in (own, f"import json, select, socket, {names}; {SAY}")
    ]
    loaded, wanted = set(said[0]), set(said[1])
    assert loaded <= wanted
    assert "twisted.internet.reactor" not in loaded
    assert len(loaded) > 0.9 * len(wanted)


def test_what_speaks_to_the_interpreter_and_what_is_no_program_of_this_checkout_is_started_anew() -> None:
    assert kind_of([*STARTCOMPILE, "--why", "1"]) == "startcompile"
    assert kind_of([sys.executable, str(ROOT / "bin" / "metaserver"), "--web"]) == "serving"
    assert kind_of([sys.executable, str(ROOT / "bin" / "metaserver"), "status"]) == "metaserver"
    for words in (
        [sys.executable, "/elsewhere/bin/startcompile.py"],
        ["/elsewhere/python", *STARTCOMPILE[1:]],
        [sys.executable, "-c", "pass"],
        [sys.executable],
    ):
        assert kind_of(words) is None
    assert loads_alike(environment(BUILDTOOL_HOST="farm", PATH="/elsewhere", XDG_CONFIG_HOME="/nowhere"))
    for name in ("PYTHONUTF8", "LC_ALL", "LD_PRELOAD", "TZ"):
        assert not loads_alike(environment(**{name: "other"}))


def test_with_cold_starts_everything_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_starts, "cold", [True])
    with begin([*STARTCOMPILE, "--version"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        assert not isinstance(one, Forked)
        assert one.communicate(timeout=60)[0].startswith(b"buildtool ")
