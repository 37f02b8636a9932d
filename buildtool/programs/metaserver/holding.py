"""The metaserver looks whether the state directory is still its own, and ends where it is not."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.sql.database import MEND, Database
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import StorageUnavailable

log = Logger()

EVERY = 5.0
"""Seconds between two looks."""

PATIENCE = 60.0
"""Seconds for which files that are gone may come back: somebody moved them and moves them back, say."""


@define
class StateHold:
    """A check that the state directory is still ours: ``round_`` is what a ``PeriodicTask`` does.

    ``lost`` says why this metaserver ends, or is empty. ``notice`` is what the operator should know of how the
    directory was found.
    """

    database: Database
    timers: IReactorTime
    ask_stop: Callable[[str], None]
    notice: str = ""
    lost: str = field(default="", init=False)
    _damaged: bool = field(default=False, init=False)
    _said: str = field(default="", init=False)
    _since: float = field(default=0.0, init=False)

    def problems(self) -> tuple[str, ...]:
        """Return why nothing can be written any more, if that is so."""
        lost = self.database.lost
        gone = f"{self.database.name} {lost}; nothing is accepted any more" if lost else ""
        damage = self.database.damage
        damaged = f"{self.database.name} is damaged: {damage}{MEND}" if damage else ""
        return tuple(line for line in (gone, damaged, self.notice) if line)

    async def round_(self, _task: PeriodicTask) -> float:
        """Check the directory, and ask the program to stop if it stays away or another process took over.

        Returns the seconds until the next check.
        """
        if self.database.damage and not self._damaged:
            self._damaged = True
            log.error("{path} is damaged: {damage}", path=self.database.name, damage=f"{self.database.damage}{MEND}")
        try:
            await self.database.run(lambda _connection: None)
        except StorageUnavailable as error:
            if self.database.lost:
                self._is_lost(str(error))
        else:
            if self._said:
                log.warn("{path} is there again, and this metaserver goes on", path=self.database.name)
            self._said = ""
        return EVERY

    def _is_lost(self, words: str) -> None:
        now = self.timers.seconds()
        if words != self._said:
            if not self._said:
                self._since = now
            log.error("nothing is accepted any more: {words}", words=words)
            self._said = words
        if self.database.taken_over or now - self._since >= PATIENCE:
            self.lost = words
            self.ask_stop(f"it lost its state directory: {words}")
