"""Shelves: the finished work of one kind, of which one stands for all that are alike.

The test is tests/scheduling/state/test_hits.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from buildtool.model.records import Artifact, RememberedFailure

SHELF_MOST = 100
"""Of how many platforms artifacts, and failures, of one shelf are kept: the newest, and those remembered longest."""


@frozen
class Shelf:
    """The finished work of one ShelfKey: of each platform the newest artifact, and the failure remembered longest.

    What is known of more, and what of less, stand beside each other: the newest may not do for every demand.

    ``more`` says that the database has others, which come to the front when these are withdrawn.
    """

    artifacts: tuple[Artifact, ...] = ()
    failures: tuple[RememberedFailure, ...] = ()
    more: bool = False


def stocked(artifacts: Sequence[Artifact], failures: Sequence[RememberedFailure], *, more: bool = False) -> Shelf:
    """Return the shelf of artifacts, newest first, and failures. Of one platform, made in one way, one stands for all.

    Another way is also one of which more, or less, is known, and files that need more, or less.

    Of failures that is the one remembered longest: a younger Build may have failed before an older one. ``more`` says
    that there is more in the database than is given.
    """
    if len(artifacts) <= 1 and len(failures) <= 1:  # as mostly
        return Shelf(tuple(artifacts), tuple(failures), more)
    newest: dict[object, Artifact] = {}
    failed: dict[object, RememberedFailure] = {}
    for artifact in artifacts:
        more |= newest.setdefault(_way_of(artifact), artifact) is not artifact
    for failure in sorted(failures, key=remembered, reverse=True):
        more |= failed.setdefault(_way_of(failure), failure) is not failure
    more |= len(newest) > SHELF_MOST or len(failed) > SHELF_MOST
    return Shelf(tuple(newest.values())[:SHELF_MOST], tuple(failed.values())[:SHELF_MOST], more)


def _way_of(made: Artifact | RememberedFailure) -> tuple[object, ...]:
    return made.platform, made.kind, made.evidence, made.need if isinstance(made, Artifact) else ()


def remembered(failure: RememberedFailure) -> tuple[float, int]:
    """Return what failures of one shelf are ordered by: until when each is remembered."""
    return failure.until, failure.build_id
