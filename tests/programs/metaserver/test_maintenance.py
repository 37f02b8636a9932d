"""What the metaserver does for its state directory, as it begins and ends."""

from pathlib import Path

from twisted.internet.task import Clock

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.logs import LogStore
from buildtool.model.keeping.gone import DAY
from buildtool.programs.metaserver.maintenance import Housekeeping
from tests.metaserver.keeping.test_forgetting import World
from tests.support.inline import run
from tests.support.memory import WallClock


def test_what_was_fetched_shortly_before_the_end_is_known_to_the_next_life(tmp_path: Path) -> None:
    world = World(tmp_path, WallClock(now=100 * DAY))
    made = world.built(1, at=DAY)
    upkeep = Housekeeping(tmp_path, world.database, world.files, LogStore(tmp_path, Inline()), Inline(), Clock())
    upkeep.given_out(made.digest)
    run(upkeep.stop())
    (kept,) = run(world.rows.artifacts(0, 9))
    assert kept.at > 100 * DAY
    world.close()
