"""What ``bin/metaserver`` does with its state directory besides serving: ``--fsck`` looks, ``--backup`` copies."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from attrs import asdict, define

from buildtool.adapters.backup import Backup, Copied
from buildtool.adapters.database import there_is
from buildtool.adapters.fsck import DATABASE, Checkup, Report
from buildtool.adapters.locks import DirectoryLock
from buildtool.entry.common import EXIT_CODES, EXIT_OK, EXIT_REFUSED, EXIT_UNAVAILABLE
from buildtool.entry.output import complain, say
from buildtool.errors import StorageUnavailable
from buildtool.settings import Settings

T = TypeVar("T")

EXIT_DAMAGED = 10

METASERVER_CODES = {
    **EXIT_CODES,
    EXIT_UNAVAILABLE: "no metaserver runs that could be asked",
    EXIT_REFUSED: "the metaserver that runs is of another version",
    EXIT_DAMAGED: "--fsck found damage that is not mended",
}
"""What each exit code of ``bin/metaserver`` says."""

EVERY = 5.0
"""Seconds between two lines that say how far the reading has come."""

_EXIT_INTERRUPTED = 128 + signal.SIGINT


def fsck(settings: Settings, *, repair: bool, as_json: bool) -> int:
    """Look at the state directory, print what is wrong, and return the exit code. Raises BuildToolError."""
    directory = settings.state_dir
    if not there_is(directory / DATABASE):
        raise StorageUnavailable(
            f"there is no database in {directory}: put it or a backup in its place; for a new farm start bin/metaserver"
        )
    with DirectoryLock(directory, "metaserver --fsck"):
        report = _interruptible(Checkup(directory, time.time(), Said(time.monotonic())).run(repair=repair))
    if report is None:
        return _EXIT_INTERRUPTED
    say(json.dumps(as_object(report)) if as_json else "\n".join(lines(report)))
    return EXIT_DAMAGED if report.damaged else EXIT_OK


def backup(settings: Settings, target: Path, *, as_json: bool) -> int:
    """Copy the state directory to ``target``, say what was copied, and return the exit code. Raises BuildToolError."""
    copied = _interruptible(Backup(settings.state_dir, target).run())
    if copied is None:
        return _EXIT_INTERRUPTED
    say(json.dumps({"directory": str(target), **asdict(copied)}) if as_json else _copied_line(target, copied))
    return EXIT_OK


def lines(report: Report) -> list[str]:
    """Return a report for people: one line for each finding, and one that sums up."""
    left = sum(not finding.mended for finding in report.findings)
    told = [finding.line for finding in report.findings]
    looked = f"{report.rows} rows, {report.artifacts} artifacts ({_amount(report.artifact_bytes)}), {report.logs} logs"
    if not told:
        return [f"clean: {looked}"]
    return [*told, f"{len(told)} found, {len(told) - left} mended, {left} left: {looked}"]


def as_object(report: Report) -> dict[str, object]:
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
class Said:
    """Says on stderr, now and then, how far the reading has come; ``at`` is when it said so last (monotonic)."""

    at: float

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take in how far it is, and say so if the last time was long ago."""
        now = time.monotonic()
        if now - self.at < EVERY:
            return
        self.at = now
        how_far = f"{_amount(done)} of {_amount(total)}" if what == "artifacts" else f"{done} of {total}"
        complain(f"metaserver: reading {what}: {how_far}")


def _copied_line(target: Path, copied: Copied) -> str:
    absent = f"; {copied.withdrawn} artifacts had no file and are withdrawn in the copy" if copied.withdrawn else ""
    return (
        f"{target}: {copied.artifacts} artifacts ({_amount(copied.artifact_bytes)}) and {copied.logs} logs, "
        f"{copied.linked} files linked, {copied.copied} copied{absent}"
    )


def _amount(size: int) -> str:
    if size < 1024:  # noqa: PLR2004 - a KiB
        return f"{size} B"
    amount, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:  # noqa: PLR2004
        amount /= 1024
        units.pop(0)
    return f"{amount:.1f} {units[0]}"


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
