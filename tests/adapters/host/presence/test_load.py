"""The load of others: what the machine does less what this program and its descendants do."""

import subprocess
import sys
from pathlib import Path

from buildtool.adapters.host.presence.load import WINDOW, LoadSample, OthersLoad, parse_machine, parse_process


def test_what_waits_for_disks_or_does_nothing_is_no_load() -> None:
    assert parse_machine("cpu  1000 200 300 90000 5000 10 20 30 40 50\ncpu0 1 2", 100) == 15.6
    assert parse_machine("intr 5", 100) is None
    assert parse_machine("cpu 1 2 x 4 5 6", 100) is None


def test_a_process_used_what_it_and_its_ended_children_used_whatever_it_is_called() -> None:
    stat = "7 (a) b ( c)) R " + " ".join(str(number) for number in range(1, 30))
    assert parse_process(stat, 1) == 11 + 12 + 13 + 14


def test_others_use_what_is_left_when_our_own_builds_are_taken_off() -> None:
    load = OthersLoad(Path("/nowhere"))
    assert (load.told(), load.processors(0.0)) == (False, None)
    load.add(LoadSample(0.0, 100.0, 10.0))
    assert load.mean() is None

    load.add(LoadSample(10.0, 130.0, 30.0))
    assert load.mean() == 1.0
    load.add(LoadSample(10.0 + WINDOW, 130.0 + WINDOW, 30.0 + WINDOW))
    assert load.mean() == 0.0, "what was used before the window counts no more"


def test_the_work_of_a_descendant_is_our_own() -> None:
    load = OthersLoad()
    before = load._ours()
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-S", "-c", burn], check=True)
    assert load._ours() - before >= 0.25
