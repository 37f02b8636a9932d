"""``bin/startcompile.py doctor``: what keeps somebody from asking, line by line, with the mend.

Tested by tests/programs/doctors/test_visiting.py.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.base import ReactorBase

from buildtool.errors import BuildToolError
from buildtool.model.checkup.verdicts import fine, problem
from buildtool.programs.doctors.visiting import MIB, Visit, disk_result, report, visit
from buildtool.programs.startcompile.command_line import Arguments
from buildtool.programs.startcompile.connecting import addressed
from buildtool.programs.startcompile.places import USUAL_TRANSFER_PORT

LOW, NEED = 1024 * MIB, 64 * MIB
"""Bytes of free disk below which an artifact may not find room, and below which hardly any does."""


async def examined(reactor: ReactorBase, said: Arguments) -> int:
    """Check everything that a requester needs, print the verdicts, and return the exit code."""
    own = said.settings
    where = str(own.path) if own is not None else "none, and none is needed: the metaserver describes its projects"
    results = [fine("configuration", where)]
    addresses, farm = said.addresses, None
    try:
        addresses, farm = await addressed(reactor, said)
    except BuildToolError as error:
        results.append(problem("key", str(error), "mend that, or join again"))
    results += await visit(
        reactor, Visit(addresses, "requester", USUAL_TRANSFER_PORT if own is None else own.transfer_port), farm
    )
    results.append(disk_result("--output", Path.cwd(), LOW, NEED))
    return report(results, as_json=said.json)
