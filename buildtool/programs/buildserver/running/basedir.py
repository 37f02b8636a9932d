"""The one directory in which a build server keeps everything, as ``--basedir`` says it.

That it stands in the place of ``build_dir`` is done where settings are read (``common/given/settings_of``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from attrs import evolve

from buildtool.configuration.finding import from_here
from buildtool.programs.common.subcommands import Subcommand, valued

BASEDIR = "--basedir"

HOW = valued(
    "keep everything in DIR, in place of build_dir, and read DIR/config.py if it is there; with --daemon, stop and "
    "restart also DIR/buildserver.pid and DIR/buildserver.log", "DIR", Path,
)  # fmt: skip
"""What ``add_argument`` takes for it."""

CONFIG, PID, LOG = "config.py", "buildserver.pid", "buildserver.log"


def based(command: Subcommand[int]) -> Subcommand[int]:
    """Return a command that takes ``--basedir``, for its configuration, pid file and log where it has any."""
    act: Callable[[argparse.Namespace], int] = command.run

    def run(said: argparse.Namespace) -> int:
        if said.basedir is not None:
            place(said, kept=command.name in ("stop", "restart"))
        return act(said)

    return evolve(command, run=run, options=(*command.options, BASEDIR))


def place(said: argparse.Namespace, *, kept: bool) -> None:
    """Set, of what was said, all places that were left open; ``kept`` says that a pid file is one of them."""
    named, top = vars(said), from_here(said.basedir, "--basedir")
    if said.config is None and (top / CONFIG).is_file():
        said.config = top / CONFIG
    if kept or named.get("daemon"):
        said.pid_file = said.pid_file or top / PID
        if "log_file" in named:
            said.log_file = said.log_file or top / LOG
            top.mkdir(mode=0o700, parents=True, exist_ok=True)
