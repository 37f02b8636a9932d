"""Sandboxes in a simulated farm: machines that have one, another one or none, and people who demand one.

A witness knows what each machine announced, in what it really built, and what was demanded, without the program's own
comparison: nobody may be given what was made in less, and nothing may be believed that was not announced.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, field

from buildtool.model.matching.reasons import Cause
from buildtool.model.records import Artifact, Attempt, Build, BuildState, JoinReason, Request, RequestState
from buildtool.model.servers import Server
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol.messages import Done, Order, RequestStatus, Submit
from buildtool.scheduling.state.state import State
from buildtool.scheduling.waiting import why
from tests.simulation.faults import Faults
from tests.simulation.invariants import Watch

NONE, WEAK, STRICT = SandboxLevel
MATTERS = 0.6
"""In how many worlds there are sandboxes, and somebody wants one."""

WORSE = 0.15
"""How many lives of build servers find out while they build that their sandbox is none."""

WORTH = {NONE: 0, WEAK: 1, STRICT: 2}
"""The levels in their order, which the witness does not take from the program."""

Key = tuple[int, int]


def matters(seed: int) -> random.Random | None:
    """Return what a world with sandboxes draws their levels from, None for a world without."""
    rng = random.Random(f"{seed} sandboxes")
    return rng if rng.random() < MATTERS else None


def of_project(rng: random.Random | None) -> SandboxLevel:
    """Return what the project demands in this world."""
    return rng.choice((NONE, NONE, WEAK, STRICT)) if rng is not None else NONE


@define(eq=False)
class Sandboxes:
    """The levels of one world. ``demanded`` is the project's own."""

    rng: random.Random | None
    demanded: SandboxLevel
    watch: Watch
    faults: Faults
    wishes: dict[str, SandboxLevel] = field(factory=dict)
    announced: dict[tuple[str, int], SandboxLevel] = field(factory=dict)
    began: dict[Key, SandboxLevel] = field(factory=dict)
    made: dict[tuple[str, str], SandboxLevel] = field(factory=dict)

    # --- what is drawn --------------------------------------------------------------------------------------

    def of_life(self) -> SandboxLevel:
        """Return in what a build server builds for a life of it: another one may find something else."""
        if self.rng is None:
            return NONE
        return self.rng.choice((NONE, WEAK, STRICT, STRICT)) if self.faults.on else STRICT

    def really(self, announced: SandboxLevel) -> SandboxLevel:
        """Return in what a life of an honest build server really builds that announced this, and says so."""
        worse = self.rng is not None and self.faults.on and self.rng.random() < WORSE
        return NONE if worse else announced

    def claimed(self) -> SandboxLevel:
        """Return what a liar says."""
        return self.rng.choice((NONE, WEAK, STRICT)) if self.rng is not None else NONE

    def wish(self) -> SandboxLevel:
        """Return what somebody demands."""
        return self.rng.choice((NONE, NONE, NONE, WEAK, STRICT)) if self.rng is not None else NONE

    # --- what happens ---------------------------------------------------------------------------------------

    def asked(self, item: Submit) -> Submit:
        """Somebody is about to ask for this."""
        self.wishes[item.client_id] = max((item.sandbox, self.demanded), key=WORTH.__getitem__)
        return item

    def packed(self, server: str, digest: str, level: SandboxLevel) -> None:
        """An honest build server has made something in a sandbox of this level."""
        self.made[server, digest] = level

    def delivers(self, name: str, end: Done) -> None:
        """An honest build server is about to deliver this, which nobody may use that was made in less than demanded."""
        build = self.watch.builds.get(end.build_id)
        if build is not None and WORTH[end.sandbox] < WORTH[build.spec.policy.sandbox]:
            self.watch.useless.add((name, (end.build_id, end.epoch)))

    def ordered(self, name: str, order: Order, level: SandboxLevel) -> None:
        """An honest build server that builds in this level is told to build."""
        self._enough(level, order.sandbox, f"{name} was told to build {order.build_id}.{order.epoch}")
        build = self.watch.builds.get(order.build_id)
        same = build is None or build.spec.policy.sandbox is order.sandbox
        self._check(same, f"the order for build {order.build_id} demands {order.sandbox.value}, its build does not")

    def committed(self, rows: Sequence[Any]) -> None:
        """These rows are committed, and the watch has taken them in."""
        for row in rows:
            if type(row) is Server:
                self.announced[row.name, row.session] = row.capability.sandbox
        for row in rows:
            if type(row) is Attempt:
                self._attempt(row)
        for row in rows:
            if type(row) is Artifact:
                self._artifact(row)
            elif type(row) is Request:
                self._request(row)

    def told(self, how: str, told: RequestStatus) -> None:
        """Somebody was told how a Request stands."""
        row = self.watch.requests.get(told.request_id)
        if row is None:
            return
        wanted, what = self._wanted(row), f"request {row.id}, told by {how}"
        self._check(told.sandbox is wanted, f"{what}, demands {wanted.value}, and hears {told.sandbox.value}")
        if told.artifact is not None:
            self._enough(told.artifact.sandbox, wanted, what)
            found = [it for it in self.watch.artifacts.values() if it.digest == told.artifact.digest]
            honest = any(it.evidence.sandbox is told.artifact.sandbox for it in found)
            self._check(honest, f"{what}, hears that its artifact was made in {told.artifact.sandbox.value}")

    def check_why(self, state: State, now: float) -> None:
        """*Why* blames the sandbox of exactly those machines whose level is too low for a build that waits."""
        for build in state.builds.values():
            if build.state is BuildState.QUEUED:
                self._check_why(state, build, now)

    # --- checks ---------------------------------------------------------------------------------------------

    def _attempt(self, row: Attempt) -> None:
        level, what = row.evidence.sandbox, f"attempt {row.build_id}.{row.epoch} on {row.server}"
        if row.key not in self.began:
            self.began[row.key] = level
            announced = self.announced.get((row.server, row.session))
            self._check(level is announced, f"{what} began in {level.value}, and its server announced {announced}")
            self._enough(level, self.watch.builds[row.build_id].spec.policy.sandbox, what)
        self._check(WORTH[level] <= WORTH[self.began[row.key]], f"{what} is believed more than when it began")

    def _artifact(self, row: Artifact) -> None:
        level, what = row.evidence.sandbox, f"artifact {row.id} of build {row.build_id}.{row.epoch} from {row.server}"
        began, made = self.began[row.build_id, row.epoch], self.made.get((row.server, row.digest))
        rises = f"{what} is said to be in {level.value}, and began in {began.value}"
        self._check(WORTH[level] <= WORTH[began], rises)
        if made is not None and row.server in self.watch.honest:
            right = min((began, made), key=WORTH.__getitem__)
            self._check(level is right, f"{what} was made in {right.value}, and is said to be in {level.value}")
        self._enough(level, self.watch.builds[row.build_id].spec.policy.sandbox, what)

    def _request(self, row: Request) -> None:
        wanted, what = self._wanted(row), f"request {row.id}"
        level = row.demand.spec.policy.sandbox
        self._check(level is wanted, f"{what} demands {wanted.value}, and is committed with {level.value}")
        artifact = self.watch.artifacts.get(row.artifact_id or 0)
        if row.state is RequestState.SATISFIED and artifact is not None:
            self._enough(artifact.evidence.sandbox, wanted, f"{what} is given artifact {artifact.id}")
        build = self.watch.builds.get(row.build_id or 0)
        if row.state is RequestState.WAITING and build is not None:
            self._joined(row, build, wanted)

    def _joined(self, row: Request, build: Build, wanted: SandboxLevel) -> None:
        """Who waits for a build will be given what it makes, as far as anybody knows."""
        attempt = self.watch.attempts.get((build.id, build.epoch))
        by_attempt = row.joined is JoinReason.ATTEMPT and attempt is not None
        level = attempt.evidence.sandbox if by_attempt and attempt is not None else build.spec.policy.sandbox
        self._enough(level, wanted, f"request {row.id} waits for build {build.id}, joined by {row.joined.value}")

    def _wanted(self, row: Request) -> SandboxLevel:
        # Who asked in another way than by a submission, an operator or a visitor, demands what the project does.
        return self.wishes.get(row.client_id, row.demand.spec.policy.sandbox)

    def _check_why(self, state: State, build: Build, now: float) -> None:
        told, wanted = why(state, build, now), build.spec.policy.sandbox
        blamed = {name: _causes(group.reasons) for group in told.groups for name in group.servers}
        for name, server in state.servers.items():
            causes = blamed.get(name, set())
            if told.halted or Cause.UNSEEN in causes:
                continue
            lower = WORTH[server.capability.sandbox] < WORTH[wanted]
            does = "blames" if Cause.SANDBOX in causes else "does not blame"
            self._check((does == "blames") == lower, f"why of build {build.id} {does} the sandbox of {name}")

    def _enough(self, have: SandboxLevel, wanted: SandboxLevel, what: str) -> None:
        enough = WORTH[have] >= WORTH[wanted]
        self._check(enough, f"{what}: made in {have.value}, and {wanted.value} is demanded")

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            self.watch.wrong(what)


def _causes(reasons: Iterable[Any]) -> set[Cause]:
    return {reason.cause for reason in reasons}
