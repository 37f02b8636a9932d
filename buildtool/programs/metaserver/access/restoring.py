"""What the operator settles after a state directory was put back or copied: which of its keys are believed.

Tested by tests/programs/metaserver/access/test_restoring.py and tests/e2e/test_restore.py.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from attrs import define, field, frozen

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.adapters.storage.filesystem import Disk, RealDisk, storage_unavailable
from buildtool.adapters.tls import burnt_file
from buildtool.adapters.tls.authority import KEYS, authority_files, decrypt_authorities, encrypted_authorities
from buildtool.adapters.tls.burnt_file import add_burnt, read_file
from buildtool.adapters.tls.confirmed_keys import ConfirmedKeys
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.burnt import Burnt, reapplied
from buildtool.model.access.enrolment import Book
from buildtool.model.access.identities import KeyState
from buildtool.model.text import moment_words
from buildtool.programs.common.output import called

_NAMED = 5
"""Of how many lines that are not understood the numbers are printed."""


@frozen
class BelievedKey:
    """A key that will be believed: ``since`` is when it was first used, in seconds of wall time."""

    name: str
    role: str
    key: str
    since: float


@frozen
class Restored:
    """The outcome: the keys believed, how many are ``revoked`` and ``decrypted``, and whether it is ``confirmed``.

    ``lacking`` is how much of what the directory knows to be revoked or used the file of revocations does not name, and
    ``passed_over`` are the numbers of its lines that are not understood.
    """

    keys: tuple[BelievedKey, ...]
    revoked: int
    decrypted: int
    confirmed: bool
    lacking: int = 0
    passed_over: tuple[int, ...] = ()

    def lines(self) -> list[str]:
        """Return the outcome for people, line by line."""
        found = [f"{one.name}  {one.role}  {one.key[:16]}  since {moment_words(one.since)}" for one in self.keys]
        counts = f"{len(self.keys)} keys would be believed, {self.revoked} are revoked"
        if self.lacking:
            found.append(
                f"the file of revocations lacks {self.lacking} of those that this directory has: it is older, or "
                "another farm's; those of both hold"
            )
        if self.passed_over:
            lines = ", ".join(map(str, self.passed_over[:_NAMED]))
            more = f" and {len(self.passed_over) - _NAMED} more" if len(self.passed_over) > _NAMED else ""
            found.append(
                f"the file of revocations is damaged at line {lines}{more}: whoever was revoked there is believed, "
                "unless you revoke them again"
            )
        if self.confirmed:
            return [*found, f"{counts.replace('would be', 'are')}; start {called('metaserver')}"]
        how = f"with --revocations FILE ({KEYS}/{burnt_file.NAME} of the directory before) those revoked since stay so"
        return [*found, f"{counts}; nothing is confirmed yet: {how}, with --confirm-keys all of these are believed"]


@define(eq=False)
class Restoring:
    """The settling of the keys of a state directory, by ``revocations``, a file, where one is said."""

    directory: Path
    revocations: Path | None
    passphrase: bytes | None = field(repr=False)
    new_authority: bool
    disk: Disk = field(factory=RealDisk)
    lacking: int = field(default=0, init=False)
    _passed_over: list[int] = field(factory=list, init=False)

    async def run(self, *, confirm: bool) -> Restored:
        """Confirm the keys if that is wanted; return the outcome.

        Raises UsageError, ConfigurationError, StorageUnavailable.
        """
        place = self.directory / KEYS
        book = await self._book()
        burnt = self._burnt(place / burnt_file.NAME)
        book.take(reapplied(book, burnt).rows)
        believed = [one for one in book.keys.values() if one.state is not KeyState.REVOKED]
        confirm = confirm or self.revocations is not None
        decrypted = self._open_authority(place, needed=bool(believed) and confirm, used=confirm)
        if confirm:
            self._keep(place / burnt_file.NAME, burnt)
            ConfirmedKeys(place, self.disk).confirm(_who())
        return Restored(
            tuple(BelievedKey(one.name, one.role.value, one.key, one.since) for one in believed),
            len(book.keys) - len(believed),
            decrypted,
            confirm or bool(ConfirmedKeys(place, self.disk).pending()),
            self.lacking,
            tuple(self._passed_over),
        )

    async def _book(self) -> Book:
        reading = SqliteDatabase.reading(self.directory / DATABASE, Inline())
        try:
            book = Book()
            book.take(await SqlBrokerStore(reading).accounts())
            return book
        finally:
            await reading.close()

    def _burnt(self, own: Path) -> list[Burnt]:
        """Return what is burnt by the own file and by the one that was said."""
        try:
            found = read_file(own, self.disk)
            if self.revocations is not None:
                if not self.revocations.is_file():
                    raise UsageError(f"--revocations {self.revocations} is no file")
                said = read_file(self.revocations, self.disk, self._passed_over)
                if not said:  # a line stands there as soon as anybody has joined: it is another file, or was cut off
                    raise UsageError(
                        f"--revocations {self.revocations} names nothing that was revoked or used: it is no "
                        f"{KEYS}/{burnt_file.NAME}; if there is none, say --confirm-keys after a look at the list"
                    )
                self.lacking = len(set(found) - set(said))
                found += said
        except OSError as error:
            raise storage_unavailable(f"read {error.filename or self.revocations or own}", error) from error
        return list(dict.fromkeys(found))

    def _keep(self, own: Path, burnt: list[Burnt]) -> None:
        try:
            there = set(read_file(own, self.disk))
            if fresh := [one for one in burnt if one not in there]:
                add_burnt(own, fresh, self.disk)
        except OSError as error:
            raise storage_unavailable(f"write {own}", error) from error

    def _open_authority(self, place: Path, *, needed: bool, used: bool) -> int:
        """Make the authority usable; return how many of its keys were encrypted.

        Raises ConfigurationError where it is ``needed`` and not there, or is to be ``used`` and still encrypted.
        """
        try:
            count = 0 if self.passphrase is None else decrypt_authorities(place, self.passphrase, self.disk)
            if needed and not authority_files(place, self.disk) and not self.new_authority:
                raise ConfigurationError(lost_authority(place, "--new-authority"))
            if used and (closed := encrypted_authorities(place, self.disk)):
                raise ConfigurationError(
                    f"{closed[0]} is encrypted, as in a backup: say --passphrase-file FILE too; nothing is confirmed"
                )
        except OSError as error:
            raise storage_unavailable(f"read the authority in {place}", error) from error
        return count


def lost_authority(place: Path, how: str) -> str:
    """Return what is said where the authority is not there; ``how`` is what to say to go on without."""
    return (
        f"{place} has no authority-*.pem, which those who joined believe: put the files back (backup --with-keys takes "
        f"them along), or say {how} and invite everybody anew with --replace"
    )


def _who() -> str:
    user = os.getuid()
    try:
        return f"{pwd.getpwuid(user).pw_name} (uid {user})"
    except KeyError:
        return f"uid {user}"
