"""``BurntStore``: the metaserver's file, and what tests have in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.tls.burnt_file import NAME, BurntFile
from buildtool.model.access.burnt import Burnt
from buildtool.ports.metaserver import BurntStore
from tests.support.inline import run
from tests.support.memory import MemoryBurnt

ONE = Burnt("anna", "build server", "a" * 64, "", "it was sold", 1.0)
OTHER = Burnt("ben", "requester", "b" * 64, "c" * 64, "", 2.0)


def _file(directory: Path) -> BurntStore:
    return BurntFile(directory / "tls" / NAME, Inline())


def _memory(_directory: Path) -> BurntStore:
    return MemoryBurnt()


@pytest.mark.parametrize("make", [_file, _memory])
def test_all_that_was_added_is_read_in_its_order(make: Callable[[Path], BurntStore], tmp_path: Path) -> None:
    store = make(tmp_path)
    assert list(run(store.read())) == []
    run(store.append([ONE]))
    run(store.append([]))
    run(store.append([OTHER, ONE]))
    assert list(run(store.read())) == [ONE, OTHER, ONE]
