"""What the API answers of the work that build servers did, from sums. Tested by tests/web/api/test_work.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.web.server import Request

from buildtool.errors import NotFound
from buildtool.ports.work import WorkFound, WorkLine
from buildtool.protocol.api.work import WORK_ROWS, MachineWork, OwnMachines, WorkReport, WorkSummary

from ..access import projects_seen, visitor_of
from ..pages.details.work import counted_since, grouped
from ..section import Parts
from ..sections.builds import mine_of


async def work_of(parts: Parts, request: Request, server: str) -> WorkReport:
    """Return what a build server did. Raises NotFound."""
    if not await parts.pages.build_servers(limit=1, name=server):
        raise NotFound("there is no build server of that name")
    since = counted_since(parts.clock.wall())
    return report(await parts.pages.work([server], since), projects_seen(parts.access, visitor_of(request)))


async def own_work(parts: Parts, request: Request) -> OwnMachines:
    """Return what the machines of who asks did; nothing of who is not signed in."""
    by = visitor_of(request)
    owners = mine_of(by)
    names = [line.server.name for line in await parts.pages.owned(owners)] if owners else []
    since = counted_since(parts.clock.wall())
    together, each = await parts.pages.work(names, since), await parts.pages.work(names, since, each=True)
    rows = each.lines[:WORK_ROWS]
    return OwnMachines(
        report(together, projects_seen(parts.access, by)),
        tuple(MachineWork(name, _summaries(one for one in rows if one.server == name)) for name in names),
    )


def report(found: WorkFound, sees: Callable[[str], bool]) -> WorkReport:
    """Return what is told of sums; those of projects that are not seen are together, without a name."""
    return WorkReport(_summaries(grouped(found.lines, sees, "")[:WORK_ROWS]))


def _summaries(lines: Iterable[WorkLine] | Sequence[WorkLine]) -> tuple[WorkSummary, ...]:
    return tuple(
        WorkSummary(
            one.month, one.project, one.good, one.failed, one.other, round(one.processor, 3), one.unmeasured,
            round(one.wall, 3), one.size, one.requesters or None,
        )
        for one in lines
    )  # fmt: skip
