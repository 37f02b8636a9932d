"""The quick lane fails whatever starts, opens or waits, also where the code that did so was silent about it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.world

BREACHES = """
import subprocess, socket, threading, time
import pytest
from twisted.internet import reactor

def test_starts_a_process(): subprocess.run(["true"])

def test_opens_a_socket(): socket.socket().close()

def test_sleeps(): time.sleep(0)

def test_waits_for_the_reactor(): reactor.run()

def test_sleeps_and_says_nothing():
    try: time.sleep(0)
    except BaseException: pass

@pytest.mark.filterwarnings("ignore")
def test_sleeps_in_a_thread():
    thread = threading.Thread(target=lambda: time.sleep(0))
    thread.start()
    thread.join()

def test_innocent(): pass
"""

SUITE = """
import pytest
from hypothesis import given, settings, strategies as st
from twisted.internet import reactor

def test_plain(): pass

@pytest.mark.long
def test_long(): pass

@pytest.mark.world
def test_world(): import time; time.sleep(0)

@given(st.integers())
def test_property(number):
    assert settings().max_examples == %(examples)d
"""


def run(tmp_path: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one file of tests as one of the quick lane's."""
    folder = tmp_path / "tests" / "model"
    folder.mkdir(parents=True)
    (folder / "test_one.py").write_text(text)
    (tmp_path / "tests" / "test_elsewhere.py").write_text("def test_elsewhere(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "tests.support.lanes", "-p", "no:cacheprovider", "-ra"]
    return subprocess.run(
        [*command, "--rootdir", str(tmp_path), *words, "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_whatever_touches_the_world_fails_and_is_told_what_it_did(tmp_path: Path) -> None:
    done = run(tmp_path, BREACHES, "--lane", "quick")
    for what in ("starts a process", "opens a socket", "sleeps", "waits for the reactor"):
        assert f"this test {what}: mark it `pytest.mark.world`" in done.stdout
    fallen = {line.split("::")[1].split()[0] for line in done.stdout.splitlines() if line[:5] in {"FAILE", "ERROR"}}
    assert fallen == set(re.findall(r"def (test_\w+)", BREACHES)) - {"test_innocent"}


@pytest.mark.parametrize(
    ("lane", "examples", "ran"),
    [
        ("quick", 25, {"test_plain", "test_property"}),
        ("test", 100, {"test_plain", "test_property", "test_world", "test_elsewhere"}),
        ("long", 300, {"test_long", "test_property"}),
        ("", 100, {"test_plain", "test_property", "test_world", "test_elsewhere", "test_long"}),
    ],
)
def test_a_lane_runs_what_is_its_own(tmp_path: Path, lane: str, examples: int, ran: set[str]) -> None:
    words = ["--lane", lane] if lane else []
    done = run(tmp_path, SUITE % {"examples": examples}, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line.split("::")[1].split()[0] for line in done.stdout.splitlines() if " PASSED" in line} == ran


def test_a_seed_gives_one_order_and_another_seed_another(tmp_path: Path) -> None:
    text = "".join(f"def test_{number}(): pass\n" for number in range(50))
    orders = [
        re.findall(r"::(test_\w+) PASSED", run(tmp_path / str(number), text, "--shuffle", seed).stdout)
        for number, seed in enumerate(("1", "1", "2"))
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
    assert len(orders[0]) == 51


GROUP = """
import os
import pytest

pytestmark = pytest.mark.xdist_group("one")

@pytest.mark.parametrize("number", range(12))
def test_one_of_a_group(number):
    with open(os.environ["WORKERS"], "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_the_tests_of_a_group_run_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds to make is made once; a pytest that pytest-xdist does not fit ran them anywhere."""
    monkeypatch.setenv("WORKERS", str(tmp_path / "workers"))
    done = run(tmp_path, GROUP, "-n", "2", "--dist", "loadgroup")
    assert done.returncode == 0, done.stdout
    workers = (tmp_path / "workers").read_text().split()
    assert len(workers) == 12
    assert len(set(workers)) == 1
