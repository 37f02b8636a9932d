"""What startcompile.py prints at its end, and the exit code that it ends with.

Tested by tests/programs/startcompile/test_main.py.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from buildtool.errors import BuildToolError, OutputLost, OutputUnread
from buildtool.model.text import duration_words, one_line
from buildtool.programs.common.output import complain, say
from buildtool.requester.outcome import ExitCode, RequestResult, all_as_json, as_json, exit_of_error, worst
from buildtool.requester.text import how_to_go_on, request_id_words, waits

if TYPE_CHECKING:
    from buildtool.programs.startcompile.command_line import Arguments
    from buildtool.requester.requester import Requester

PROGRAM = "startcompile.py"


def refused(error: BuildToolError, *, wants_json: bool) -> int:
    """Print why nothing was done, and return the exit code. Raises OutputLost."""
    return report([RequestResult(exit_of_error(error), error=error)], None, wants_json=wants_json)


def report(
    results: Sequence[RequestResult],
    lost: OutputLost | None,
    *,
    wants_json: bool,
    together: bool = False,
    last: bool = False,
) -> int:
    """Print what ``--json`` promises, or the error in one line; return the exit code, that of the worst.

    ``lost`` is why something of what was shown before could not be: then how to go on is said again on stderr. ``last``
    says that it is the last of several events.
    """
    code = worst(results) if together else results[0].exit
    if wants_json:
        told = all_as_json(results, code) if together else as_json(results[0])
        told |= {"event": "end"} if last else {}
        try:
            say(json.dumps(told, sort_keys=True))
        except OutputLost as error:
            lost = error
    if not together and results[0].error is not None:
        complain(f"{PROGRAM}: {one_line(str(results[0].error))}")
    if lost is None:
        return int(code)
    if not isinstance(lost, OutputUnread):
        complain(f"{PROGRAM}: {lost}")
        for waiting in (result.told for result in results if result.told is not None and waits(result.told)):
            complain(f"{PROGRAM}: request {request_id_words(waiting)} goes on; the command cancel takes it back")
    return int(code or (ExitCode.UNREAD if isinstance(lost, OutputUnread) else ExitCode.INTERNAL))


def interrupted(requester: Requester, said: Arguments, *, late: bool = False) -> RequestResult:
    """Print how to go on after an interruption, or where it is too ``late`` to wait on, and return the result."""
    told, code = requester.told, ExitCode.WAITING if late else ExitCode.INTERRUPTED
    words = f"it is not done within {duration_words(said.deadline or 0.0)}" if late else "interrupted"
    if said.json:
        return RequestResult(code, told)
    if told is not None and waits(told):
        complain(f"{words}; the request goes on")
        for line in how_to_go_on(told, said.asked[0].email or requester.owner if said.asked else "", requester.program):
            complain(line)
    else:
        complain(words)
    return RequestResult(code, told)


def shown_nowhere(_url: str) -> None:
    """Show nothing."""


def shown_in_browser(url: str) -> None:
    """Open a page in a browser, where the output is a terminal and there is a screen."""
    has_screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stdout.isatty() and has_screen and url.startswith(("http://", "https://")):
        import webbrowser

        webbrowser.open(url)
