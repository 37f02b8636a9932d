"""What a build server begins with: clearing up, and what checks out.

Covered by tests/programs/buildserver/test_main.py and tests/e2e/test_programs.py.
"""

from __future__ import annotations

from contextlib import ExitStack

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buildtool.adapters.host.build_slots import BuildSlots
from buildtool.adapters.runtime.fair_pool import FairPool
from buildtool.adapters.vcs.by_url import Checkouts
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from buildtool.adapters.vcs.svn.command import SvnCommand
from buildtool.adapters.vcs.svn.copies import SvnSources
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.ports.buildserver import Halt, Halted
from buildtool.ports.common import Executor
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.common.program import StopRequest

log = Logger()


def sources_of(
    place: BuildDirectory, pool: Executor, closing: ExitStack, threads: int, downloading: TokenBucket
) -> Checkouts:
    """Return what checks out, in a pool of so many threads; a checkout that is not waited for any more ends.

    ``downloading`` is the bucket by which is fetched.
    """
    turns = FairPool(pool, threads)
    mirror = GitMirror(place.mirrors, turns)
    closing.callback(mirror.close)
    svn = SvnCommand(place.subversion)
    mirror.command.downloading = svn.downloading = downloading
    closing.callback(svn.close)
    return Checkouts(git=Worktrees(mirror, place.sources, turns), svn=SvnSources(svn, place.sources / "svn", turns))


async def cleared(slots: BuildSlots, stop: StopRequest) -> bool:
    """Delete what an earlier run left; return False when told to stop meanwhile. Raises MachineFault."""
    halt = Halt()
    Deferred.fromCoroutine(stop.asked()).addCallback(halt.ask)
    try:
        await slots.clear_all(halt)
    except Halted:
        log.info("stopping: {reason}; what an earlier run left is deleted at the next start", reason=stop.reason)
        return False
    return True
