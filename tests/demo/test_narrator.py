"""A demo that is interrupted, or killed, leaves no farm running."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.world

DEMO = """
import signal
import sys
from pathlib import Path
from buildtool.demo.local_farm import local_farm
from buildtool.demo.narrator import ROOT, demonstrate

for number in (signal.SIGINT, signal.SIGHUP):  # which are ignored where all of the tests run in the background
    signal.signal(number, signal.SIG_DFL)

def show(directory):
    with local_farm(directory, ROOT / "config.py") as farm:
        program = farm.start("asleep", ["-c", "import time; print('sleeps', flush=True); time.sleep(3_600)"])
        program.wait_for("sleeps")
        print(program.process.pid, flush=True)
        program.wait_for("never", 3_600.0)

sys.exit(demonstrate("demo", "A demo that has no end.", ROOT / "config.py", show))
"""


def begun(place: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a demo with one program; return it, and a descriptor of the program's, which is readable once it ended."""
    words = [sys.executable, "-c", DEMO, "--directory", str(place)]
    demo = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    return demo, os.pidfd_open(int(demo.stdout.readline()))


def end_of(program: int) -> None:
    with open(program, "rb", buffering=0) as stream:
        select.select([stream], [], [])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_a_demo_that_is_killed_takes_its_programs_with_it(tmp_path: Path) -> None:
    demo, program = begun(tmp_path)
    demo.kill()
    end_of(program)
    demo.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_interrupted_stops_its_programs_and_says_where_what_is_left_lies(
    number: signal.Signals, tmp_path: Path
) -> None:
    demo, program = begun(tmp_path)
    demo.send_signal(number)
    _, said = demo.communicate()
    end_of(program)
    assert (demo.returncode, said) == (130, f"\nInterrupted, and stopped. What there is lies in {tmp_path}\n")
