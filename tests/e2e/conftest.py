"""A farm for each end-to-end test, stopped at its end; what its programs said is shown when the test fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.control import Control
from tests.support.packages import require


@contextmanager
def farm(directory: Path) -> Iterator[Control]:
    """Make a farm, stop it at the end, and look at what its programs said."""
    require("git", "git")
    require("gcc", "gcc")
    made = Control(directory)
    programs = made.farm.programs
    try:
        yield made
    finally:
        said = [f"--- {program.name}\n" + "\n".join(program.lines) for program in programs]
        made.farm.stop()
        print("\n".join(said), file=sys.stderr)
        for program in programs:
            assert not any("Traceback" in line or "a defect of" in line for line in program.lines), program.lines


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """A farm none of whose programs is started."""
    with farm(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """One with a metaserver, for all tests of a module that leave nothing behind at it: a start takes two seconds."""
    with farm(tmp_path_factory.mktemp("standing")) as made:
        made.farm.start_metaserver()
        yield made


@pytest.fixture
def running(control: Control) -> Control:
    """The same, with mail server and metaserver running."""
    control.farm.start_mail()
    control.farm.start_metaserver()
    return control
