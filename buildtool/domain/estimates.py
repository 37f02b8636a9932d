"""How long a Build takes, from earlier ones: medians by project, platform and server, the most alike first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from statistics import median

from attrs import define, field, frozen

from buildtool.domain.model import Artifact
from buildtool.domain.options import Canonical

KEPT = 20
"""How many earlier durations of one kind are remembered."""

KINDS_KEPT = 5_000
"""How many kinds are remembered; the longest unused are forgotten first."""

Kind = tuple[str, Canonical | None, str | None]


@frozen
class Estimate:
    """A duration in ``seconds``, and in words what it is based on."""

    seconds: float
    basis: str


@define
class Durations:
    """Earlier durations. They are learnt from what is committed and only ever lead to an estimate."""

    _kept: dict[Kind, tuple[float, ...]] = field(factory=dict, init=False)

    def learn(self, artifact: Artifact) -> None:
        """Remember how long an artifact took to make."""
        for kind in _kinds(artifact.shelf.project, artifact.platform, artifact.server):
            earlier = self._kept.pop(kind, ())
            self._kept[kind] = (*earlier, artifact.seconds)[-KEPT:]
        while len(self._kept) > KINDS_KEPT:
            del self._kept[next(iter(self._kept))]

    def expected(self, project: str, platform: Canonical, server: str) -> Estimate | None:
        """Return how long a build of ``project`` takes for ``platform`` on ``server``; None when nothing is known."""
        kinds = _kinds(project, platform, server)
        words = (f"for this platform on {server}", f"on {server}", "for this platform", "on any server")
        for kind, where in zip(kinds, words, strict=True):
            earlier = self._kept.get(kind)
            if earlier:
                count = f"{len(earlier)} earlier builds" if len(earlier) > 1 else "one earlier build"
                return Estimate(median(earlier), f"{count} of {project} {where}")
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
    return max(0.0, slots[0])


def duration_words(seconds: float) -> str:
    """Return a duration for people: ``40 s``, ``5 min``, ``3 h``."""
    minute, hour, day = 60, 3_600, 86_400
    if seconds < 2 * minute:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * hour:
        return f"{round(seconds / minute)} min"
    return f"{round(seconds / hour)} h" if seconds < 2 * day else f"{round(seconds / day)} days"


def _kinds(project: str, platform: Canonical, server: str) -> tuple[Kind, ...]:
    return (project, platform, server), (project, None, server), (project, platform, None), (project, None, None)
