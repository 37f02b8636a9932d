"""What a machine's owner wrote about it is read again at each login."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from attrs import define, evolve, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.errors import ConfigurationError
from buildtool.ports.common import Executor
from buildtool.programs.buildserver.capability import AnnouncedCapability
from buildtool.programs.buildserver.owner_file import INFO, MachineInfo, load_info

log = Logger()

PATIENCE = 3.0
"""Seconds that a login waits for the owner's words: where they lie may be a disk of another machine that is away."""


@define(eq=False)
class Introduction:
    """The words of a machine's owner below ``build_dir``, read by ``pool``; ``admin`` goes before their file."""

    _pool: Executor
    _clock: IReactorTime
    _build_dir: Path
    _admin: str
    _last: MachineInfo | None = None
    _reading: Lock = field(factory=Lock)

    async def of(self, found: AnnouncedCapability) -> AnnouncedCapability:
        """Return what is announced, with what the owner has written by now.

        What cannot be read, or not in time, stays as it was, and is logged.
        """
        try:
            self._last = await self._read()
        except ConfigurationError as error:
            log.warn("{why}; what was written about this machine before holds", why=str(error))
        info = self._last
        if info is None:
            return found
        return evolve(found, admin=self._admin or info.admin, about=info.host, access_uri=info.access_uri)

    async def _read(self) -> MachineInfo:
        """Return what is written. Raises ConfigurationError, also while an earlier call has not ended."""
        late = ConfigurationError(f"{self._build_dir / INFO}: is not read within {PATIENCE:g} s")
        if not self._reading.acquire(blocking=False):
            raise late
        try:
            return await Deferred.fromCoroutine(self._pool.run(self._load)).addTimeout(PATIENCE, self._clock)
        except defer.TimeoutError as error:
            raise late from error

    def _load(self) -> MachineInfo:
        try:
            return load_info(self._build_dir)
        finally:
            self._reading.release()
