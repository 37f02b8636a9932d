"""What is left over below a build server's directory is named at its start, and deleted where its owner says so."""

from __future__ import annotations

import argparse
import time
from functools import partial

from twisted.logger import Logger

from buildtool.adapters.host.leftovers import find_leftovers, remove_leftovers
from buildtool.errors import MachineFault
from buildtool.model.guest.leftovers import KeptNow, LeftoverDirectory
from buildtool.ports.common import Executor
from buildtool.programs.buildserver.build_directory import BuildDirectory

log = Logger()

DELETE = "--delete-leftover-dirs"


def leftovers_of(place: BuildDirectory, said: argparse.Namespace) -> tuple[LeftoverDirectory, ...]:
    """Return what is left over there, when it is started as was said. Blocks."""
    return find_leftovers(place.top, KeptNow(said.max_builds, bool(said.follow_config)), time.time())


async def tidied(place: BuildDirectory, said: argparse.Namespace, pool: Executor) -> None:
    """Log what is left over, and delete it where that was said. What cannot be deleted keeps no build from its turn."""
    for one in await pool.run(partial(leftovers_of, place, said)):
        end = f"{DELETE} deletes it"
        if said.delete_leftover_dirs:
            try:
                await pool.run(partial(remove_leftovers, [one]))
                end = "it is deleted"
            except MachineFault as error:
                end = str(error)
        log.info("{words}; {end}", words=one.words(), end=end)
