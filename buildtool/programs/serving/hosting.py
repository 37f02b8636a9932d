"""Runs what a server does with the log that was asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from buildtool.programs.common.output import TextSink, copied
from buildtool.programs.serving.options import log_of

Serve = Callable[[argparse.Namespace, TextSink | None], int]
"""What a server does: given what was said and its log (None for standard error), it returns its exit code."""


def hosted(serve: Serve) -> Callable[[argparse.Namespace], int]:
    """Return what runs a server with the log that was asked for.

    Whatever ends the server is said on standard error and in that log. It raises UsageError.
    """

    def run(said: argparse.Namespace) -> int:
        log = log_of(said)
        if log is None:
            return serve(said, None)
        with copied(log):
            try:
                return serve(said, log)
            finally:
                log.close()

    return run
