"""The account of a slot's builds, on machines with all numbers and in containers with few."""

from pathlib import Path

import pytest

from buildtool.adapters.processes.sandbox.proving import _PROOF_SLOT
from buildtool.adapters.processes.sandbox.sandboxes import FIRST_ACCOUNT, account

ALL, CONTAINER = "0 0 4294967295", "0 100000 65536"
GIVEN_OUT = range(61_184, 65_536)
"""Numbers that systemd gives out to services for a while, and that of nobody."""


def of(tmp_path: Path, said: str, slot: int) -> int:
    (tmp_path / "uid_map").write_text(f"  {said}\n")
    return account(slot, tmp_path / "uid_map")


@pytest.mark.parametrize("slot", [0, 1, _PROOF_SLOT])
def test_each_slot_and_the_proof_have_an_account_of_their_own_that_nobody_else_has(slot: int, tmp_path: Path) -> None:
    assert of(tmp_path, ALL, slot) == FIRST_ACCOUNT + slot
    low = of(tmp_path, CONTAINER, slot)
    assert low < 65_536
    assert low not in GIVEN_OUT
    assert low - of(tmp_path, CONTAINER, 0) == slot


def test_who_has_no_number_for_builds_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no account 60600"):
        of(tmp_path, "0 1000 1", 0)
