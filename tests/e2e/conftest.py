"""A farm for each end-to-end test, stopped at its end; what its programs said is shown when the test fails."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.control import Control
from tests.support.packages import require


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """A farm with a mail server and a metaserver; build servers are the test's to start."""
    require("git", "git")
    require("gcc", "gcc")
    made = Control(tmp_path)
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
def running(control: Control) -> Control:
    """The same, with mail server and metaserver running."""
    control.farm.start_mail()
    control.farm.start_metaserver()
    return control
