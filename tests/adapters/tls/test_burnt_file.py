"""The file of what is burnt: nothing that was kept is lost, and a line that a crash tore hides no other."""

from __future__ import annotations

import random
import stat
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.tls.burnt_file import BurntFile, add_burnt, read_file
from buildtool.model.access.burnt import Burnt
from tests.simulation.disk import Crashed, SimulatedDisk
from tests.support.inline import run

PATH = Path("state/tls/revoked.jsonl")


def burnt(number: int) -> Burnt:
    return Burnt(f"anna{number}", "build server", f"{number}" * 64, "", "it was sold", float(number))


def test_only_its_owner_reads_it_and_all_of_it_is_read_back(tmp_path: Path) -> None:
    file = BurntFile(tmp_path / "tls" / "revoked.jsonl", Inline())
    assert run(file.read()) == []
    run(file.append([burnt(1), burnt(2)]))
    run(file.append([burnt(3)]))
    assert run(file.read()) == [burnt(1), burnt(2), burnt(3)]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_what_is_not_understood_hides_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "revoked.jsonl"
    run(BurntFile(path, Inline()).append([burnt(1)]))
    with path.open("ab") as file:
        file.write(b'{"name": "cut off')
    run(BurntFile(path, Inline()).append([burnt(2)]))
    assert run(BurntFile(path, Inline()).read()) == [burnt(1), burnt(2)]


@given(st.integers(0, 9_999))
def test_whenever_the_machine_goes_down_all_that_was_kept_before_is_there(seed: int) -> None:
    for step in range(30):
        disk = SimulatedDisk(random.Random(seed))  # noqa: S311 - a seed is to repeat what it draws
        disk.put(Path("state/lock"), b"")
        disk.crash_at = step
        kept = []
        with suppress(Crashed):
            for number in range(1, 4):
                add_burnt(PATH, [burnt(number)], disk)
                kept.append(burnt(number))
        disk.crash() if seed % 2 else disk.stop()
        add_burnt(PATH, [burnt(9)], disk)
        found = read_file(PATH, disk)
        assert found[: len(kept)] == kept
        assert found[-1] == burnt(9)
        assert set(found) <= {burnt(1), burnt(2), burnt(3), burnt(9)}
