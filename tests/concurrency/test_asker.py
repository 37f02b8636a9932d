"""Whoever works for an asker goes on for whom they did before once the work is over, finished or not."""

import contextvars

from twisted.internet.defer import Deferred

from buildtool.concurrency.asker import INTERNAL, Asker, asker, working_for


def test_whoever_throws_work_away_unfinished_goes_on_for_whom_they_did() -> None:
    async def work() -> None:
        with working_for(Asker("somebody")):
            await Deferred()

    coroutine = work()
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()
    assert asker() is INTERNAL
