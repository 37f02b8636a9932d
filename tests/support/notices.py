"""What stands in for the outbox of notices, and notices as tests want them."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from buildtool.errors import StorageUnavailable
from buildtool.model.notices.notice import Notice, NoticeState
from buildtool.ports.notices import OutgoingNotice, TargetFigures

SHA = "0123456789abcdef0123456789abcdef01234567"


def notice(context: str = "buildtool/linux-ppc", state: str = "waiting", **more: Any) -> Notice:
    """Return a notice of a commit, as a test wants it."""
    key = f"{SHA} {context}"
    made = Notice("lua/forge", key, "lua", SHA, "refs/heads/main", context, 1, 7, NoticeState(state), "said", 100.0)
    return evolve(made, **more)


@define
class KeptNotice:
    """A row of the outbox."""

    notice: Notice
    next_try: float
    serial: int = 1
    told: int = 0
    before: NoticeState | None = None
    told_at: float | None = None
    tries: int = 0
    refused_at: float | None = None
    error: str = ""

    @property
    def waits(self) -> bool:
        return self.told < self.serial and self.refused_at is None


@define(eq=False)
class MemoryNotices:
    """``ports.NoticeStore`` in memory; while it is ``full`` nothing can be read or written."""

    kept: dict[tuple[str, str], KeptNotice] = field(factory=dict)
    full: bool = False

    async def post(self, *notices: Notice) -> None:
        """Write notices, as the commit of what they tell of does."""
        for one in notices:
            there = self.kept.get((one.target, one.key))
            if there is None:
                self.kept[one.target, one.key] = KeptNotice(one, one.at)
            elif self._is_newer(one, there.notice):
                told = there.told, there.before, there.told_at
                self.kept[one.target, one.key] = KeptNotice(one, one.at, there.serial + 1, *told)

    @staticmethod
    def _is_newer(one: Notice, there: Notice) -> bool:
        same = (one.request_id, one.state, one.reason) == (there.request_id, there.state, there.reason)
        return one.request_id >= there.request_id and not same

    async def due(self, target: str, now: float, latest: float, limit: int) -> Sequence[OutgoingNotice]:
        self._look()
        found = [
            one
            for (of, _), one in self.kept.items()
            if of == target and one.waits and (one.next_try <= now or one.next_try > latest)
        ]
        found.sort(key=lambda one: (one.notice.at, one.notice.key))
        return [OutgoingNotice(one.notice, one.serial, one.tries, one.before) for one in found[:limit]]

    async def next_due(self, target: str) -> float | None:
        self._look()
        return min((one.next_try for (of, _), one in self.kept.items() if of == target and one.waits), default=None)

    async def told(self, outgoing: OutgoingNotice, now: float) -> None:
        row = self._row(outgoing)
        if row.told < outgoing.serial:
            row.told, row.before, row.told_at = outgoing.serial, outgoing.notice.state, now
        if row.serial == outgoing.serial:
            row.tries, row.error = 0, ""

    async def deferred(self, outgoing: OutgoingNotice, next_try: float, reason: str) -> None:
        row = self._row(outgoing)
        if row.serial == outgoing.serial:
            row.tries, row.next_try, row.error = row.tries + 1, next_try, reason

    async def given_up(self, outgoing: OutgoingNotice, now: float, reason: str) -> None:
        row = self._row(outgoing)
        if row.serial == outgoing.serial:
            row.tries, row.refused_at, row.error = row.tries + 1, now, reason

    async def figures(self) -> Mapping[str, TargetFigures]:
        self._look()
        return {
            target: self._of([one for (of, _), one in self.kept.items() if of == target]) for target, _ in self.kept
        }

    @staticmethod
    def _of(rows: Sequence[KeptNotice]) -> TargetFigures:
        waits = [one.notice.at for one in rows if one.waits]
        errors = sorted((one.notice.at, one.error) for one in rows if one.error)
        return TargetFigures(
            len(waits),
            min(waits, default=None),
            sum(one.refused_at is not None for one in rows),
            max((one.told_at for one in rows if one.told_at is not None), default=None),
            errors[-1][1] if errors else "",
        )

    async def tidy(self, before: float, limit: int) -> int:
        self._look()
        old = [
            key
            for key, one in self.kept.items()
            if one.notice.at < before and (one.told_at is None or one.told_at < before)
        ][:limit]
        for key in old:
            del self.kept[key]
        return len(old)

    def _row(self, outgoing: OutgoingNotice) -> KeptNotice:
        self._look()
        return self.kept[outgoing.notice.target, outgoing.notice.key]

    def _look(self) -> None:
        if self.full:
            raise StorageUnavailable("the disk is full")
