"""Acts on what is in memory as it is in the database: one after the other, and read anew where the two may differ.

Tested by tests/metaserver/test_accounts.py, tests/metaserver/access/test_tokens.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from attrs import define, field
from twisted.internet.defer import DeferredLock


@define(eq=False)
class OneAct:
    """A turn that one act has at a time. ``anew`` reads what is in memory again from the database.

    ``in_doubt`` says that there was a commit of which it is not known whether it took effect.
    """

    anew: Callable[[], Awaitable[None]]
    in_doubt: bool = field(default=False, init=False)
    _lock: DeferredLock = field(factory=DeferredLock, init=False)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold off all other acts; after a commit in doubt, read anew first. Raises what ``anew`` does."""
        await self._lock.acquire()
        try:
            if self.in_doubt:
                await self.anew()
                self.in_doubt = False
            yield
        finally:
            self._lock.release()

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Return what a commit is made within: it is in doubt until it is over without an error."""
        self.in_doubt = True
        yield
        self.in_doubt = False
