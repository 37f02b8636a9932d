"""What a farm answers, as who asked can reach it: logs and artifacts at the one address that was asked."""

from __future__ import annotations

from typing import TypeVar

from attrs import evolve, frozen

from buildtool.client.farm_urls import FarmUrl
from buildtool.protocol.api.answers import BuildList, BuildReport, BuildSummary
from buildtool.protocol.messages import Explanation, FoundArtifact, RequestStatus, RequestStatuses

T = TypeVar("T")


@frozen
class LogPart:
    """A part of a log, and whether nothing comes after what there is now."""

    data: bytes
    finished: bool


def reachable(told: T, url: FarmUrl) -> T:  # noqa: PLR0911 - a line for each kind of answer
    """Return what a farm answered with its logs and artifacts at addresses of the API at ``url``."""
    match told:
        case RequestStatus():
            there = url.log_at(told.log_url)
            return evolve(told, log_url=there, artifact=_fetched_at(told.artifact, url))
        case RequestStatuses():
            return evolve(told, items=tuple(reachable(one, url) for one in told.items))
        case Explanation():
            found, near = _fetched_at(told.artifact, url), _fetched_at(told.nearest_artifact, url)
            return evolve(told, artifact=found, nearest_artifact=near)
        case BuildSummary():
            made = told.artifact
            return evolve(told, artifact=made and evolve(made, url=url.artifact(made.digest)))
        case BuildList():
            return evolve(told, builds=tuple(reachable(one, url) for one in told.builds))
        case BuildReport():
            return evolve(told, build=reachable(told.build, url))
        case _:
            return told


def _fetched_at(found: FoundArtifact | None, url: FarmUrl) -> FoundArtifact | None:
    return found and evolve(found, url=url.artifact(found.digest))
