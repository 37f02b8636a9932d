"""The committed rows, kept by a witness from every commit, and what may not be about them (design.md section 5)."""

from __future__ import annotations

import enum
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from buildtool.model.matching.satisfaction import satisfies
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    AuditEvent,
    Build,
    BuildState,
    Mail,
    Refusal,
    RememberedFailure,
    Request,
    RequestState,
)
from buildtool.model.servers import HeldState, Offer, ProjectSkill, Server
from buildtool.project.definition import Project
from tests.simulation.clock import Life
from tests.simulation.declines import Declines
from tests.simulation.projects import Truths
from tests.simulation.trace import Trace
from tests.support.matching import can_build

OPEN = (BuildState.QUEUED, BuildState.RUNNING)
SLACK = 20.0
"""Seconds by which a message may be late."""

THAWS = 0.1
"""Seconds after a metaserver that stood still goes on in which it commits what it had decided before."""

ROUNDED = 0.01
"""Seconds by which the clock may be off that a decision was taken at."""

IDLE = 120.0
"""Seconds for which a build may wait beside a server that could take it, once nothing goes wrong any more."""

SAID = (AttemptEnd.FAILED, AttemptEnd.MISTAKEN, AttemptEnd.RETURNED, AttemptEnd.BROKEN, AttemptEnd.LIMITED)
"""How an Attempt ends only because its server says so."""

HOLDS_SLOT = (AttemptState.OFFERED, AttemptState.BUILDING, AttemptState.ABORTING)
RUNS = (AttemptState.OFFERED, AttemptState.BUILDING)


class Spoilt(enum.Enum):
    """What has become of an artifact's file behind everybody's back."""

    DELETED = "deleted"
    OVERWRITTEN = "overwritten"
    ROTTEN = "rotten"
    """A bit of it differs, and the file system says that nothing was changed."""


@define(eq=False)
class Ledger:
    """What is committed, and what was wrong about it."""

    trace: Trace
    project: Project
    truths: Truths
    file_of: Callable[[str], bytes | None]
    lease: float
    honest: set[str] = field(factory=set)
    violations: list[str] = field(factory=list)
    requests: dict[int, Request] = field(factory=dict)
    builds: dict[int, Build] = field(factory=dict)
    attempts: dict[tuple[int, int], Attempt] = field(factory=dict)
    servers: dict[str, Server] = field(factory=dict)
    refusals: dict[tuple[int, str], Refusal] = field(factory=dict)
    artifacts: dict[int, Artifact] = field(factory=dict)
    mails: dict[str, Mail] = field(factory=dict)
    open_keys: dict[str, int] = field(factory=dict)
    slots: Counter[str] = field(factory=Counter)
    by_client: dict[str, int] = field(factory=dict)
    letters: defaultdict[int, set[str]] = field(factory=lambda: defaultdict(set))
    made: dict[tuple[str, str], tuple[str, str]] = field(factory=dict)
    cancelled: set[int] = field(factory=set)
    aborted: set[int] = field(factory=set)
    allowed: frozenset[str] | None = None
    perhaps_allowed: frozenset[str] | None = None
    commits: int = 0
    _keys: dict[str, str] = field(factory=dict)
    held: dict[str, dict[tuple[int, int], HeldState]] = field(factory=dict)
    kept: dict[str, set[tuple[int, int]]] = field(factory=dict)
    dropped: dict[tuple[str, tuple[int, int]], float] = field(factory=dict)
    paused: dict[str, str] = field(factory=dict)
    perhaps_paused: dict[str, list[tuple[Life, str]]] = field(factory=dict)
    reported: dict[tuple[str, tuple[int, int]], set[AttemptEnd]] = field(factory=dict)
    useless: set[tuple[str, tuple[int, int]]] = field(factory=set)
    """What honest build servers delivered, made in less than its build demands."""

    projects_fault: set[tuple[str, tuple[int, int]]] = field(factory=set)
    """What exceeded a limit of its project on an honest build server, or failed there."""

    spoilt: dict[str, tuple[Spoilt, float]] = field(factory=dict)
    started_at: float = 0.0
    stood_still: tuple[float, float] = (0.0, 0.0)
    """From when until when the metaserver did nothing: what it commits then was decided before."""

    starts: int = 0
    unkept: set[tuple[int, int]] = field(factory=set)
    asked_at: dict[int, float] = field(factory=dict)
    _before: dict[str, Server] = field(factory=dict)
    _came_back: defaultdict[str, set[tuple[int, int]]] = field(factory=lambda: defaultdict(set))
    _idle: dict[int, float] = field(factory=dict)
    _ended_at_once: Counter[str] = field(factory=Counter)
    _builds_before: dict[int, Build] = field(factory=dict)
    _refused: dict[tuple[int, str], float] = field(factory=dict)
    _heard: dict[tuple[str, tuple[int, int]], float] = field(factory=dict)
    declines: Declines = field(init=False)
    _policy: Any = field(init=False)
    _comparisons: Mapping[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._policy = self.project.scheduling()
        self._comparisons = dict(self._policy.comparisons)
        self.declines = Declines(self._policy)

    def wrong(self, what: str) -> None:
        """Write a violation down."""
        self.trace.say("VIOLATION", what)
        self.violations.append(what)

    def _check(self, holds: object, what: str) -> None:
        if not holds:
            self.wrong(what)

    @property
    def before(self) -> dict[str, Server]:
        """The servers that the newest commit changed, as they were."""
        return self._before

    def key_of(self, letter_id: str) -> str:
        """Return the key of a mail by its Message-ID, "" for one that tells of many others."""
        return self._keys.get(letter_id, "")

    # --- what is committed --------------------------------------------------------------------------------

    def committed(self, transaction: tuple[Any, ...]) -> None:
        """A transaction that writes has taken effect."""
        name, *arguments = transaction
        if name != "_commit":
            self.trace.say("database", f"{name} {arguments[1] if name == '_mark' else arguments[0]}")
            return
        self.commits += 1
        rows, happened, now = arguments
        self._before.clear()
        self._ended_at_once = Counter(row.server for row in rows if type(row) is Attempt)
        self._builds_before = {
            row.id: self.builds[row.id] for row in rows if type(row) is Build and row.id in self.builds
        }
        self.trace.say("database", _words(rows, happened))
        self._note_unkept(happened)
        self._note_back(rows)
        order: tuple[type, ...] = (Server, Artifact, RememberedFailure, Refusal, Build, Attempt, Request, Mail)
        for kind in order:
            for row in rows:
                if type(row) is kind:
                    self._put(row, now)
        for row in rows:
            if type(row) is Server:
                self._check_session(row)
            elif type(row) is Request:
                self._check_request(row, now)
            elif type(row) is Build:
                self._check_build(row, self._builds_before.get(row.id), now)
        self._check_revoked(happened)

    def _check_revoked(self, happened: Sequence[AuditEvent]) -> None:
        """What a machine had whose connection ended since its key was revoked is waited for no longer."""
        for one in happened:
            name = one.subject.removeprefix("server/")
            if one.kind == "server-disconnected" and one.detail.startswith(revoked(name)):
                left = [
                    row.key
                    for row in self.attempts.values()
                    if row.server == name and row.state is not AttemptState.ENDED
                ]
                gone = not self.servers[name].connected
                self._check(not (left and gone), f"the key of {name} was revoked, and its attempts {left} go on")

    def _note_unkept(self, happened: Sequence[AuditEvent]) -> None:
        """What is finished, and finds no room at the metaserver, takes no slot."""
        for one in happened:
            if one.kind == "artifact-unkept":
                build_id, _, epoch = one.subject.removeprefix("attempt/").partition(".")
                self.unkept.add((int(build_id), int(epoch)))

    def _note_back(self, rows: Sequence[Any]) -> None:
        """Note what went missing and came back within one batch: something else may have begun in its place between.

        Of its own row nothing tells, but that its Build is not to go there again.
        """
        refused = {(row.build_id, row.server) for row in rows if type(row) is Refusal}
        self._came_back.clear()
        for row in rows:
            if type(row) is Attempt and (row.build_id, row.server) in refused:
                old = self.attempts.get(row.key)
                if old is not None and old.state in HOLDS_SLOT and row.state in HOLDS_SLOT:
                    self._came_back[row.server].add(row.key)

    def _put(self, row: Any, now: float) -> None:
        match row:
            case Server():
                self._put_server(row)
            case Artifact():
                self.artifacts[row.id] = row
                if not row.withdrawn:
                    self._check_artifact(row)
            case Refusal():
                self._put_refusal(row)
            case Build():
                self._put_build(row)
            case Attempt():
                self._put_attempt(row, now)
            case Request():
                self._put_request(row)
            case Mail():
                self.mails[row.key] = row
                self._keys[message_id(row.key)] = row.key
            case _:
                pass

    def _put_server(self, row: Server) -> None:
        old = self.servers.get(row.name)
        self._check(old is None or row.session >= old.session, f"session of {row.name} goes back")
        self._before[row.name] = old if old is not None else row
        may_be = {self.paused.get(row.name, ""), *(paused for _, paused in self.perhaps_paused.get(row.name, ()))}
        self._check(row.paused in may_be, f"{row.name} is paused {row.paused!r}, which nobody asked for")
        self.servers[row.name] = row

    def _put_request(self, row: Request) -> None:
        before = self.requests.get(row.id)
        self.asked_at.setdefault(row.id, self.trace.now)
        if before is not None:
            self._check(before.client_id == row.client_id, f"request {row.id} is overwritten by another")
            was, now = before.demand, row.demand  # who is admitted anew takes nothing near any more
            same = (was.spec, was.ref) == (now.spec, now.ref) and {*now.acceptable} <= {*was.acceptable}
            self._check(same, f"request {row.id} is for something else than it was asked for")
            if before.state is not RequestState.WAITING:
                self._check(
                    (before.state, before.artifact_id) == (row.state, row.artifact_id),
                    f"request {row.id} ended {before.state.value} and then {row.state.value}",
                )
        self.requests[row.id] = row

    def _put_build(self, row: Build) -> None:
        old = self.builds.get(row.id)
        if old is not None and old.state not in OPEN:
            self._check(old.state is row.state, f"build {row.id} ended {old.state.value}, then is {row.state.value}")
        self._check(old is None or (old.key == row.key and row.epoch >= old.epoch), f"build {row.id} goes back")
        self.builds[row.id] = row
        holder = self.open_keys.get(row.key)
        if row.state in OPEN:
            free = holder in (None, row.id) or self.builds[holder or 0].state not in OPEN
            self._check(free, f"builds {holder} and {row.id} are open and have the same key")
            self.open_keys[row.key] = row.id
        elif holder == row.id:
            del self.open_keys[row.key]

    def _put_attempt(self, row: Attempt, now: float) -> None:
        old = self.attempts.get(row.key)
        if old is None:
            self._heard.setdefault((row.server, row.key), self._decided())
            self._check_start(row, now)
        else:
            self._check(
                (old.server, old.offered_at) == (row.server, row.offered_at),
                f"two attempts of build {row.build_id} have the epoch {row.epoch}",
            )
            self._check(
                old.state is not AttemptState.ENDED or row.end is old.end, f"attempt {row.key} ends in two ways"
            )
            self._check_step(old, row)
        before = old.state in HOLDS_SLOT if old is not None else False
        self.slots[row.server] += (row.state in HOLDS_SLOT) - before
        self.attempts[row.key] = row
        if row.state is AttemptState.ENDED and (old is None or old.state is not AttemptState.ENDED):
            self._check_end(row)
        server = self.servers.get(row.server)
        if old is None and server is not None:  # one that comes back may find its place taken
            most = server.capability.max_builds
            waits = {key for key in self.unkept if self.attempts[key].server == row.server} | self._came_back[
                row.server
            ]
            taken = self.slots[row.server] - min(most, sum(self.attempts[key].state in HOLDS_SLOT for key in waits))
            self._check(taken <= most, f"{row.server} has {taken} of {most} slots")

    def _decided(self) -> float:
        """Return when was decided what is being committed."""
        since, until = self.stood_still
        return since if until <= self.trace.now < until + THAWS else self.trace.now

    def _put_refusal(self, row: Refusal) -> None:
        """Note a refusal; a machine that has changed may be asked at once, so that its refusal ends before its time."""
        key, server, before = (row.build_id, row.server), self.servers.get(row.server), self._before.get(row.server)
        changed = server is not None and before is not None and before.capability != server.capability
        if changed and key in self.refusals and row.until < self.refusals[key].until:
            self._refused.pop(key, None)
            self.declines.changed(key)
        self.refusals[row.build_id, row.server] = row

    def _check_start(self, row: Attempt, now: float) -> None:
        where = f"attempt {row.build_id}.{row.epoch} on {row.server}"
        build, server = self.builds.get(row.build_id), self.servers.get(row.server)
        if build is None or server is None:
            self.wrong(f"{where}: there is no such build or server")
            return
        # A batch holds several decisions: what began in one may be called off in the next, and servers may leave.
        if row.end is AttemptEnd.LOST:
            return
        self._check(row.state in (AttemptState.OFFERED, AttemptState.ABORTING), f"{where} begins {row.state.value}")
        wanted = build.state is BuildState.RUNNING or row.state is AttemptState.ABORTING
        self._check(wanted, f"{where}: its build has ended, or waits ({build.state.value})")
        self._check(build.epoch == row.epoch, f"{where}: its build is at epoch {build.epoch}")
        known = (server, self._before.get(row.server, server))
        there = any(one.connected and one.session == row.session for one in known)
        self._check(there, f"{where}: not its session")
        self._check(any(not one.quarantined_until for one in known), f"{where}: it is in quarantine")
        self._check(any(not one.paused for one in known), f"{where}: it is paused")
        self._check(any(not one.closed for one in known), f"{where}: its owner lets it take nothing")
        self._check(any(not one.draining for one in known), f"{where}: it drains")
        self._check(self.allowed is None or row.server in self.allowed, f"{where}: it may not build the project")
        since = self.trace.now - self._refused.get((row.build_id, row.server), float("-inf"))
        self._check(since >= self._policy.refusal_first - 0.01, f"{where}: it said no {since:.1f} s ago")
        early = self.declines.too_early((row.build_id, row.server), self.trace.now)
        self._check(not early, f"attempt begins although {row.server}: {early} ({where})")
        skill = ProjectSkill(build.spec.project, build.spec.recipe_version, self._policy.options_digest)
        able = can_build(build.spec, server.capability, skill, self._comparisons)
        self._check(isinstance(able, Offer), f"{where}: it cannot build that: {able}")
        refusal = self.refusals.get((row.build_id, row.server))
        self._check(refusal is None or refusal.until <= row.offered_at, f"{where}: it has just refused that")
        self._check(row.server not in build.failed_on, f"{where}: it has failed there")
        others = [
            other.epoch for other in self.attempts.values()
            if other.build_id == row.build_id and other.epoch != row.epoch and other.state in RUNS
        ]  # fmt: skip
        self._check(not others, f"{where}: epoch {others} still runs")

    def _check_step(self, old: Attempt, row: Attempt) -> None:
        """What a Lease that ends, and a server that comes back, may do to an Attempt."""
        what, now = f"attempt {row.build_id}.{row.epoch} on {row.server}", self.trace.now
        build, held = self.builds[row.build_id], self.held.get(row.server, {}).get(row.key)
        if row.state is AttemptState.MISSING and old.state is not AttemptState.MISSING:
            waited = now - max(self.started_at, self._heard[row.server, row.key])
            self._check(waited >= self.lease - ROUNDED, f"{what} is believed missing after {waited:.3f} s")
        elif old.state is AttemptState.MISSING and row.state is AttemptState.BUILDING and old.struck:
            server, before = self.servers[row.server], self._before.get(row.server, self.servers[row.server])
            back = server.strikes < before.strikes or server.quarantined_until < before.quarantined_until
            back = back or not (before.strikes or before.quarantined_until)
            back = back or self._ended_at_once[row.server] > 1  # another may have been struck in the same batch
            self._check(back, f"{what} came back, and its strike stays")
        elif (
            (old.state, row.state) == (AttemptState.MISSING, AttemptState.ENDED) and row.end is AttemptEnd.LOST and held
        ):
            alone = build.state is BuildState.QUEUED and build.epoch == row.epoch
            self._check(not alone, f"{what} is thrown away, though it is there and nobody else has its build")
            useless = (row.server, row.key) in self.useless or self.reported.get((row.server, row.key))
            wasted = held is HeldState.DONE and build.state in OPEN and not useless
            self._check(not wasted, f"{what} is thrown away, though it is done")
        elif old.state is AttemptState.BUILDING and row.end is AttemptEnd.LOST:
            lost = row.key in self.kept.get(row.server, ()) and build.state in OPEN
            self._check(not lost, f"{what} had ended, was kept, and is lost")

    def _check_end(self, row: Attempt) -> None:
        if row.end is AttemptEnd.REFUSED:
            self._refused[row.build_id, row.server] = self.trace.now
        if row.end is not None:
            self.declines.ended((row.build_id, row.server), row.end, self._decided())
            self.declines.gave_up(row.server, row.end, row.ended_at or 0.0)
        self._check(row.frozen_at is None, f"attempt {row.key} has ended, and stands still")
        build = self.builds[row.build_id]
        if row.end in (AttemptEnd.RETURNED, AttemptEnd.LIMITED):
            known = self._before.get(row.server, self.servers[row.server])
            alone = self._ended_at_once[row.server] <= 1  # else another may have been struck in the same batch
            struck = self.servers[row.server].strikes > known.strikes and alone
            self._check(not struck, f"attempt {row.key} ended {row.end.value}, and {row.server} was struck for it")
        if row.end in SAID and row.server in self.honest:
            said = row.end in self.reported.get((row.server, row.key), ())
            said = said or (row.end is AttemptEnd.RETURNED and row.reason.startswith(revoked(row.server)))
            said = said or row.reason.startswith(f"{row.server} delivered what may not be used")
            self._check(said, f"attempt {row.key} ended {row.end.value}, and {row.server} never said so")
        if row.end is AttemptEnd.FAILED and row.server in self.honest:
            truth = self.truths.of(build.spec.revision, str(dict(build.spec.options)["colour"]))
            failed = truth.fails or (row.server, row.key) in self.projects_fault
            self._check(failed, f"attempt {row.key} on {row.server} failed, and nothing is wrong with that build")
        if row.end is AttemptEnd.MISTAKEN and row.server in self.honest:
            truth = self.truths.of(build.spec.revision, str(dict(build.spec.options)["colour"]))
            self._check(truth.cannot, f"attempt {row.key} on {row.server} is called a mistake, and is none")
            self._check(build.state not in OPEN, f"build {build.id} is a mistake, and is tried again")

    def _check_artifact(self, row: Artifact) -> None:
        data = self.file_of(row.digest)
        what = f"artifact {row.id} of build {row.build_id}.{row.epoch} from {row.server}"
        if data is None:
            self._check(row.digest in self.spoilt, f"{what}: its file is not there")
        elif row.digest not in self.spoilt:
            self._check(hashlib.sha256(data).hexdigest() == row.digest, f"{what}: its bytes differ from the digest")
        if row.server in self.honest:
            made = self.made.get((row.server, row.digest))
            wanted = (row.shelf.revision, str(dict(row.options)["colour"]))
            self._check(made == wanted, f"{what}: never made there (it made {made})")

    def _check_build(self, row: Build, old: Build | None, now: float) -> None:
        if row.state is BuildState.FAILED:
            ends = {it.end for it in self.attempts.values() if it.build_id == row.id}
            mistaken = AttemptEnd.MISTAKEN in ends
            self._check(
                mistaken or AttemptEnd.FAILED in ends, f"build {row.id} failed, and no attempt of it did: {row.reason}"
            )
            if (old is None or old.state in OPEN) and not mistaken:
                self._check_confirmed(row, now)
        if row.state is BuildState.SUCCEEDED:
            self._check(row.artifact_id in self.artifacts, f"build {row.id} succeeded without an artifact")
        if row.state is BuildState.RUNNING:
            attempt = self.attempts.get((row.id, row.epoch))
            live = attempt is not None and attempt.state is not AttemptState.ENDED
            self._check(live, f"build {row.id} runs, and no attempt of it does")

    def _check_session(self, row: Server) -> None:
        """What a server did not bring to its new Session is not believed any more."""
        for attempt in self.attempts.values():
            if attempt.server == row.name and attempt.state in HOLDS_SLOT and row.connected:
                ours = attempt.session == row.session
                self._check(ours, f"attempt {attempt.key} on {row.name} is of session {attempt.session}, which is over")

    def check_waiting(self, wall: float, *, awake: bool) -> None:
        """No build waits for long while a server is there that could take it: wake-ups are not lost."""
        if not awake:
            self._idle.clear()
            return
        waiting = [self.builds[build_id] for build_id in self.open_keys.values()]
        for build in waiting:
            if build.state is not BuildState.QUEUED or build.not_before > wall:
                self._idle.pop(build.id, None)
                continue
            idle = [server.name for server in self.servers.values() if self._could_take(server, build, wall)]
            since = (
                self._idle.setdefault(build.id, self.trace.now) if idle else self._idle.pop(build.id, self.trace.now)
            )
            waits = self.trace.now - since
            self._check(waits < IDLE, f"build {build.id} waits, and {idle} could take it for {waits:.0f} s")

    def _could_take(self, server: Server, build: Build, wall: float) -> bool:
        refusal = self.refusals.get((build.id, server.name))
        free = server.takes and self.slots[server.name] < server.capability.max_builds
        if (
            not self._surely_may(server)
            or not free
            or server.name in build.failed_on
            or (refusal is not None and refusal.until > wall)
        ):
            return False
        skill = ProjectSkill(build.spec.project, build.spec.recipe_version, self._policy.options_digest)
        return isinstance(can_build(build.spec, server.capability, skill, self._comparisons), Offer)

    def _surely_may(self, server: Server) -> bool:
        return self.perhaps_allowed is None or server.name in self.perhaps_allowed

    def _check_confirmed(self, row: Build, now: float) -> None:
        """A failure is final once it was repeated, unless nobody is there who could."""
        if len(row.failed_on) > self._policy.confirm_failures:
            return
        skill = ProjectSkill(row.spec.project, row.spec.recipe_version, self._policy.options_digest)
        for server in self.servers.values():
            there = server.connected and self._before.get(server.name, server).connected and not server.away_until(now)
            able = can_build(row.spec, server.capability, skill, self._comparisons)
            asked = server.name in row.failed_on or not self._surely_may(server)
            if there and not asked and isinstance(able, Offer):
                self.wrong(f"build {row.id} failed for good, and {server.name} was not asked to repeat it")

    def _check_request(self, row: Request, now: float) -> None:
        state, what = row.state, f"request {row.id}"
        build = self.builds.get(row.build_id) if row.build_id is not None else None
        if state is RequestState.WAITING:
            self._check(build is not None and build.state in OPEN, f"{what} waits for a build that is not open")
        elif state is RequestState.SATISFIED:
            artifact = self.artifacts.get(row.artifact_id or 0)
            if artifact is None:
                self.wrong(f"{what} is satisfied by nothing")
                return
            missing = satisfies(artifact, row.demand, self._comparisons)
            self._check(not missing, f"{what} is satisfied by artifact {artifact.id}: {missing}")
            self._check_artifact(artifact)
        elif state is RequestState.FAILED:
            self._check(build is not None and build.state is BuildState.FAILED, f"{what} failed, and no build did")
            same = build is not None and build.spec.revision == row.demand.spec.revision
            self._check(same, f"{what} is told of the failure of another revision")
        elif state is RequestState.CANCELLED:
            asked = row.id in self.cancelled or row.build_id in self.aborted
            self._check(asked, f"{what} is cancelled, and nobody asked for that")
        elif state is RequestState.EXPIRED:
            self._check(row.expires_at <= now, f"{what} expired too early")
            # However the clock was set meanwhile: a short absence, or a step during one, may count for a minute each.
            lived, due = self.trace.now - self.asked_at[row.id], self._policy.request_ttl - 70.0 * self.starts - SLACK
            self._check(lived >= due, f"{what} expired after {lived:.0f} s, {due:.0f} s would have been too early")


def revoked(name: str) -> str:
    """Return how the reasons begin of what ends since the key of a build server was revoked."""
    return f"the key of {name} was revoked"


def message_id(key: str) -> str:
    """Return the Message-ID of a mail of the outbox."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@example.org>"


def _words(rows: Sequence[Any], happened: Sequence[AuditEvent]) -> str:
    return " ".join(_row(row) for row in rows) or " ".join(it.kind for it in happened)


def _row(row: Any) -> str:  # noqa: PLR0911 - one line a kind
    match row:
        case Request():
            return f"request/{row.id}={row.state.value}:{row.build_id}"
        case Build():
            return f"build/{row.id}={row.state.value}"
        case Attempt():
            end = f":{row.end.value}" if row.end is not None else ""
            return f"attempt/{row.build_id}.{row.epoch}@{row.server}={row.state.value}{end}"
        case Server():
            return f"server/{row.name}={row.session}:{'in' if row.connected else 'out'}"
        case Refusal():
            return f"refusal/{row.build_id}@{row.server}"
        case Artifact():
            return f"artifact/{row.id}:{row.digest[:8]}{'-' if row.withdrawn else ''}"
        case Mail():
            return f"mail/{row.key}"
        case _:
            return type(row).__name__.lower()


def path_of(directory: Path, digest: str) -> Path:
    """Return where the metaserver keeps an artifact."""
    return directory / "artifacts" / digest[:2] / f"{digest}.zip"
