"""The slots of build servers: which Attempts take them, and who has one free.

The test is tests/scheduling/test_order.py.
"""

from __future__ import annotations

from functools import partial

from buildtool.model.records import Attempt
from buildtool.scheduling.state.index import drop
from buildtool.scheduling.state.journal import Journal
from buildtool.scheduling.state.tables import AttemptKey, Tables


class ServerSlots:
    """The live Attempts of each server, and the servers that are ``free``: they would start a Build now.

    ``unkept`` has those Attempts of each server that are finished and wait for room to keep their artifacts. While
    ``holding``, no Build starts anywhere.
    """

    def __init__(self, tables: Tables, journal: Journal, *, holding: bool = False) -> None:
        self.attempts_of: dict[str, dict[AttemptKey, None]] = {}
        self.unkept: dict[str, dict[AttemptKey, None]] = {}
        self.free: dict[str, None] = {}
        self.holding = holding
        self._servers = tables.servers
        self._journal = journal

    def load_of(self, server: str) -> int:
        """Return how many slots of a server are taken, those that are still being aborted among them.

        What is finished there and finds no room here takes none, up to as many as there are slots.
        """
        held = len(self.attempts_of.get(server, ()))
        unkept = self.unkept.get(server)
        return held - min(len(unkept), self._servers[server].capability.max_builds) if unkept else held

    def occupy(self, attempt: Attempt) -> None:
        """Take a slot for an Attempt."""
        self.attempts_of.setdefault(attempt.server, {})[attempt.key] = None

    def vacate(self, attempt: Attempt) -> None:
        """Release the slot of an Attempt."""
        drop(self.attempts_of, attempt.server, attempt.key)

    def note(self, name: str) -> None:
        """Record whether a server has a free slot now."""
        server = self._servers.get(name)
        if (
            server is not None
            and server.takes
            and not self.holding
            and self.load_of(name) < server.capability.max_builds
        ):
            self.free[name] = None
        else:
            self.free.pop(name, None)

    def is_unkept(self, attempt: Attempt) -> bool:
        """Return whether the slot of an Attempt counts as free, since its artifact waits for room."""
        return attempt.key in self.unkept.get(attempt.server, ())

    def note_unkept(self, attempt: Attempt) -> None:
        """Count the slot of a live Attempt as free: it is finished, and waits for room to keep its artifact."""
        self._release(attempt)
        self._journal.add(partial(self._take_back, attempt))

    def forget_unkept(self, attempt: Attempt) -> None:
        """Count the slot of an Attempt as taken again, if it was counted as free."""
        if self.is_unkept(attempt):
            self._take_back(attempt)
            self._journal.add(partial(self._release, attempt))

    def _release(self, attempt: Attempt) -> None:
        self.unkept.setdefault(attempt.server, {})[attempt.key] = None
        self.note(attempt.server)

    def _take_back(self, attempt: Attempt) -> None:
        drop(self.unkept, attempt.server, attempt.key)
        self.note(attempt.server)

    def hold(self, *, held: bool) -> None:
        """Stop the start of Builds while ``held``, or allow it again."""
        before = self.holding
        self._hold(held=held)
        self._journal.add(partial(self._hold, held=before))

    def _hold(self, *, held: bool) -> None:
        self.holding = held
        for name in self._servers:
            self.note(name)
