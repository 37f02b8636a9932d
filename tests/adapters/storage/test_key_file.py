"""The ticket key is made once, whatever comes between, and nobody but its owner reads it."""

import random
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.storage.key_file import load_key
from buildtool.errors import EmptySecret, StorageUnavailable
from tests.simulation.disk import Crashed, SimulatedDisk


def test_a_key_is_made_once_and_is_only_for_its_owner(tmp_path: Path) -> None:
    key = load_key(tmp_path / "state" / "key")
    assert len(key) == 32
    assert key == load_key(tmp_path / "state" / "key")
    assert stat.S_IMODE((tmp_path / "state" / "key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["key"]
    assert key != load_key(tmp_path / "other" / "key")


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_key_that_is_empty_or_of_another_length_is_refused_by_name_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(EmptySecret, match=str(path)):
        load_key(path)
    assert path.read_bytes() == content


def test_a_key_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(StorageUnavailable, match="key"):
        load_key(tmp_path / "key")


def test_a_link_to_the_key_is_followed(tmp_path: Path) -> None:
    key = load_key(tmp_path / "secrets" / "key")
    (tmp_path / "key").symlink_to(tmp_path / "secrets" / "key")
    assert load_key(tmp_path / "key") == key


@given(st.integers(0, 9999))
def test_whenever_the_machine_goes_down_a_start_finds_the_key_that_was_given_out_and_nothing_half_made(
    seed: int,
) -> None:
    for step in range(25):
        disk = SimulatedDisk(random.Random(seed))  # noqa: S311 - a seed is to repeat what it draws
        disk.put(Path("state/lock"), b"")
        disk.crash_at = step
        given_out = None
        with suppress(Crashed):
            given_out = load_key(Path("state/key"), disk)
        disk.crash() if seed % 2 else disk.stop()
        key = load_key(Path("state/key"), disk)
        assert given_out in {None, key}
        disk.crash()
        assert load_key(Path("state/key"), disk) == key
        assert sorted(disk.names(Path("state"))) == ["key", "lock"]
