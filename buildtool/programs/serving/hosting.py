"""Runs a server with its pid file, with its log, and in the background, as was asked for; and ends it again."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from buildtool.errors import AlreadyRunning, UsageError
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.output import TextSink, copied, say, say_line
from buildtool.programs.common.subcommands import Subcommand
from buildtool.programs.serving.detaching import detached, is_detached
from buildtool.programs.serving.options import log_of
from buildtool.programs.serving.pid_file import HeldProcess, PidFile, running

STOPPED_WITHIN = 60.0
"""Seconds that a server has to end when it is told to; each of ours forces itself to end long before."""

Serve = Callable[[argparse.Namespace, TextSink | None], int]
"""What a server does: given what was said and its log (None for standard error), it returns its exit code."""


def hosted(program: str, serve: Serve) -> Callable[[argparse.Namespace], int]:
    """Return what runs a server as was asked for: with a pid file, with a log, in the background.

    Whatever ends the server is said on standard error and in that log. It raises UsageError and AlreadyRunning.
    """

    def run(said: argparse.Namespace) -> int:
        if not said.daemon:
            return _kept(said, serve)
        if said.pid_file is None:
            raise UsageError("--daemon goes with --pid-file FILE, by which stop and restart find it")
        said.log_file = said.log_file or said.pid_file.with_name(f"{said.pid_file.name}.log")
        return _kept(said, serve) if is_detached() else detached(program, partial(_kept, said, serve))

    return run


def _kept(said: argparse.Namespace, serve: Serve) -> int:
    with _held(said.pid_file):
        log = log_of(said)
        if log is None:
            return serve(said, None)
        if is_detached():
            log.point((1, 2))
        try:
            with nullcontext() if is_detached() else copied(log):
                return serve(said, log)
        finally:
            log.close()


@contextmanager
def _held(path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    file = PidFile.take(path.absolute())
    try:
        yield
    finally:
        file.release()


# --- ending it again ------------------------------------------------------------------------------------


def stop_command(program: str) -> Subcommand[int]:
    """Return the command that ends the server of a pid file, and waits until it is gone."""

    def run(said: argparse.Namespace) -> int:
        number, seconds = stopped(said.pid_file)
        if said.json:
            say(json.dumps({"stopped": number, "seconds": seconds}))
        elif number is None:
            say_line(f"{program}: nothing runs by {said.pid_file}")
        else:
            say_line(f"{program}: process {number} has ended, after {seconds:.1f} s")
        return EXIT_OK

    return Subcommand(
        "stop", "end the server whose pid file that is, and wait until it is gone",
        f"stop --pid-file /run/buildtool/{program}.pid", run, options=("--pid-file", "--json"),
    )  # fmt: skip


def restart_command(
    program: str, serve: Serve, options: Sequence[str], check: Callable[[argparse.Namespace], object] = id
) -> Subcommand[int]:
    """Return the command that ends the server of a pid file and starts one in the background.

    ``check`` raises BuildToolError for what would keep the new one from starting; then the old one goes on.
    """

    def run(said: argparse.Namespace) -> int:
        if said.pid_file is None:
            raise UsageError("restart goes with --pid-file FILE, by which the server is found")
        check(said)
        number, seconds = stopped(said.pid_file)
        if number is not None:
            say_line(f"{program}: process {number} has ended, after {seconds:.1f} s")
        said.daemon = True
        return hosted(program, serve)(said)

    return Subcommand(
        "restart", "end the server whose pid file that is, if it runs, and start one in the background",
        f"restart --pid-file /run/buildtool/{program}.pid", run, options=tuple(options),
    )  # fmt: skip


def stopped(path: Path | None, seconds: float = STOPPED_WITHIN) -> tuple[int | None, float]:
    """Stop the server of a pid file; return its number and after how many seconds it was gone, None where none runs.

    Raises UsageError, and AlreadyRunning where it has not ended after ``seconds``.
    """
    if path is None:
        raise UsageError("stop goes with --pid-file FILE, by which the server is found")
    process = running(path.absolute())
    if process is None:
        return None, 0.0
    began = time.monotonic()
    try:
        _end(process, seconds)
    finally:
        process.close()
    return process.number, time.monotonic() - began


def _end(process: HeldProcess, seconds: float) -> None:
    process.stop()
    if not process.gone(seconds):
        raise AlreadyRunning(
            f"process {process.number} ({process.file}) runs on, {seconds:g} s after it was told to end"
        )
