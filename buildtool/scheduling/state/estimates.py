"""How long a Build takes, from earlier ones: medians by project, platform and server, the most alike first.

The test is tests/scheduling/test_explain.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from statistics import median

from attrs import define, field, frozen

from buildtool.model.options import Canonical
from buildtool.model.records import Artifact, ShelfKey

KEPT = 20
"""How many earlier durations of one kind are remembered."""

KINDS_KEPT = 5_000
"""How many kinds are remembered; the longest unused are forgotten first."""

Kind = tuple[str, str | None, Canonical | None, str | None]
"""Project, digest of the compile options, platform and server; None for any."""


@frozen
class Estimate:
    """A duration in ``seconds``, and in words what it is based on."""

    seconds: float
    basis: str


@define
class BuildDurations:
    """The earlier durations. They are learnt from what is committed and only ever lead to an estimate."""

    _kept: dict[Kind, tuple[float, ...]] = field(factory=dict, init=False)

    def learn(self, artifact: Artifact) -> None:
        """Remember how long an artifact took to make."""
        for kind in _kinds(artifact.shelf, artifact.platform, artifact.server):
            earlier = self._kept.pop(kind, ())
            self._kept[kind] = (*earlier, artifact.seconds)[-KEPT:]
        while len(self._kept) > KINDS_KEPT:
            del self._kept[next(iter(self._kept))]

    def expected(self, shelf: ShelfKey, platform: Canonical, server: str) -> Estimate | None:
        """Return how long a build for ``shelf`` takes for ``platform`` on ``server``; None when nothing is known."""
        for kind, where in zip(_kinds(shelf, platform, server), _WHERE, strict=True):
            earlier = self._kept.get(kind)
            if earlier:
                count = f"{len(earlier)} earlier builds" if len(earlier) > 1 else "one earlier build"
                return Estimate(median(earlier), f"{count} of {shelf.project} {where.format(server=server)}")
        return None


def starts_in(free_in: Iterable[float], ahead: int, each: float) -> float | None:
    """Return in how many seconds a Build starts that waits behind ``ahead`` others which take ``each`` seconds.

    ``free_in`` says for every slot that could take it in how many seconds it is free. None when there is no slot.
    """
    slots = list(free_in)
    if not slots:
        return None
    heapq.heapify(slots)
    for _ in range(ahead):
        heapq.heapreplace(slots, slots[0] + each)
    return slots[0]


_WHERE = (
    "with these options for this platform on {server}",
    "for this platform on {server}",
    "on {server}",
    "with these options for this platform",
    "for this platform",
    "on any server",
)
"""The words for each of the ``_kinds``."""


def _kinds(shelf: ShelfKey, platform: Canonical, server: str) -> tuple[Kind, ...]:
    """Return the kinds that a build is of, the most alike first."""
    project, options = shelf.project, shelf.options_digest
    return (
        (project, options, platform, server),
        (project, None, platform, server),
        (project, None, None, server),
        (project, options, platform, None),
        (project, None, platform, None),
        (project, None, None, None),
    )
