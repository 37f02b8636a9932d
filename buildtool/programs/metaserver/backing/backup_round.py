"""One round of ``bin/metaserver backup``: copy, try to restore, hand on, note that it is good, thin the series out."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from attrs import define, evolve, field, frozen

from buildtool.adapters.maintenance.backup import MARK, Backup, BackupContents
from buildtool.adapters.maintenance.fsck_files import Progress, silent
from buildtool.adapters.maintenance.series.directory import BackupMark, BackupSeries, owner_of
from buildtool.adapters.maintenance.series.sealing import SEALED, Gathered, Recipients, gather, sealed
from buildtool.adapters.maintenance.series.stamp import write_stamp
from buildtool.adapters.maintenance.series.trial import TrialRestore
from buildtool.adapters.storage.filesystem import RealDisk, storage_unavailable, write_whole
from buildtool.adapters.tls.authority import KEYS
from buildtool.configuration.given.reading import settings_text
from buildtool.configuration.settings import Settings
from buildtool.errors import UsageError
from buildtool.model.farm.backups import Kept, going
from buildtool.model.text import moment_words, printable

More = Callable[[Path], int]
"""Copies what else there is into a directory, and returns how many files that were."""


@frozen
class BackupWishes:
    """The wishes for one round: what is kept of the series, to whom the configuration is sealed, what is done after it.

    Without ``kept`` the target itself is the backup; ``then`` is a command of the operator's, "" for none.
    """

    kept: Kept | None = None
    recipients: Recipients = ()
    then: str = ""
    tried: bool = False


@frozen
class BackupOutcome:
    """The outcome of a round. ``wrong`` is what the try to restore found, ``then`` with what the command ended.

    ``gone`` are names of backups that were removed; ``stayed`` says in a line each what should have gone, and why not;
    ``others`` counts what is there of other farms.
    """

    directory: Path
    contents: BackupContents
    sealed_files: int = 0
    left_out: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    then: int | None = None
    gone: tuple[str, ...] = ()
    stayed: tuple[str, ...] = ()
    others: int = 0


@define
class BackupRound:
    """A backup of what ``settings`` name in or below ``target``; ``more`` copies keys, ``clock`` tells the time."""

    settings: Settings
    target: Path
    wishes: BackupWishes
    more: More
    clock: Callable[[], float]
    progress: Progress = field(default=silent)
    _gathered: Gathered | None = field(default=None, init=False)

    async def run(self) -> BackupOutcome:
        """Make the backup and do what is wished after it. Raises BuildToolError."""
        if self.wishes.kept is None:
            return await self._made(self.target, self.clock())
        self._check_outside()
        series = BackupSeries(self.target, self._owner())
        with series.mine():
            now = self.clock()
            outcome = await self._made(self.target / series.fresh(now), now)
            return outcome if outcome.wrong else self._thinned(series, self.wishes.kept, outcome)

    def _check_outside(self) -> None:
        if self.target.resolve().is_relative_to(self.settings.state_dir.resolve()):
            raise UsageError(f"backup: {self.target} lies inside the state directory: name a place outside of it")

    async def _made(self, place: Path, now: float) -> BackupOutcome:
        """Make the backup in ``place``, try it, hand it on, and note it in the state directory if all of that went."""
        mark = BackupMark(place.name, now, self._owner())
        closed = b""
        if self.wishes.recipients:
            self._gathered = gather(
                self._configuration(), (self.settings.state_dir, self.settings.build_dir, self.target)
            )
            closed = sealed(self._gathered, self.wishes.recipients)
            mark = evolve(mark, sealed=hashlib.sha256(closed).hexdigest())

        def more(staging: Path) -> int:
            count = self.more(staging)
            if closed:
                write_whole(RealDisk(), staging / SEALED, closed)
                count += 1
            if self.wishes.kept is not None:
                mark.begin(staging)
                count += 1
            return count

        contents = await Backup(self.settings.state_dir, place, more=more).run()
        outcome = BackupOutcome(place, contents)
        if self._gathered is not None:
            outcome = evolve(outcome, sealed_files=self._gathered.files, left_out=self._gathered.left_out)
        if self.wishes.tried:
            wrong = await TrialRestore(place, mark, contents, now, self.progress).run()
            if wrong:
                return evolve(outcome, wrong=(*wrong, *self._note_wrong(mark, place, wrong)))
        if self.wishes.then:
            outcome = evolve(outcome, then=handed_on(self.wishes.then, place))
        if not outcome.then:
            self._note_good(now, place)
        return outcome

    def _configuration(self) -> tuple[Path, ...]:
        """Where the configuration is: beside the file that was read, what it names elsewhere, and the farm's keys."""
        given = settings_text(self.settings.given.named, os.environ, optional=True)
        beside = (given.path,) if given is not None else ()
        return (self.settings.path.parent, *beside, *(self.settings.own_files or ()), self.settings.state_dir / KEYS)

    def _note_good(self, now: float, place: Path) -> None:
        try:
            write_stamp(self.settings.state_dir, now, place.absolute())
        except OSError as error:
            raise storage_unavailable(f"note the backup {place} in the state directory", error) from error

    def _note_wrong(self, mark: BackupMark, place: Path, wrong: tuple[str, ...]) -> tuple[str, ...]:
        """Write into a backup of a series that it is not good, so that it stands for none that is; or say why not."""
        if self.wishes.kept is None:
            return ()
        try:
            evolve(mark, wrong=printable("; ".join(wrong), 1_000)).write(place)
        except OSError as error:
            return (f"and that cannot be written into its {MARK}: {error.strerror}; remove it",)
        return ()

    def _thinned(self, series: BackupSeries, kept: Kept, outcome: BackupOutcome) -> BackupOutcome:
        gone, stayed = [], []
        for one in going(kept, series.there(), self.clock()):
            try:
                why = series.remove(one.name)
            except BlockingIOError:
                why = "somebody uses it"
            except OSError as error:
                why = error.strerror or str(error)
            if why:
                stayed.append(f"{series.directory / one.name}, made {moment_words(one.made)}, stays: {why}")
            else:
                gone.append(one.name)
        return evolve(outcome, gone=tuple(gone), stayed=tuple(stayed), others=series.others())

    def _owner(self) -> str:
        try:
            return owner_of(self.settings.state_dir)
        except OSError as error:
            raise storage_unavailable(f"read the key of {self.settings.state_dir}", error) from error


def handed_on(command: str, place: Path) -> int:
    """Run the operator's command, by the shell, with the backup as ``$BACKUP``; return with what code it ended.

    What it prints goes to stderr.
    """
    sys.stderr.flush()
    environment = {**os.environ, "BACKUP": str(place.absolute())}
    done = subprocess.run(["/bin/sh", "-c", command], env=environment, stdin=subprocess.DEVNULL, stdout=2, check=False)
    return done.returncode
