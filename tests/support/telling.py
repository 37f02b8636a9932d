"""What stands in for the database of what people have ended."""

from collections.abc import Sequence

from attrs import define, field

from buildtool.model.telling.topics import Ended


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
