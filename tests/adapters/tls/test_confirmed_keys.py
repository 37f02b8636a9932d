"""Whether the keys of a database are confirmed is said for one life of the metaserver, and never by half."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.tls.confirmed_keys import NAME, ConfirmedKeys
from tests.simulation.disk import Crashed, SimulatedDisk

PLACE = Path("state/tls")


def test_keys_are_confirmed_for_one_life_or_by_the_operator_for_the_next(tmp_path: Path) -> None:
    keys = ConfirmedKeys(tmp_path / "tls")
    assert (keys.life(), keys.pending()) == (None, "")
    keys.settle("")
    assert (keys.life(), keys.pending()) == ("", "")
    keys.confirm("ann (uid 7)")
    assert (keys.life(), keys.pending()) == (None, "ann (uid 7)")
    keys.settle("second")
    assert (keys.life(), keys.pending()) == ("second", "")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"life": 7}', '{"next": "yes", "by": "x"}', "\0\xff"])
def test_a_file_that_was_damaged_confirms_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text, encoding="latin-1")
    keys = ConfirmedKeys(tmp_path)
    assert (keys.life(), keys.pending()) == (None, "")


@given(st.integers(0, 9_999))
def test_whenever_the_machine_goes_down_it_says_what_it_said_before_or_after(seed: int) -> None:
    for step in range(20):
        disk = SimulatedDisk(random.Random(seed))  # noqa: S311 - a seed is to repeat what it draws
        disk.put(Path("state/lock"), b"")
        ConfirmedKeys(PLACE, disk).settle("first")
        disk.crash_at = disk.operations + step
        done = False
        with suppress(Crashed):
            ConfirmedKeys(PLACE, disk).settle("second")
            done = True
        disk.crash() if seed % 2 else disk.stop()
        assert ConfirmedKeys(PLACE, disk).life() in ({"second"} if done else {"first", "second"})
