"""What looks at what was asked for before: a list of requests, and logs.

Tested by tests/e2e/test_requests.py and tests/e2e/test_rights.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildtool.programs.startcompile.completing.own_requests import remembered
from buildtool.protocol.hello import AskRequests
from buildtool.protocol.messages import AskStatus

if TYPE_CHECKING:
    from buildtool.programs.startcompile.command_line import Arguments
    from buildtool.programs.startcompile.errands import Work


def requests(said: Arguments) -> Work:
    """Return what lists the newest requests of the own key, or without one those that this account made from here."""
    own = [AskStatus(one.number, one.token) for one in remembered(said.where)]
    return lambda requester: requester.requests(AskRequests(said.flags.most), own)


def log(said: Arguments) -> Work:
    """Return what prints the log of a request's build, or of the step of it that failed."""
    return lambda requester: requester.log(AskStatus(*said.target), failed_step=said.flags.failed_step)
