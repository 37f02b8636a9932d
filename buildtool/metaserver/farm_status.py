"""How everything stands, for the operator: counts that are exact, and lists that are bounded.

Tested by tests/metaserver/test_operations.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from attrs import define

from buildtool.errors import StorageUnavailable
from buildtool.metaserver.broker import Broker
from buildtool.model.records import Attempt, AttemptState, Build, BuildState
from buildtool.model.servers import Server
from buildtool.model.text import duration_words, one_line
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import Conditions, OperatorStore
from buildtool.protocol.messages import ReactorTurns
from buildtool.protocol.operator import FarmStatus, RunningBuildStatus, ServerStatus, WaitingBuildStatus
from buildtool.scheduling.order.rounds import place_of
from buildtool.scheduling.state.state import State
from buildtool.scheduling.waiting import lines, why

SERVERS_SHOWN, RUNNING_SHOWN, WAITING_SHOWN, PROBLEMS_SHOWN, WORDS_SHOWN = 300, 200, 20, 50, 300
"""Most lines of each kind in one answer, and most characters of a reason."""

VEILED = "something is wrong with a project that only others may see"
"""What is told of a problem that would name a project to whoever may not know of it."""


@define
class FarmStatusReader:
    """A maker of ``FarmStatus`` from what the broker has in memory and what the database says of mail."""

    broker: Broker
    history: OperatorStore
    conditions: Conditions
    clock: Clock
    turns: Callable[[], ReactorTurns | None] = lambda: None

    async def read(self, sees: Callable[[str], bool], *, draining: bool) -> FarmStatus:
        """Return the status of the farm, as far as that is known while the database cannot be read.

        Lists are of the projects that a caller ``sees``; the counts are of all.
        """
        unsent: int | None = None
        refused: int | None = None
        troubles = list(self.conditions.problems())
        try:
            unsent, refused = await self.history.mail_left()
        except StorageUnavailable as error:
            if not any(str(error) in line for line in troubles):
                troubles.append(f"the database cannot be read: {error}")
        state, now = self.broker.state, self.clock.wall()
        servers = sorted(state.servers.values(), key=lambda server: (not server.connected, server.name))
        live = [one for one in state.attempts.values() if one.state is not AttemptState.MISSING]
        queued = [build for build in state.builds.values() if build.state is BuildState.QUEUED]
        seen = [build for build in queued if sees(build.spec.project)]
        first = heapq.nsmallest(WAITING_SHOWN, seen, key=place_of)
        return FarmStatus(
            requests=len(state.requests),
            builds_running=len(live),
            builds_waiting=len(queued),
            servers_connected=sum(server.connected for server in servers),
            servers_known=len(servers),
            mail_unsent=unsent,
            mail_refused=refused,
            draining=draining,
            problems=tuple(shortened(line) for line in veiled(troubles, state, sees)[-PROBLEMS_SHOWN:]),
            stands=tuple(_stands(state, server, now) for server in servers[:SERVERS_SHOWN]),
            running=tuple(
                _runs(state, one, now, sees) for one in heapq.nsmallest(RUNNING_SHOWN, live, key=lambda one: one.key)
            ),
            waiting=await self._waiting(first, now),
            turns=self.turns(),
        )

    async def _waiting(self, builds: Sequence[Build], now: float) -> tuple[WaitingBuildStatus, ...]:
        """Return how Builds wait; the reactor turns meanwhile, since why one waits takes milliseconds to find out."""
        waiting = []
        turn = self.broker.turn.anew()
        for build in builds:
            if build.id in self.broker.state.builds:  # it may have ended meanwhile
                waiting.append(_waits(self.broker.state, self.broker.state.builds[build.id], now))
            await turn.breathe()
        return tuple(waiting)


def shortened(text: str) -> str:
    """Return a text in one line of at most ``WORDS_SHOWN`` characters."""
    return one_line(text, WORDS_SHOWN)


def _stands(state: State, server: Server, now: float) -> ServerStatus:
    running, slots = state.slots.load_of(server.name), server.capability.max_builds
    word, reason = _standing(server, running, now)
    return ServerStatus(server.name, word, shortened(reason), running, slots)


def _standing(server: Server, running: int, now: float) -> tuple[str, str]:
    """Return in a word how a build server stands, and why; a pause is told whatever else there is."""
    words, reasons = [], []
    if server.paused:
        words.append("draining" if server.finishing else "paused")
        reasons.append(server.paused)
    if not server.connected:
        words.append("missing" if server.missing_since else "away")
        since = server.missing_since or server.last_seen
        reasons.append(f"last heard of {duration_words(max(0.0, now - since))} ago")
    if server.quarantined_until > now:
        words.append("quarantined")
        left = duration_words(server.quarantined_until - now)
        reasons.append(f"for another {left}: {server.quarantine_reason or 'it broke repeatedly'}")
    if server.draining and "draining" not in words:
        words.append("draining")
    if server.connected and server.closed:
        words.append("closed")
        reasons.append(server.closed)
    return ", ".join(words) or ("building" if running else "idle"), "; ".join(reasons)


def veiled(troubles: Sequence[str], state: State, sees: Callable[[str], bool]) -> list[str]:
    """Return problems without the names of projects that a caller does not see."""
    if not troubles:
        return []  # as nearly always: to look through all open builds would be for nothing
    names = {*state.projects.of, *(build.spec.project for build in state.builds.values())}
    hidden = [name for name in names if not sees(name)]
    return [VEILED if any(name in line for name in hidden) else line for line in troubles]


def _runs(state: State, attempt: Attempt, now: float, sees: Callable[[str], bool]) -> RunningBuildStatus:
    build = state.builds.get(attempt.build_id)
    seen = build is not None and sees(build.spec.project)
    project, revision = (build.spec.project, build.spec.revision) if build is not None and seen else ("", "")
    seconds = max(0.0, now - attempt.offered_at)
    return RunningBuildStatus(*attempt.key, project, revision, attempt.server, attempt.state.value, seconds)


def _waits(state: State, build: Build, now: float) -> WaitingBuildStatus:
    return WaitingBuildStatus(
        build.id,
        build.spec.project,
        build.spec.revision,
        len(state.waiters(build.id)),
        max(0.0, now - build.created_at),
        tuple(shortened(line) for line in lines(why(state, build, now))[:WAITING_SHOWN]),
    )
