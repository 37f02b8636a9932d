"""What stands in for the database of triggers, and a repository whose refs tests move."""

from collections.abc import Mapping

from attrs import define, field

from buildtool.errors import RepositoryUnreachable, StorageUnavailable
from buildtool.model.triggers.looking import Memory
from buildtool.ports.triggers import TriggerKey


@define(eq=False)
class MemoryTriggers:
    """``ports.TriggerStore`` in memory; ``full`` refuses to write."""

    kept: dict[TriggerKey, Memory] = field(factory=dict)
    full: bool = False

    async def memories(self) -> Mapping[TriggerKey, Memory]:
        return dict(self.kept)

    async def remember(self, key: TriggerKey, memory: Memory) -> None:
        if self.full:
            raise StorageUnavailable("the disk is full")
        self.kept[key] = memory


@define(eq=False)
class Tips:
    """``ports.RefReader``: what tests say that there is; nothing where it is ``away``.

    What is ``vanishing`` is listed once more.
    """

    refs: dict[str, str] = field(factory=dict)
    vanishing: set[str] = field(factory=set)
    away: bool = False
    looks: int = 0

    async def tips(self, url: str) -> Mapping[str, str]:
        self.looks += 1
        if self.away:
            raise RepositoryUnreachable(f"cannot read {url}: it does not answer")
        found = dict(self.refs)
        for ref in self.vanishing:
            self.refs.pop(ref, None)
        self.vanishing = set()
        return found
