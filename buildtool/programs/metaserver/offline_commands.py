"""The commands of ``bin/metaserver`` for its state directory: ``fsck`` looks for damage, ``backup`` copies."""

from __future__ import annotations

import argparse
import json
import os
import signal
import stat
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import asdict, define

from buildtool.adapters.storage.directory_lock import DATABASE, DirectoryLock
from buildtool.adapters.storage.filesystem import RealDisk, read_whole, write_whole
from buildtool.adapters.tls import burnt_file
from buildtool.adapters.tls.authority import KEYS, copy_authorities
from buildtool.configuration.settings import Settings
from buildtool.errors import StorageUnavailable, UsageError
from buildtool.model.farm.backups import Kept, kept_of
from buildtool.model.text import printable, size_words
from buildtool.programs.common.ending import EXIT_CODES, EXIT_FAILED, EXIT_OK, EXIT_REFUSED, EXIT_UNAVAILABLE
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.output import called, complain, say
from buildtool.programs.common.subcommands import How, Subcommand, switch, valued

if TYPE_CHECKING:
    from buildtool.adapters.maintenance.fsck import FsckReport
    from buildtool.programs.metaserver.backing.backup_round import BackupOutcome, BackupWishes

T = TypeVar("T")

EXIT_DAMAGED = 10
EXIT_NOT_HANDED_ON = 11

PASSPHRASE_LIMIT = 1_000
"""Most bytes of a passphrase."""

METASERVER_CODES = {
    **EXIT_CODES,
    EXIT_UNAVAILABLE: "no metaserver runs that could be asked",
    EXIT_REFUSED: "the metaserver that runs is of another version",
    EXIT_DAMAGED: "fsck found damage that is not mended, or a backup could not be restored by --test-restore",
    EXIT_NOT_HANDED_ON: "the backup is made, but the command of --then failed",
}
"""What each exit code of ``bin/metaserver`` says."""

EVERY = 5.0
"""Seconds between two lines that say how far the reading has come."""

_EXIT_INTERRUPTED = 128 + signal.SIGINT


def _fsck(said: argparse.Namespace) -> int:
    """Look at the state directory, print what is wrong, and return the exit code. Raises BuildToolError."""
    from buildtool.adapters.maintenance.fsck import Fsck
    from buildtool.adapters.sql.sqlite import there_is

    directory = _settings(said).state_dir
    if not there_is(directory / DATABASE):
        raise StorageUnavailable(
            f"there is no database in {directory}: put it or a backup in its place; for a new farm start "
            f"{called('metaserver')}"
        )
    with DirectoryLock(directory, "metaserver fsck"):
        checkup = Fsck(directory, time.time(), ReadingProgress(time.monotonic()))
        report = _interruptible(checkup.run(repair=said.repair))
    if report is None:
        return _EXIT_INTERRUPTED
    say(json.dumps(as_object(report)) if said.json else "\n".join(lines(report)))
    return EXIT_DAMAGED if report.damaged else EXIT_OK


def _backup(said: argparse.Namespace) -> int:
    """Copy the state directory, do what is wished after it, say so, and return the exit code. Raises BuildToolError."""
    from buildtool.programs.metaserver.backing.backup_round import BackupRound

    wishes, settings = _wishes(said), _settings(said)
    passphrase = None if said.passphrase_file is None else _passphrase(said.passphrase_file)

    def more(staging: Path) -> int:
        keys, wanted = settings.state_dir / KEYS, said.with_keys or passphrase is not None
        return _copy_keys(keys, staging / KEYS, passphrase, wanted=wanted)

    progress = ReadingProgress(time.monotonic())
    outcome = _interruptible(BackupRound(settings, said.target, wishes, more, time.time, progress).run())
    if outcome is None:
        return _EXIT_INTERRUPTED
    for line in _amiss(outcome):
        complain(f"metaserver: {line}")
    say(json.dumps(_outcome_object(outcome)) if said.json else "\n".join(_outcome_lines(outcome, wishes)))
    if outcome.wrong:
        return EXIT_DAMAGED
    return EXIT_NOT_HANDED_ON if outcome.then else EXIT_FAILED if outcome.stayed else EXIT_OK


def _wishes(said: argparse.Namespace) -> BackupWishes:
    """Return what is to be done with a backup. Raises UsageError for options that do not go together."""
    from buildtool.adapters.maintenance.series.sealing import recipients_of
    from buildtool.programs.metaserver.backing.backup_round import BackupWishes

    if said.with_config and said.encrypt_to is None:
        raise UsageError(
            "--with-config takes secrets along: say --encrypt-to KEY, a public key of age (age-keygen makes a pair)"
        )
    if said.encrypt_to is not None and not said.with_config:
        raise UsageError("--encrypt-to is for the configuration: say --with-config too")
    recipients = () if said.encrypt_to is None else recipients_of(said.encrypt_to)
    return BackupWishes(said.keep, recipients, said.then or "", said.test_restore)


def _settings(said: argparse.Namespace) -> Settings:
    """Return the settings; neither projects nor passwords have to be right. Raises ConfigurationError."""
    return settings_of(said, secrets=False)


def _copy_keys(source: Path, target: Path, passphrase: bytes | None, *, wanted: bool) -> int:
    """Copy what is burnt, and the authority's keys where they are wanted; return how many files that is."""
    disk, count = RealDisk(), 0
    target.mkdir(mode=0o700)
    with suppress(FileNotFoundError):
        write_whole(disk, target / burnt_file.NAME, read_whole(disk, source / burnt_file.NAME, burnt_file.MOST))
        count = 1
    return count + (copy_authorities(source, target, passphrase, disk) if wanted else 0)


def _passphrase(path: Path) -> bytes:
    """Return the first line of a file. Raises UsageError for one that cannot be read, is everybody's, or is empty."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            first = file.read(PASSPHRASE_LIMIT).split(b"\n", 1)[0].rstrip(b"\r")
    except OSError as error:
        raise UsageError(f"--passphrase-file {path} cannot be read: {error.strerror}") from error
    if stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UsageError(f"--passphrase-file {path} is open to everybody on this machine: chmod 600 it")
    if not first:
        raise UsageError(f"--passphrase-file {path} has no passphrase in its first line")
    return first


def _restore(said: argparse.Namespace) -> int:
    """Confirm the keys of a state directory that was restored, and return the exit code. Raises BuildToolError."""
    from buildtool.adapters.sql.sqlite import there_is
    from buildtool.programs.metaserver.access.restoring import Restoring

    directory = _settings(said).state_dir
    if not there_is(directory / DATABASE):
        raise StorageUnavailable(f"there is no database in {directory}: put a backup in its place first")
    passphrase = None if said.passphrase_file is None else _passphrase(said.passphrase_file)
    with DirectoryLock(directory, "metaserver restore"):
        restoring = Restoring(directory, said.revocations, passphrase, new_authority=said.new_authority)
        told = _interruptible(restoring.run(confirm=said.confirm_keys))
    if told is None:
        return _EXIT_INTERRUPTED
    say(json.dumps(asdict(told)) if said.json else "\n".join(map(printable, told.lines())))
    return EXIT_OK


def _keeping(said: argparse.Namespace) -> int:
    """Say what is kept and what goes next, and return the exit code. Raises BuildToolError."""
    from buildtool.adapters.sql.sqlite import there_is
    from buildtool.programs.metaserver.keeping.showing import kept_lines, kept_now, kept_objects

    settings = _settings(said)
    if not there_is(settings.state_dir / DATABASE):
        raise StorageUnavailable(f"there is no database in {settings.state_dir}: nothing is kept there")
    told = _interruptible(kept_now(settings))
    if told is None:
        return _EXIT_INTERRUPTED
    say(json.dumps(kept_objects(told)) if said.json else "\n".join(kept_lines(told)))
    return EXIT_OK


def _keep(text: str) -> Kept:
    """Return what is kept of a series. Raises ArgumentTypeError."""
    try:
        return kept_of(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


OPTIONS: Mapping[str, How] = {
    "--repair": switch("mend what can be mended safely"),
    "--with-keys": switch("take the keys of the farm's authority along, as they are"),
    "--passphrase-file": valued("take the authority's keys along, encrypted by the first line of FILE", "FILE", Path),
    "--with-config": switch("take the configuration, its secrets and the farm's keys along, encrypted: --encrypt-to"),
    "--encrypt-to": valued("who may read these: a public key (age1…, ssh-ed25519 …) or a file with some", "KEY"),
    "--keep": valued(
        "make a backup of this moment below DIR, and remove old ones: for how long all, one a day, one a week stay",
        "TIMES",
        _keep,
    ),
    "--test-restore": switch("restore the backup into a directory that goes again, and have fsck read all of it there"),
    "--then": valued("run this by the shell afterwards, with $BACKUP: copy it to another host", "COMMAND"),
    "--revocations": valued(
        f"believe all keys but those that FILE revokes: {KEYS}/{burnt_file.NAME} of the directory before", "FILE", Path
    ),
    "--confirm-keys": switch("believe all keys that are listed"),
    "--new-authority": switch("go on without the authority that the machines believe: they have to join anew"),
}
"""The options of the commands below, beside ``--json``."""

COMMANDS = (
    Subcommand(
        "fsck", "look for damage in the state directory, and explain it", "fsck --repair",
        _fsck, options=("--repair", "--json"),
    ),
    Subcommand(
        "backup", "copy the state directory to DIR, also while it is used",
        "backup /backup --keep 24h --test-restore", _backup, "DIR", Path,
        (
            "--keep", "--with-config", "--encrypt-to", "--test-restore", "--then", "--with-keys", "--passphrase-file",
            "--json",
        ),
    ),
    Subcommand(
        "restore", "say which keys are believed in a state directory that was put back or copied",
        "restore --revocations /srv/old/tls/revoked.jsonl", _restore,
        options=("--revocations", "--confirm-keys", "--passphrase-file", "--new-authority", "--json"),
    ),
    Subcommand(
        "keeping", "say what is kept, how much that is, and what goes next by which rule, and let nothing go",
        "keeping --json", _keeping, options=("--json",),
    ),
)  # fmt: skip
"""What can be done with a state directory."""


def lines(report: FsckReport) -> list[str]:
    """Return a report for people: one line for each finding, and one that sums up."""
    left = sum(not finding.mended for finding in report.findings)
    told = [finding.line for finding in report.findings]
    looked = (
        f"{report.rows} rows, {report.artifacts} artifacts ({size_words(report.artifact_bytes)}), {report.logs} logs"
    )
    if not told:
        return [f"clean: {looked}"]
    return [*told, f"{len(told)} found, {len(told) - left} mended, {left} left: {looked}"]


def as_object(report: FsckReport) -> dict[str, object]:
    """Return a report for programs."""
    return {
        "damaged": report.damaged,
        "findings": [
            {
                "check": finding.check,
                "where": finding.where,
                "what": finding.what,
                "means": finding.means,
                "mend": finding.mend,
                "mendable": finding.repair is not None,
                "mended": finding.mended,
            }
            for finding in report.findings
        ],
        "rows": report.rows,
        "artifacts": report.artifacts,
        "artifact_bytes": report.artifact_bytes,
        "logs": report.logs,
    }


@define
class ReadingProgress:
    """A line on stderr, every few seconds, of how far the reading has come; ``at`` is when the last was (monotonic)."""

    at: float

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take in how far it is, and say so if the last time was long ago."""
        now = time.monotonic()
        if now - self.at < EVERY:
            return
        self.at = now
        how_far = f"{size_words(done)} of {size_words(total)}" if what == "artifacts" else f"{done} of {total}"
        complain(f"metaserver: reading {what}: {how_far}")


def _outcome_lines(outcome: BackupOutcome, wishes: BackupWishes) -> list[str]:
    """Return what a round of backup did, for people."""
    copied = outcome.contents
    absent = f"; {copied.withdrawn} artifacts had no file and are withdrawn in the copy" if copied.withdrawn else ""
    there = f"{copied.artifacts} artifacts ({size_words(copied.artifact_bytes)}) and {copied.logs} logs"
    told = [f"{outcome.directory}: {there}, {copied.linked} files linked, {copied.copied} copied{absent}"]
    if wishes.recipients:
        told.append(f"{outcome.sealed_files} files of the configuration are in it, encrypted")
    if wishes.tried and not outcome.wrong:
        told.append("it was restored for a test: fsck found nothing, and all that should be there is")
    if outcome.then == 0:
        told.append("the command of --then went well")
    if wishes.kept is not None and not outcome.wrong:
        told.append(f"older backups that were removed: {', '.join(outcome.gone) or 'none'}")
    if outcome.others:
        told.append(f"backups of other farms there, which are left alone: {outcome.others}")
    return told


def _amiss(outcome: BackupOutcome) -> list[str]:
    """Return what of a round of backup somebody has to look at."""
    told = [f"the backup {outcome.directory} does not restore: {line}" for line in outcome.wrong]
    told += [f"not in the backup, since it cannot be read: {line}" for line in outcome.left_out]
    if outcome.then:
        how = f"ended with code {outcome.then}" if outcome.then > 0 else f"was ended by signal {-outcome.then}"
        told.append(f"--then {how}: the backup is in {outcome.directory}, and maybe nowhere else")
    return [*told, *outcome.stayed]


def _outcome_object(outcome: BackupOutcome) -> dict[str, object]:
    """Return what a round of backup did, for programs."""
    return {
        "directory": str(outcome.directory),
        **asdict(outcome.contents),
        "sealed": outcome.sealed_files,
        "left_out": list(outcome.left_out),
        "wrong": list(outcome.wrong),
        "then": outcome.then,
        "removed": list(outcome.gone),
        "stayed": list(outcome.stayed),
        "others": outcome.others,
    }


def _interruptible(act: Coroutine[Any, Any, T]) -> T | None:
    """Run an act that waits for nobody, in this thread; None when Ctrl-C broke it off, which harms nothing."""
    try:
        act.send(None)
    except StopIteration as end:
        done: T = end.value
        return done
    except KeyboardInterrupt:
        complain("metaserver: broken off")
        return None
    raise RuntimeError("an act of upkeep waits for the reactor, which does not run")
