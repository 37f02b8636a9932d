"""Incarnations: the lives of a state directory, told apart where one may have been started from a copy of another.

Ids are given one after the other, so that after a restored backup those that were given since it was taken are given
again, to others. Each life has a random id, which is part of what is derived for the rows that were made in it: cancel
tokens, transfer tickets and Message-IDs (docs/adr/0015-incarnations.md). Which life a row is of follows from its id,
since a life begins with the ids that were free then.
"""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_right
from collections.abc import Sequence

from attrs import field, frozen

FIRST = ""
"""The life of the rows that were made before lives were told apart; what is derived for them is as it was then."""


@frozen
class Incarnation:
    """One life: its id, and the first Request and Build that are of it."""

    id: str = FIRST
    first_request: int = 1
    first_build: int = 1


def _checked(lives: Sequence[Incarnation]) -> tuple[Incarnation, ...]:
    if not lives:
        raise ValueError("a state directory has one life at least")
    return tuple(lives)


@frozen
class Incarnations:
    """All lives of a state directory, oldest first; what is older than the first is of the first."""

    lives: tuple[Incarnation, ...] = field(default=(Incarnation(),), converter=_checked)

    @property
    def current(self) -> str:
        """The life that rows are made in now."""
        return self.lives[-1].id

    def of_request(self, request_id: int) -> str:
        """Return the life that a Request was made in."""
        return self._of([one.first_request for one in self.lives], request_id)

    def of_build(self, build_id: int) -> str:
        """Return the life that a Build was made in."""
        return self._of([one.first_build for one in self.lives], build_id)

    def _of(self, firsts: list[int], number: int) -> str:
        return self.lives[max(0, bisect_right(firsts, number) - 1)].id


@frozen
class Keys:
    """The keys that sign for Requests and Builds, derived from one secret, others for each life."""

    secret: bytes = field(repr=False)
    incarnations: Incarnations = Incarnations()
    _made: dict[str, bytes] = field(factory=dict, init=False, repr=False, eq=False)

    def request(self, request_id: int) -> bytes:
        """Return the key of a Request's cancel token."""
        return self._key(self.incarnations.of_request(request_id))

    def build(self, build_id: int) -> bytes:
        """Return the key of the transfer tickets for a Build."""
        return self._key(self.incarnations.of_build(build_id))

    def codes(self, incarnation: str) -> bytes:
        """Return the key of the codes that were mailed in a life."""
        return self._key(incarnation)

    def _key(self, incarnation: str) -> bytes:
        if incarnation == FIRST:
            return self.secret
        key = self._made.get(incarnation)
        if key is None:
            key = hmac.new(self.secret, f"incarnation.{incarnation}".encode(), hashlib.sha256).digest()
            self._made[incarnation] = key
        return key

    def fingerprint(self) -> str:
        """Return what tells one secret from another and gives nothing of it away."""
        return hmac.new(self.secret, b"fingerprint", hashlib.sha256).hexdigest()[:16]


@frozen
class Whereabouts:
    """The system's view of where a state directory lies; a copy differs in at least one part of it.

    ``directory`` and ``database`` are inodes, ``machine`` the machine-id. ``sign`` is the inode of a file of the last
    start's and when that was last changed, which no copying into the same inodes keeps.
    """

    directory: str
    database: str
    machine: str
    sign: str


def copied_in(recorded: Whereabouts, found: Whereabouts) -> str:
    """Return in words what says that a directory may have been copied since it was ``recorded``, or ""."""
    differences = [
        words
        for words, before, now in (
            ("the machine", recorded.machine, found.machine),
            ("the directory's inode", recorded.directory, found.directory),
            ("the database's inode", recorded.database, found.database),
            ("the file incarnation", recorded.sign, found.sign),
        )
        if before != now
    ]
    return ", ".join(differences)
