"""What of a shelf is kept in memory: of each platform the newest artifact, and the failure remembered longest."""

from __future__ import annotations

from collections.abc import Sequence

from buildtool.domain.model import Artifact, FailedHere, Shelf

SHELF_MOST = 100
"""Of how many platforms artifacts, and failures, of one shelf are kept: the newest, and those remembered longest."""


def stocked(artifacts: Sequence[Artifact], failures: Sequence[FailedHere], *, more: bool = False) -> Shelf:
    """Return the shelf of artifacts, newest first, and failures. Of one platform, made in one way, one stands for all.

    Of failures that is the one remembered longest: a younger Build may have failed before an older one. ``more`` says
    that there is more in the database than is given.
    """
    if len(artifacts) <= 1 and len(failures) <= 1:  # as mostly
        return Shelf(tuple(artifacts), tuple(failures), more)
    newest: dict[object, Artifact] = {}
    failed: dict[object, FailedHere] = {}
    for artifact in artifacts:
        more |= newest.setdefault((artifact.platform, artifact.kind), artifact) is not artifact
    for failure in sorted(failures, key=remembered, reverse=True):
        more |= failed.setdefault((failure.platform, failure.kind), failure) is not failure
    more |= len(newest) > SHELF_MOST or len(failed) > SHELF_MOST
    return Shelf(tuple(newest.values())[:SHELF_MOST], tuple(failed.values())[:SHELF_MOST], more)


def remembered(failure: FailedHere) -> tuple[float, int]:
    """Return what failures of one shelf are ordered by: until when each is remembered."""
    return failure.until, failure.build_id
