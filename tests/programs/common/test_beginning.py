"""How programs begin: nobody sees the environment, all words are UTF-8, and no child ignores a signal."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.programs.common.surroundings import PLAIN_C, ROOT, bare, locale_at
from tests.support.signals import LIBRARYS_OWN

BEGUN = """
import json, os, subprocess, sys
sys.path.insert(0, sys.argv.pop(1))
from buildtool.programs.common.beginning import begin, is_ignored
how = sys.argv.pop(1) == "hidden"
begin(hidden=how, closed=how)
import ctypes, signal
def status(text):
    lines = (line.split(":") for line in text.splitlines())
    return {name: int(value, 16) for name, value in lines if name in ("SigIgn", "SigBlk")}
print(json.dumps({
    "seen": open("/proc/self/environ", encoding="latin-1").read(),
    "known": os.environ.get("MINE"),
    "handed": [name for name in os.environ if "HANDED" in name],
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "files": sys.getfilesystemencoding(),
    "output": sys.stdout.encoding,
    "words": sys.argv[1:],
    "open": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
    "hangup": is_ignored(signal.SIGHUP),
    "child": status(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout),
}))
"""


def begun(environment: Mapping[str, str], *words: bytes, how: str = "hidden", start: str = "exec") -> dict[str, object]:
    """What a program that has begun sees of itself; ``start`` is the beginning of the shell's command for it."""
    done = subprocess.run(
        ["bash", "-c", f'{start} "$@"', "bash", sys.executable, "-c", BEGUN, str(ROOT), how, *words],
        env=environment,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, object] = json.loads(done.stdout)
    return found


pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system has no /proc")


@pytest.mark.parametrize("more", [{}, PLAIN_C], ids=["as it is", "C"])
def test_the_environment_of_a_hidden_program_is_known_to_it_alone(more: Mapping[str, str]) -> None:
    found = begun(bare(MINE="hunter2", **more))
    assert "hunter2" not in str(found["seen"])
    assert "PATH=" in str(found["seen"])
    assert found["known"] == "hunter2"
    assert found["handed"] == []
    assert found["dumpable"] == 0
    assert found["open"] == [0, 1, 2]


@pytest.mark.parametrize("handed", ["", "17", "-1", "0", "x"])
def test_a_variable_of_that_name_that_nobody_handed_over_does_no_harm(handed: str) -> None:
    found = begun(bare(MINE="hunter2", BUILDTOOL_HANDED_ENVIRONMENT=handed), how="open")
    assert found["known"] == "hunter2"


@pytest.mark.parametrize("how", ["hidden", "open"])
def test_words_and_names_are_utf8_and_what_is_printed_as_the_terminal_has_it_in_the_c_locale(how: str) -> None:
    found = begun(bare(MINE="für", **PLAIN_C), "ü".encode(), how=how)
    assert (found["files"], found["words"], found["known"]) == ("utf-8", ["ü"], "für")
    assert "ascii" in str(found["output"]).replace("ansi_x3.4-1968", "ascii")


@pytest.mark.parametrize("how", ["hidden", "open"])
def test_words_that_are_typed_in_iso_8859_1_mean_the_same_and_files_keep_their_names(how: str, tmp_path: Path) -> None:
    there = os.fsencode(tmp_path) + b"/\xfc"
    Path(os.fsdecode(there)).touch()
    options = [b"--reason=f\xfcr", b"--config=" + there, "ü".encode()]
    found = begun(bare(PYTHONUTF8="0", **locale_at(tmp_path)), *options, how=how)
    assert found["files"] == "utf-8"
    assert found["output"] == "iso8859-1"
    assert found["words"] == ["--reason=für", f"--config={os.fsdecode(there)}", "ü"]


def test_a_locale_that_is_utf8_is_left_alone() -> None:
    found = begun(bare(LC_ALL="C.UTF-8"), how="open")
    assert (found["files"], found["output"]) == ("utf-8", "utf-8")


@pytest.mark.parametrize("how", ["hidden", "open"])
def test_no_child_ignores_or_blocks_what_the_parent_ignored(how: str) -> None:
    found = begun(bare(), how=how, start='trap "" HUP INT QUIT USR1 USR2 TTOU TTIN CHLD PIPE ALRM; exec')
    child = found["child"]
    assert isinstance(child, dict)
    assert (child["SigIgn"] & ~LIBRARYS_OWN, child["SigBlk"]) == (0, 0)
    assert found["hangup"] is True
    assert begun(bare(), how=how)["hangup"] is False


def test_no_child_blocks_what_the_parent_blocked() -> None:
    block = "import os,signal,sys; signal.pthread_sigmask(0, range(1, 32)); os.execv(sys.argv[1], sys.argv[1:])"
    child = begun(bare(), start=f"exec '{sys.executable}' -c '{block}'")["child"]
    assert isinstance(child, dict)
    assert child["SigBlk"] == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


INTERRUPTED = """
import signal, sys
from importlib.abc import MetaPathFinder
sys.path.insert(0, sys.argv[1])
from buildtool.programs.common.launch import startcompile
class Impatient(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "buildtool.requester.outcome":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Impatient())
sys.exit(startcompile())
"""


def test_ctrl_c_while_a_program_is_being_loaded_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(ROOT)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "startcompile.py: interrupted\n")


@pytest.mark.parametrize(("given", "kept"), [(0o777, 0o077), (0o277, 0o077), (0o000, 0o022), (0o027, 0o027)])
def test_no_umask_keeps_the_account_itself_from_what_it_makes(given: int, kept: int) -> None:
    program = "import os; from buildtool.programs.common.beginning import begin; begin(); print(os.umask(0))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, umask=given, check=True, capture_output=True, text=True
    )
    assert int(done.stdout) == kept


AGAIN = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from buildtool.programs.common.beginning import begin, is_ignored, start_again
begin(hidden=True)
import signal
if "AGAIN" not in os.environ:
    os.environ["AGAIN"] = str(os.getpid())
    os.environ["LATER"] = "known"
    print(start_again(["--join"]))
    sys.exit(1)
print(json.dumps({
    "words": sys.argv[2:], "same": os.environ["AGAIN"] == str(os.getpid()), "later": os.environ["LATER"],
    "seen": "known" in open("/proc/self/environ").read(), "hangup": is_ignored(signal.SIGHUP),
}))
"""


@pytest.mark.parametrize("ignored", [True, False])
def test_a_program_starts_again_as_it_was_started_but_for_some_options(ignored: bool) -> None:
    """Its process stays, what it learnt to be in its environment is hidden, and what was ignored is ignored again."""
    trap = 'trap "" HUP; exec' if ignored else "exec"
    words = ["--name", "x", "--join", "SECRET", "--join=SECRET", "-v", "--joined", "ü"]
    done = subprocess.run(
        ["bash", "-c", f'{trap} "$@"', "bash", sys.executable, "-c", AGAIN, str(ROOT), *words],
        env=bare(LC_ALL="C.UTF-8"), capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {
        "words": ["--name", "x", "-v", "--joined", "ü"], "same": True, "later": "known", "seen": False,
        "hangup": ignored,
    }  # fmt: skip
