"""What of a shelf is kept in memory: of each platform the newest, since that is what is ever given out."""

from __future__ import annotations

from collections.abc import Iterable

from buildtool.domain.model import Artifact, FailedHere, Shelf

SHELF_MOST = 100
"""Of how many platforms artifacts, and failures, of one shelf are kept: those with the newest."""


def stocked(artifacts: Iterable[Artifact], failures: Iterable[FailedHere], *, more: bool = False) -> Shelf:
    """Return the shelf of what is given newest first. Of one platform, made in one way, the newest stands for all.

    ``more`` says that there is more in the database than is given.
    """
    newest: dict[object, Artifact] = {}
    failed: dict[object, FailedHere] = {}
    for artifact in artifacts:
        more |= newest.setdefault((artifact.platform, artifact.kind), artifact) is not artifact
    for failure in failures:
        more |= failed.setdefault((failure.platform, failure.kind), failure) is not failure
    more |= len(newest) > SHELF_MOST or len(failed) > SHELF_MOST
    return Shelf(tuple(newest.values())[:SHELF_MOST], tuple(failed.values())[:SHELF_MOST], more)
