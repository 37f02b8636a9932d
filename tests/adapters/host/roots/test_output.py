"""What makes root file systems and tries them is heard whole, and nothing of it is left."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildtool.adapters.host.roots.output import output_of
from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.keeper_client import Keepers

pytestmark = pytest.mark.world


@pytest.fixture
def keepers() -> Iterator[Keepers]:
    made = Keepers(1)
    try:
        yield made
    finally:
        made.close()


def shell(script: str) -> CommandLine:
    return CommandLine(("sh", "-c", script), Path("/"), {"PATH": os.environ["PATH"]})


def test_all_that_is_said_comes_with_the_exit_code(keepers: Keepers) -> None:
    assert output_of(keepers.start, shell("echo out; echo err >&2; exit 3")) == (3, "out\nerr\n")


def test_what_outlives_the_command_is_killed_and_what_is_late_too(keepers: Keepers) -> None:
    assert output_of(keepers.start, shell("sleep 600 >/dev/null 2>&1 & echo begun")) == (0, "begun\n")
    assert output_of(keepers.start, shell("echo begun; sleep 600"), 0.05)[0] == -9
