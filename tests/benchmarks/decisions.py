"""Decisions alone, without database or network: 1,000 build servers, 50,000 queued builds.

A farm as it could be: five architectures, four versions of the C library, three sizes of machines. Three of the
architectures have more work than machines, so that all their builds queue; on the other two machines are idle.
Measured is what the broker's one thread does for an event between two commits: what has to be loaded, the decision,
the rows to be written, and the end of the journal.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from buildtool.model.options import canonical, number
from buildtool.model.policy import Policy
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.records import Attempt, AttemptEnd, BuildSpec, Demand
from buildtool.model.servers import Capability, Offer, ProjectSkill
from buildtool.scheduling.decide import Decision, decide, shelves_needed
from buildtool.scheduling.effects import Dispatch
from buildtool.scheduling.events import (
    AttemptAccepted,
    AttemptEnded,
    Delivered,
    Disconnected,
    Event,
    Registered,
    Submitted,
)
from buildtool.scheduling.state.state import State
from tests.benchmarks.figures import Board
from tests.benchmarks.world import World, progress

SERVERS = 1_000
QUEUED = 50_000
RUNS = 3
SAMPLES = 1_000
"""Decisions of one kind in one run."""

SUBMISSION = "decision_submission_ms_p99"
IDLE = "decision_server_idle_ms_p99"
REGISTERS = "decision_server_registers_ms_p99"
FINISHED = "decision_artifact_finished_ms_p99"
KINDS = (SUBMISSION, IDLE, REGISTERS, FINISHED)
WORST = "decision_ms_p99"

_BUSY = ("x86_64", "aarch64", "ppc64le")
_CALM = ("riscv64", "s390x")
_LIBC = ("2.28", "2.31", "2.36", "2.39")
_MEMORY = (2_048, 8_192, 32_768)
_OPTIONS = ProjectOptions(standard("os", "arch", "libc", "libc_version", "memory"), (number("number", default=0),))
_SKILL = ProjectSkill("farm", 1, _OPTIONS.digest())


def take(_world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    if not board.wants(WORST, *KINDS):
        return
    progress(f"decisions: {SERVERS:,} servers, {QUEUED:,} queued builds")
    farm = Farm()
    runs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(RUNS):
        for kind, act in (
            (SUBMISSION, farm.submit),
            (IDLE, farm.go_idle),
            (REGISTERS, farm.register),
            (FINISHED, farm.finish),
        ):
            runs[kind].append(_p99(act))
            farm.settle()
    for kind in KINDS:
        board.put(kind, runs[kind])
    worst = max(KINDS, key=lambda kind: board.taken[kind].value)
    board.put(WORST, runs[worst])


def _p99(act: Callable[[], float]) -> float:
    took = sorted(act() for _ in range(SAMPLES))
    return took[int(SAMPLES * 0.99)] * 1_000


class Farm:
    """A State with everything in it, changed by decisions only; each method takes one and says how long it took."""

    def __init__(self, queued: int = QUEUED) -> None:
        self._queued = queued
        policy = Policy(1, _OPTIONS.digest(), tuple(sorted(_OPTIONS.comparisons().items())))
        self.state = State({"farm": policy})
        self._draw = random.Random(11)
        self.now = 1_000_000.0
        self._number = 0
        self._running: dict[str, list[Attempt]] = {}
        for index in range(SERVERS):
            self._do(Registered(f"server-{index:04d}", self._capability(index)))
        while self.state.queue.waiting() < self._queued:
            self._do(self._submission(self._draw.choice(_BUSY)))

    # --- what is measured --------------------------------------------------------------------------------

    def submit(self) -> float:
        """Submit something new: two of three times where all machines are busy, else where some are idle."""
        self._number += 1
        return self._timed(self._submission(self._draw.choice(_BUSY if self._number % 3 else _CALM)))

    def go_idle(self) -> float:
        """Let a build fail, so that its machine is idle and takes the next."""
        attempt = self._any_running()
        return self._timed(
            AttemptEnded(
                attempt.server, attempt.session, attempt.build_id, attempt.epoch, AttemptEnd.FAILED, "make: Error 2"
            )
        )

    def register(self) -> float:
        """Let a machine come back that had left, with a little less free memory than before."""
        index = self._draw.randrange(SERVERS)
        name = self.leave(index)
        return self._timed(Registered(name, self._capability(index)))

    def leave(self, index: int) -> str:
        """Let a machine leave, and return its name."""
        name = f"server-{index:04d}"
        self._do(Disconnected(name, self.state.servers[name].session, "gone"))
        self._running.pop(name, None)
        return name

    def finish(self) -> float:
        """Publish an artifact, which satisfies whoever waits for it; the machine takes the next build."""
        attempt = self._any_running()
        digest = f"{attempt.build_id:064x}"
        return self._timed(
            Delivered(
                attempt.server,
                attempt.session,
                attempt.build_id,
                attempt.epoch,
                digest,
                digest,
                65_536,
                "farm.zip",
                2.0,
            )
        )

    def settle(self) -> None:
        """Submit until the queue is as long as it should be again."""
        while self.state.queue.waiting() < self._queued:
            self._do(self._submission(self._draw.choice(_BUSY)))

    # --- how ---------------------------------------------------------------------------------------------

    def _timed(self, event: Event) -> float:
        began = time.perf_counter()
        decision = self._take(event)
        took = time.perf_counter() - began
        self._follow(decision)
        return took

    def _do(self, event: Event) -> None:
        self._follow(self._take(event))

    def _take(self, event: Event) -> Decision:
        """Take one event as the broker does."""
        state = self.state
        for key in shelves_needed(state, event):
            if key not in state.shelves.kept:
                state.shelves.stock(key, state.shelves.get(key))
        decision = decide(state, event, self.now)
        state.journal.rows()
        state.committed()
        state.timers.next_due(self.now)
        return decision

    def _follow(self, decision: Decision) -> None:
        """Do what the machines would: take what they are offered."""
        self.now += 0.01
        for effect in decision.effects:
            if isinstance(effect, Dispatch):
                one = effect.attempt
                self._running.setdefault(one.server, []).append(one)
                self._take(AttemptAccepted(one.server, one.session, one.build_id, one.epoch))

    def _any_running(self) -> Attempt:
        while True:
            name = self._draw.choice(list(self._running))
            attempts = self._running[name]
            attempt = attempts.pop(self._draw.randrange(len(attempts)))
            if not attempts:
                del self._running[name]
            if attempt.key in self.state.attempts:
                return attempt

    def _submission(self, arch: str) -> Submitted:
        self._number += 1
        spec = BuildSpec(
            project="farm",
            source="",
            revision=f"{self._number % 997:040x}",
            recipe_version=1,
            options=_OPTIONS.compile_values({"number": self._number}),
            platform=canonical(
                {"os": "linux", "arch": arch, "libc": "glibc", "libc_version": self._draw.choice(_LIBC)}
            ),
            machine=canonical({"memory": self._draw.choice(_MEMORY)}),
        )
        demand = Demand(spec, "main", "", (spec.revision,))
        client = f"{self._number:032x}"
        return Submitted(client, client, f"somebody-{self._number % 50}@example.org", demand)

    def _capability(self, index: int) -> Capability:
        arch = (*_BUSY, *_CALM)[index % 5]
        libc, memory = _LIBC[index // 5 % 4], _MEMORY[index // 20 % 3] + self._draw.randrange(500)
        platform = canonical({"os": "linux", "arch": arch, "libc": "glibc", "libc_version": libc})
        machine = canonical({"memory": memory, "cpus": 2 + index % 7})
        return Capability((Offer(platform),), machine, (_SKILL,), max_builds=4 if arch in _CALM else 1 + index % 2)
