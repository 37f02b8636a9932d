"""Whoever has the older program is told what to type; whoever has the newer one is not."""

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.adapters.control.client import greet
from buildtool.adapters.control.gateway import Gateway
from buildtool.errors import BuildToolError, ProtocolMismatch, Unavailable
from buildtool.programs.common.ending import update_command, with_command
from tests.adapters.control.wires import Wires
from tests.fakes import FakeBuildServerService, FakeRequestService
from tests.programs.startcompile.test_connecting import outcome


def mismatch(version: int) -> BuildToolError:
    """Return what a program of another major version is told by a real metaserver."""
    clock = Clock()
    wires = Wires(clock)
    wires.server = Gateway(clock).factory(FakeRequestService().handlers, FakeBuildServerService().handlers)
    greeting = Deferred.fromCoroutine(greet(wires, "farm:1", "build server", clock, protocol=version))  # type: ignore[arg-type]
    told = outcome(greeting)
    wires.advance(1.0)
    error = getattr(told[0], "value", None)
    assert isinstance(error, BuildToolError)
    return error


@pytest.mark.parametrize(
    ("made", "command"),
    [
        (("setup.cfg", ".git/HEAD"), "git -C {0} pull && make -C {0} venv"),
        (("setup.cfg",), "put the newer release in its place, then make -C {0} venv"),
        ((), "python -m pip install --upgrade buildtool"),
    ],
)
def test_an_older_program_is_told_the_command_that_updates_it(
    tmp_path: Path, made: tuple[str, ...], command: str
) -> None:
    for name in made:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    told = with_command(mismatch(2), tmp_path)
    assert isinstance(told, ProtocolMismatch)
    assert str(told).endswith(f"update buildtool on the side that connects: {command.format(tmp_path)}")
    assert update_command(tmp_path) == command.format(tmp_path)


@pytest.mark.parametrize("error", [mismatch(4), Unavailable("update buildtool on the side that connects")])
def test_any_other_error_is_left_as_it_is(error: BuildToolError) -> None:
    assert with_command(error) is error
