"""What revisions are about, read where they were resolved and written beside their builds: at leisure, and bounded.

Nobody waits for it. What is too much at once is left out, and looked up when somebody asks for that revision again.
What could not be read or written is, too, once a while has passed, which is longer each time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.concurrency.asker import INTERNAL, working_for
from buildtool.concurrency.backoff import Backoff
from buildtool.concurrency.bounded_cache import BoundedCache, weight
from buildtool.errors import BuildToolError
from buildtool.model.records import BuildSpec
from buildtool.model.search.commits import CommitNote, RevisionKey
from buildtool.ports.metaserver import CommitReader, CommitStore

WAITING_LIMIT = 1_000
"""Most revisions that wait to be looked up."""

AT_ONCE = 50
"""Most that are written in one transaction."""

KNOWN_BYTES = 1024 * 1024
"""In how many bytes it is remembered which revisions need no look."""

AGAIN = Backoff(60.0, 6 * 3_600.0)
"""After how many seconds what failed is looked up again, if somebody asks for that revision then."""

log = Logger()


@frozen
class _Looked:
    """What came of looking a revision up: it is not done again before ``again``; it failed ``failed`` times so far."""

    again: float = math.inf
    failed: int = 0


_NEVER = _Looked(-math.inf)


@define(eq=False)
class CommitNotes:
    """A keeper of what revisions are about; ``timers`` say what time it is."""

    reader: CommitReader
    store: CommitStore
    timers: IReactorTime
    _waiting: dict[RevisionKey, str] = field(factory=dict)
    _known: BoundedCache[RevisionKey, _Looked] = field(factory=lambda: BoundedCache(KNOWN_BYTES))
    _busy: bool = False
    _work_done: Deferred[None] = field(factory=lambda: succeed(None))

    def notice(self, spec: BuildSpec, url: str) -> None:
        """Start to find out what the revision of a build is about, in the mirror of ``url``, if that is not known."""
        key = RevisionKey(spec.project, spec.source, spec.revision)
        looked = self._known.get(key) or _NEVER
        if len(self._waiting) >= WAITING_LIMIT or self.timers.seconds() < looked.again:
            return
        self._remember(key, _Looked(failed=looked.failed))
        self._waiting[key] = url
        if not self._busy:
            self._busy = True
            with working_for(INTERNAL):  # whoever asked may be gone before it is done
                self._work_done = Deferred.fromCoroutine(self._work()).addErrback(_told)

    async def stop(self) -> None:
        """Stop looking anything up."""
        self._waiting.clear()
        self._work_done.cancel()
        await self._work_done

    async def _work(self) -> None:
        try:
            while self._waiting:
                some = {key: self._waiting.pop(key) for key in list(self._waiting)[:AT_ONCE]}
                try:
                    await self._look_up(some)
                except BuildToolError as error:
                    log.warn("what {count} revisions are about is not written: {why}", count=len(some), why=error)
                    self._failed(some)
        finally:
            self._busy = False

    async def _look_up(self, wanted: dict[RevisionKey, str]) -> None:
        unknown: Sequence[RevisionKey] = await self.store.unknown(list(wanted))
        found: dict[RevisionKey, CommitNote] = {}
        for key in unknown:
            try:
                note = await self.reader.about(wanted[key], key.revision)
            except BuildToolError as error:
                log.info("what {commit} is about is not known: {why}", commit=key.revision, why=error)
                self._failed([key])
                continue
            if note is not None:
                found[key] = note
        await self.store.keep(found)

    def _failed(self, keys: Iterable[RevisionKey]) -> None:
        now = self.timers.seconds()
        for key in keys:
            failed = (self._known.get(key) or _NEVER).failed
            self._remember(key, _Looked(now + AGAIN.delay(failed), failed + 1))

    def _remember(self, key: RevisionKey, looked: _Looked) -> None:
        self._known.put(key, looked, weight(key))


def _told(failure: Failure) -> None:
    """Log what went wrong, unless it was ended."""
    if not failure.check(CancelledError):
        log.failure("looking up what revisions are about failed", failure)
