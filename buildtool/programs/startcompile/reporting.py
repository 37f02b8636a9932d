"""What startcompile.py prints at its end, and the exit code that it ends with.

Tested by tests/programs/startcompile/test_main.py.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from buildtool.errors import BuildToolError, OutputLost, OutputUnread
from buildtool.model.text import one_line
from buildtool.programs.common.output import complain, say
from buildtool.requester.outcome import ExitCode, RequestResult, all_as_json, as_json, exit_of_error, worst
from buildtool.requester.text import request_id_words, waits

PROGRAM = "startcompile.py"


def refused(error: BuildToolError, *, wants_json: bool) -> int:
    """Print why nothing was done, and return the exit code. Raises OutputLost."""
    return report([RequestResult(exit_of_error(error), error=error)], None, wants_json=wants_json)


def report(
    results: Sequence[RequestResult], lost: OutputLost | None, *, wants_json: bool, together: bool = False
) -> int:
    """Print what ``--json`` promises, or the error in one line; return the exit code, that of the worst.

    ``lost`` is why something of what was shown before could not be: then how to go on is said again on stderr.
    """
    code = worst(results) if together else results[0].exit
    if wants_json:
        told = all_as_json(results, code) if together else as_json(results[0])
        try:
            say(json.dumps(told, sort_keys=True))
        except OutputLost as error:
            lost = error
    if results[0].error is not None and not together:
        complain(f"{PROGRAM}: {one_line(str(results[0].error))}")
    if lost is None:
        return int(code)
    if not isinstance(lost, OutputUnread):
        complain(f"{PROGRAM}: {lost}")
        for waiting in (result.told for result in results if result.told is not None and waits(result.told)):
            complain(f"{PROGRAM}: request {request_id_words(waiting)} goes on; the command cancel takes it back")
    return int(code or (ExitCode.UNREAD if isinstance(lost, OutputUnread) else ExitCode.INTERNAL))


def shown_nowhere(_url: str) -> None:
    """Show nothing."""


def shown_in_browser(url: str) -> None:
    """Open a page in a browser, where the output is a terminal and there is a screen."""
    has_screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stdout.isatty() and has_screen and url.startswith(("http://", "https://")):
        import webbrowser

        webbrowser.open(url)
