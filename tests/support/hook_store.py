"""What stands in for the database of deliveries."""

from collections.abc import Mapping

from attrs import define, field

from buildtool.errors import StorageUnavailable
from buildtool.model.hooks.delivery import KEPT, HookDelivery


@define(eq=False)
class MemoryHooks:
    """``ports.HookStore`` in memory; ``full`` refuses to write."""

    kept: int = KEPT
    rows: dict[int, HookDelivery] = field(factory=dict)
    opened: set[int] = field(factory=set)
    full: bool = False
    _last: int = 0

    async def take(self, delivery: HookDelivery) -> int:
        self._check()
        if any((one.project, one.mark) == (delivery.project, delivery.mark) for one in self.rows.values()):
            return 0
        self._last += 1
        self.rows[self._last] = delivery
        self.opened.add(self._last)
        for old in [number for number, one in self.rows.items() if one.project == delivery.project][: -self.kept]:
            del self.rows[old]
            self.opened.discard(old)
        return self._last

    async def open(self) -> Mapping[str, int]:
        return {self.rows[number].project: number for number in sorted(self.opened)}

    async def looked(self, project: str, number: int) -> None:
        self._check()
        self.opened -= {one for one in self.opened if one <= number and self.rows[one].project == project}

    async def newest(self) -> Mapping[str, HookDelivery]:
        return {one.project: one for one in self.rows.values()}

    def _check(self) -> None:
        if self.full:
            raise StorageUnavailable("the disk is full")
