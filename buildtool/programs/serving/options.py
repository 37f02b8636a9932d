"""The options by which a server is kept running, the same for all three, and what they mean together.

Covered by tests/programs/serving/test_hosting.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from buildtool.errors import UsageError
from buildtool.programs.common.subcommands import How, switch, valued
from buildtool.programs.serving.log_file import COUNT, SIZE, LogFile, read_count, read_size

KEPT_ALL = "none"

LOG_OPTIONS: Mapping[str, How] = {
    "--log-file": valued("write the log to FILE, in place of standard error", "FILE", Path),
    "--log-size": valued(
        f"begin a new log once FILE has so many bytes, such as 10M (default {SIZE})", "BYTES", read_size
    ),
    "--log-count": valued(
        f"keep so many full logs, FILE.1 being the newest, or none to keep all (default {COUNT})", "N",
        lambda text: KEPT_ALL if (count := read_count(text)) is None else count,
    ),
    "--no-logrotate": switch("never rename the log: another program does, and a new one is begun when it has"),
}  # fmt: skip
"""What ``add_argument`` takes for each option of the log."""


HOST_OPTIONS: Mapping[str, How] = {
    **LOG_OPTIONS,
    "--pid-file": valued("write the number of the process to FILE, by which it is stopped", "FILE", Path),
    "--daemon": switch("go into the background: the command returns once it serves, or says why it does not"),
}
"""What ``add_argument`` takes for each option by which a server is kept running."""


def log_of(said: argparse.Namespace) -> LogFile | None:
    """Return the log that was asked for, open, or None for standard error. Raises UsageError."""
    given = [flag for flag in LOG_OPTIONS if _said(said, flag)]
    if said.log_file is None:
        if given:
            raise UsageError(f"{given[0]} goes with --log-file FILE: standard error is not kept by this program")
        return None
    if said.no_logrotate and len(given) > 2:  # noqa: PLR2004 - the file and that
        raise UsageError(f"{given[1]} and --no-logrotate are two different things: say one of them")
    count = COUNT if said.log_count is None else None if said.log_count == KEPT_ALL else said.log_count
    log = LogFile(said.log_file.absolute(), said.log_size or SIZE, count, rotates=not said.no_logrotate)
    log.open()
    return log


def _said(said: argparse.Namespace, flag: str) -> bool:
    return getattr(said, flag[2:].replace("-", "_")) not in (None, False)
