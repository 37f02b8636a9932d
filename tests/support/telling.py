"""What stands in for the database of what people have ended, and of what they watch."""

from collections.abc import Sequence

from attrs import define, evolve, field

from buildtool.errors import StorageUnavailable
from buildtool.model.records import Mail
from buildtool.model.telling.topics import Ended
from buildtool.model.telling.watch import BranchWatch


@define(eq=False)
class MemorySubscriptions:
    """``ports.SubscriptionStore`` in memory."""

    kept: dict[tuple[str, str], float] = field(factory=dict)

    async def ended(self) -> Ended:
        return dict(self.kept)

    async def end(self, email: str, topics: Sequence[str], now: float) -> None:
        self.kept.update({(email, topic): now for topic in topics})

    async def resume(self, email: str, topics: Sequence[str]) -> None:
        for topic in topics:
            self.kept.pop((email, topic), None)


@define(eq=False)
class MemoryWatches:
    """``ports.WatchStore`` in memory: ``mails`` has what was told, by its key, and when it is due."""

    kept: dict[int, BranchWatch] = field(factory=dict)
    mails: dict[str, tuple[Mail, float | None]] = field(factory=dict)
    full: bool = False

    async def watches(self) -> Sequence[BranchWatch]:
        return list(self.kept.values())

    async def add(self, watch: BranchWatch) -> BranchWatch:
        named = evolve(watch, id=max(watch.id, max(self.kept, default=0) + 1))
        self.kept[named.id] = named
        return named

    async def keep(self, watch: BranchWatch) -> None:
        self._check()
        if watch.id in self.kept:
            self.kept[watch.id] = watch

    async def tell(self, watch: BranchWatch, mail: Mail, due: float | None) -> None:
        await self.keep(watch)
        self.mails.setdefault(mail.key, (mail, due))

    async def end(self, watch_id: int) -> None:
        self.kept.pop(watch_id, None)

    def _check(self) -> None:
        if self.full:
            raise StorageUnavailable("the disk is full")
