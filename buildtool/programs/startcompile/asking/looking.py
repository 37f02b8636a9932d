"""What looks at what was asked for before: a list of requests, and logs.

Tested by tests/e2e/test_requests.py and tests/e2e/test_rights.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from buildtool.errors import UsageError
from buildtool.programs.startcompile.completing.own_requests import remembered
from buildtool.protocol.hello import AskRequests
from buildtool.protocol.messages import AskStatus
from buildtool.protocol.projects.watches import WatchBranch, WatchStatus
from buildtool.requester.outcome import ExitCode, RequestResult
from buildtool.requester.text import watching

if TYPE_CHECKING:
    from buildtool.programs.startcompile.command_line import Arguments
    from buildtool.programs.startcompile.errands import Work
    from buildtool.requester.requester import Requester


def requests(said: Arguments) -> Work:
    """Return what lists the newest requests of the own key, or without one those that this account made from here."""
    own = [AskStatus(one.number, one.token) for one in remembered(said.where)]
    return lambda requester: requester.requests(AskRequests(said.flags.most), own)


def watch(said: Arguments) -> Work:
    """Return what has each new binary of a branch told. Raises UsageError."""
    from buildtool.programs.startcompile.errands import submits

    wishes = submits(said)
    if len(wishes) > 1:
        raise UsageError("a watch is of one combination: say each option once")
    if wishes[0].revision or wishes[0].revrange:
        raise UsageError("a watch is of the branch that stands behind it: leave --revision and --revrange out")
    wish = evolve(wishes[0], revision=said.target)
    message = WatchBranch(wish, not said.flags.only_tell, said.flags.digest or "")

    async def work(requester: Requester) -> RequestResult:
        told, milliseconds = await requester.asked(message, WatchStatus)
        for line in watching(told, requester.program):
            requester.console.say(line)
        return RequestResult(ExitCode.OK, milliseconds=milliseconds, watch=told)

    return work


def log(said: Arguments) -> Work:
    """Return what prints the log of a request's build, or of the step of it that failed."""
    return lambda requester: requester.log(AskStatus(*said.target), failed_step=said.flags.failed_step)
