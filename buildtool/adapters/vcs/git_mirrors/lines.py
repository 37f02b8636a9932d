"""First-parent lines of mirrored commits: what lies so many steps before and after one.

A commit's ancestors never change, so they are remembered; what comes after it is, until something is fetched. Both are
found out once for all who ask at the same time.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Sequence

from buildtool.adapters.vcs.git.command import GitCommand, need
from buildtool.adapters.vcs.git.ids import Unreadable
from buildtool.adapters.vcs.git_mirrors.mirror import Mirror
from buildtool.adapters.vcs.process import TimedOut
from buildtool.adapters.vcs.refs import REVRANGE_LIMIT, mask, nearest
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.concurrency.single_flight import SingleFlight
from buildtool.errors import UsageError
from buildtool.model.triggers.trigger import BRANCHES
from buildtool.model.trust.sources import TrustedRefs
from buildtool.ports.common import Executor

KEPT = 128
"""How many lines of each kind are remembered, each of at most 1,001 ids."""

LONG_KEPT = 4
"""How many lines are remembered that are longer than that, each of some 10,000 ids."""

WALK_LIMIT = 60.0
"""Seconds that looking for later commits may take."""


class FirstParentLines:
    """A reader of lines in mirrors. Every method raises Unreadable where the mirror cannot tell."""

    def __init__(self, command: GitCommand, pool: Executor) -> None:
        self._command = command
        self._pool = pool
        self._reading: SingleFlight[Sequence[str]] = SingleFlight()
        self._walking: SingleFlight[dict[str, int]] = SingleFlight()
        self._older: OrderedDict[tuple[str, str, int], Sequence[str]] = OrderedDict()
        self._long: OrderedDict[tuple[str, str, int], Sequence[str]] = OrderedDict()
        self._newer: OrderedDict[tuple[str, str, int, tuple[str, ...]], tuple[int, dict[str, int]]] = OrderedDict()
        self._moves: Counter[str] = Counter()

    def moves(self, mirror: Mirror) -> int:
        """Return how often something was fetched: what follows from refs holds while this stays."""
        return self._moves[mirror.url]

    def moved(self, mirror: Mirror) -> None:
        """Forget what comes after commits: something was fetched. May be called in any thread."""
        self._moves[mirror.url] += 1

    async def older(self, mirror: Mirror, commit: str, most: int = REVRANGE_LIMIT + 1) -> Sequence[str]:
        """Return ``commit`` and its first-parent ancestors, newest first, ``most`` at most.

        That is one more than a range accepts, unless it is said.
        """

        def read() -> Sequence[str]:
            arguments = ("rev-list", "--first-parent", f"--max-count={most}", "--end-of-options", commit)
            return tuple(need(self._command.run(arguments, git_dir=mirror.path), Unreadable).text.split())

        key, kept = (mirror.url, commit, most), self._older if most <= REVRANGE_LIMIT + 1 else self._long
        if key not in kept:
            found = await self._reading.share(" ".join(map(str, key)), lambda: self._pool.run(read))
            keep_newest(kept, key, found, KEPT if kept is self._older else LONG_KEPT)
        return kept[key]

    async def before(self, mirror: Mirror, commit: str, among: Collection[str]) -> frozenset[str]:
        """Return those of ``among`` that are ancestors of ``commit``; what is not in the mirror is not known to be."""

        def lies_before(one: str) -> bool:
            arguments = ("merge-base", "--is-ancestor", "--end-of-options", one, commit)
            return self._command.run(arguments, git_dir=mirror.path).code == 0

        def find() -> frozenset[str]:
            return frozenset(one for one in among if one != commit and lies_before(one))

        return await self._pool.run(find) if among else frozenset()

    async def near(self, mirror: Mirror, commit: str, steps: int, refs: TrustedRefs) -> tuple[str, ...]:
        """Return what lies at most ``steps`` before or after, nearest first, of two equally near the older first.

        What lies after it is on the way from a branch among ``refs``. Raises UsageError where that are too many.
        """
        older = (await self.older(mirror, commit))[: steps + 1]
        newer = await self._later(mirror, commit, steps, refs)
        return nearest(older, ((near, one) for one, near in newer.items() if near), steps)

    async def _later(self, mirror: Mirror, commit: str, steps: int, refs: TrustedRefs) -> dict[str, int]:
        """Return how many steps after ``commit`` each of those is that lie on the way to it from a branch."""
        key, moves = (mirror.url, commit, steps, refs.patterns), self._moves[mirror.url]
        kept = self._newer.get(key)
        if kept is not None and kept[0] == moves:
            return kept[1]
        words = " ".join(map(str, key))
        found = await self._walking.share(
            words, lambda: self._pool.run(lambda: self._walk(mirror, commit, steps, refs))
        )
        keep_newest(self._newer, key, (moves, found), KEPT)
        return found

    def _walk(self, mirror: Mirror, commit: str, steps: int, refs: TrustedRefs) -> dict[str, int]:
        distance = {commit: 0}

        def child(line: bytes) -> None:
            # Parents come before their children, so one pass finds every line that starts at the commit.
            ids = line.decode("ascii").split(" ")
            if len(ids) > 1 and distance.get(ids[1], steps) < steps and len(distance) <= REVRANGE_LIMIT:
                distance[ids[0]] = distance[ids[1]] + 1

        order = ("--first-parent", "--parents", "--reverse", "--topo-order")
        arguments = ("rev-list", *order, *_branches(refs), f"^{commit}")
        try:
            need(self._command.run(arguments, git_dir=mirror.path, on_line=child, limit=WALK_LIMIT), Unreadable)
        except TimedOut as error:
            raise UsageError(
                f"the later commits of {mask(mirror.url)} are too many to look for those near {commit[:12]}: "
                "name the range by its ends (A..B)"
            ) from error
        return distance


def _branches(refs: TrustedRefs) -> list[str]:
    """Return the words for git that name the branches among ``refs``.

    To git a pattern without * names what lies below it, so one letter becomes a set of itself.
    """
    below = [pattern.removeprefix("refs/") for pattern in refs.patterns if pattern.startswith(BRANCHES)]
    return [f"--glob=refs/[{pattern[0]}]{pattern[1:]}" for pattern in below]
