"""What an Attempt has from outside before it builds: declared files, and commands that may use the network.

Tested by tests/buildserver/test_fetching.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from buildtool.buildserver.blame import Stopped
from buildtool.model.records import AttemptEnd
from buildtool.ports.buildserver import DeclaredDownloads, EnclosedCommands
from buildtool.project.recipe import Plan


def check_allowed(project: str, plan: Plan, downloads: DeclaredDownloads | None, networked: frozenset[str]) -> None:
    """Raise Stopped where a plan needs what this machine does not give: another may."""
    if plan.fetch and project not in networked:
        named = ", ".join(one.words() for one in plan.network)
        raise Stopped(
            AttemptEnd.REFUSED,
            f"only with --allow-network {project}, which its owner did not say: its recipe speaks to {named}",
        )
    if plan.downloads and downloads is None:
        raise Stopped(AttemptEnd.REFUSED, "this machine fetches no files for builds")


async def put_downloads(
    plan: Plan, tree: Path, downloads: DeclaredDownloads | None, note: Callable[[str], None], check: Callable[[], None]
) -> int:
    """Put the declared files of a plan below its sources; return how many bytes were fetched.

    ``check`` raises between two of them once it is stopped.
    """
    fetched = 0
    for one in plan.downloads:
        check()
        if downloads is not None:  # as was checked
            fetched += await downloads.put(one, tree, note)
    return fetched


@asynccontextmanager
async def network_of(
    plan: Plan, enclosed: EnclosedCommands, note: Callable[[str], None], moved: Callable[[int, int], None]
) -> AsyncIterator[Mapping[str, str]]:
    """Open the network for the commands that fetch, yield their environment, and close it.

    ``moved`` is told at the end how many bytes came and went.
    """
    way = await enclosed.open_network(plan.network, note)
    try:
        yield way.environment
    finally:
        moved(*await way.close())
