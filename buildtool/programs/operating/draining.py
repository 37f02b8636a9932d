"""A build server is drained: it is given nothing more, and it is said once what it had is finished.

Tested by tests/programs/operating/test_several.py.
"""

from __future__ import annotations

import json

from attrs import asdict, evolve
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buildtool.model.text import printable
from buildtool.programs.common.output import say
from buildtool.programs.operating.several import Asks
from buildtool.protocol.operator import ActionResult, DrainServer

LOOK = 1.0
"""Seconds between two looks whether anything still runs there."""


async def drain_server(there: Asks, message: DrainServer, timers: IReactorTime, *, as_json: bool) -> None:
    """Pause a build server, and wait until nothing runs there; print both, for programs in one line at the end."""
    told = await there.ask(message, ActionResult)
    if told.count and not as_json:
        say("\n".join(map(printable, told.words)))
    while told.count:
        await deferLater(timers, LOOK, lambda: None)
        told = await there.ask(evolve(message, only_look=True), ActionResult)
    say(json.dumps(asdict(told)) if as_json else "\n".join(map(printable, told.words)))
