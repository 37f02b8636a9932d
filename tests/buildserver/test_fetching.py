"""Before a build: what a machine does not give is refused, so that another may, and the network ends in time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, field

from buildtool.buildserver.blame import Stopped
from buildtool.buildserver.fetching import check_allowed, network_of, put_downloads
from buildtool.model.records import AttemptEnd
from buildtool.project.fetching import Download
from buildtool.project.recipe import Command, Plan
from tests.support.inline import run

FETCHING = Plan(commands=[Command(["make"])], deliverables=["a"], fetch=[Command(["pip"])], network=["pypi.org"])
DECLARING = Plan(commands=[Command(["make"])], deliverables=["a"], downloads=[Download("https://x/y", "a" * 64, "y")])


@define
class Recorder:
    """Records what it is asked for, as downloads and as an enclosure with a network."""

    calls: list[str] = field(factory=list)
    environment: Mapping[str, str] = field(factory=dict)

    async def put(self, download: Download, tree: Path, note: object) -> int:
        self.calls.append(f"put {download.path}")
        return 0

    async def open_network(self, hosts: object, note: object) -> "Recorder":
        self.calls.append("open")
        return self

    async def close(self) -> tuple[int, int]:
        self.calls.append("close")
        return 7, 3


def test_a_project_whose_network_the_owner_does_not_allow_is_refused_with_the_option() -> None:
    with pytest.raises(Stopped, match=r"only with --allow-network lua.*speaks to pypi\.org") as refused:
        check_allowed("lua", FETCHING, None, frozenset({"other"}))
    assert refused.value.end is AttemptEnd.REFUSED
    check_allowed("lua", FETCHING, None, frozenset({"lua"}))
    with pytest.raises(Stopped, match="fetches no files"):
        check_allowed("lua", DECLARING, None, frozenset())


def test_the_network_is_closed_and_its_bytes_are_told_however_the_fetching_ends() -> None:
    recorder, moved = Recorder(), list[int]()

    async def fetching() -> None:
        async with network_of(FETCHING, cast(Any, recorder), print, lambda *some: moved.extend(some)):
            recorder.calls.append("fetch")
            raise LookupError("broken")

    with pytest.raises(LookupError):
        run(fetching())
    assert recorder.calls == ["open", "fetch", "close"]
    assert moved == [7, 3]


def test_a_build_that_is_stopped_fetches_no_further_file() -> None:
    recorder = Recorder()

    def check() -> None:
        raise Stopped(AttemptEnd.RETURNED, "the machine is returned")

    with pytest.raises(Stopped):
        run(put_downloads(DECLARING, Path("/tree"), cast(Any, recorder), print, check))
    assert not recorder.calls
