"""The operator's desk: how everything stands, and acts that are events like all others, with who did them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, gatherResults

from buildtool.domain.addresses import valid_address
from buildtool.domain.estimates import duration_words
from buildtool.domain.messages import (
    Answer,
    ArtifactGone,
    BuildAborted,
    ConflictingSubmission,
    Dispatched,
    DispatchHeld,
    Event,
    FailureForgotten,
    Hit,
    JoinedBuild,
    KnownFailure,
    Noted,
    Queued,
    RepeatedSubmission,
    ServerForgotten,
    ServerPaused,
    ServerResumed,
    Submitted,
    Tick,
)
from buildtool.domain.model import Artifact, AttemptState, Build, BuildState, Demand, FailedHere, Server
from buildtool.domain.names import busy_in
from buildtool.domain.options import digest_of
from buildtool.domain.state import State
from buildtool.domain.text import one_line
from buildtool.domain.waiting import lines, why
from buildtool.errors import InternalError, NotFound, StillThere, StorageUnavailable, UsageError
from buildtool.metaserver.broker import Broker
from buildtool.operator_protocol import (
    AbortBuild,
    Acted,
    Drain,
    ForgetFailure,
    ForgetServer,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RebuildBuild,
    ResumeServer,
    RunningTold,
    ServerStands,
    Standing,
    WaitingTold,
)
from buildtool.ports import ArtifactRemoval, BrokerStore, Clock, Conditions, OperatorStore
from buildtool.protocol import Turns
from buildtool.settings import Settings
from buildtool.wire import encode

SERVERS_SHOWN, RUNNING_SHOWN, WAITING_SHOWN, PROBLEMS_SHOWN, WORDS_SHOWN = 300, 200, 20, 50, 300
"""Most lines of each kind in one answer, and most characters of a reason."""

NAMES_SHOWN = 20
"""How many names a refusal lists."""

AT_ONCE = 200
"""How many artifacts are withdrawn together."""

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}\Z")
_CLIENT_ID = re.compile(r"[0-9a-f]{32}\Z")


@define
class OperatorDesk:
    """Implements ``ports.OperatorDesk`` over a broker. ``by`` is who acts, in words, to be written down."""

    settings: Settings
    broker: Broker
    store: BrokerStore
    history: OperatorStore
    files: ArtifactRemoval
    conditions: Conditions
    clock: Clock
    turns: Callable[[], Turns | None] = lambda: None
    _draining: str = field(default="", init=False)

    # --- how everything stands ----------------------------------------------------------------------------

    async def standing(self) -> Standing:
        """Say how everything stands, as far as that is known while the database cannot be read."""
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
        first = heapq.nsmallest(WAITING_SHOWN, queued, key=lambda build: (build.place, build.id))
        return Standing(
            requests=len(state.requests),
            builds_running=len(live),
            builds_waiting=len(queued),
            servers_connected=sum(server.connected for server in servers),
            servers_known=len(servers),
            mail_unsent=unsent,
            mail_refused=refused,
            draining=bool(self._draining),
            problems=tuple(_short(line) for line in troubles[-PROBLEMS_SHOWN:]),
            stands=tuple(_stands(state, server, now) for server in servers[:SERVERS_SHOWN]),
            running=tuple(
                RunningTold(
                    one.build_id,
                    one.epoch,
                    _project(state.builds.get(one.build_id)),
                    _revision(state.builds.get(one.build_id)),
                    one.server,
                    one.state.value,
                    max(0.0, now - one.offered_at),
                )
                for one in heapq.nsmallest(RUNNING_SHOWN, live, key=lambda one: one.key)
            ),
            waiting=await self._waiting(first, now),
            turns=self.turns(),
        )

    async def _waiting(self, builds: Sequence[Build], now: float) -> tuple[WaitingTold, ...]:
        """Return what is told of those that wait; to say why takes a while for each."""
        told = []
        began = self.broker.stopwatch()
        for build in builds:
            if build.id in self.broker.state.builds:  # it may have ended meanwhile
                told.append(_waits(self.broker.state, self.broker.state.builds[build.id], now))
            began = await self.broker.breathe(began)
        return tuple(told)

    def drained(self) -> str:
        """Return why the metaserver is to end, if it was told to drain and nothing runs any more."""
        if not self._draining or not self.broker.state.holding or self.broker.state.attempts_of:
            return ""
        return f"it was drained by {self._draining}, and nothing runs any more"

    # --- build servers ------------------------------------------------------------------------------------

    async def pause(self, message: PauseServer, by: str) -> Acted:
        """Give a build server nothing more. Raises NotFound, which names those that are known."""
        server = self._server(message.server)
        reason = _short(message.reason) or "by the operator"
        changed = await self._send(ServerPaused(server.name, reason, by))
        runs = self.broker.state.load_of(server.name)
        goes_on = f"; what runs there goes on ({runs})" if runs else ""
        already = "" if changed else " already"
        return Acted((f"build server {server.name} is paused{already}: {reason}{goes_on}",), changed)

    async def resume(self, message: ResumeServer, by: str) -> Acted:
        """Give a build server builds again. Raises NotFound."""
        server = self._server(message.server)
        changed = await self._send(ServerResumed(server.name, by))
        now, server = self.clock.wall(), self._server(message.server)
        still = ""
        if not server.connected:
            still = "; it is not connected"
        elif server.quarantined_until > now:
            left = duration_words(server.quarantined_until - now)
            still = f"; it stays in quarantine for another {left}: {server.quarantine_reason}"
        said = "takes builds again" if changed else "was not paused"
        return Acted((f"build server {server.name} {said}{still}",), changed)

    async def forget_server(self, message: ForgetServer, by: str) -> Acted:
        """Know a build server no more. Raises NotFound, and StillThere for one that is connected or has builds."""
        server = self._server(message.server)
        builds = sorted(busy_in(self.broker.state).get(server.name, ()))
        if server.connected:
            where = f" from {server.origin}" if server.origin else ""
            raise StillThere(
                f"build server {server.name} is connected{where} and would be known again at once: stop it there "
                f"first, or have it given nothing more (--pause {server.name})"
            )
        if builds:
            numbers = ", ".join(map(str, builds[:NAMES_SHOWN]))
            raise StillThere(
                f"build server {server.name} may still bring what it was building ({numbers}): wait until it is "
                "missed, or end these builds first (--abort BUILD)"
            )
        changed = await self._send(ServerForgotten(server.name, by))
        words = f"build server {server.name} is forgotten; what it built stays"
        return Acted((words if changed else f"build server {server.name} has just come back: it stays",), changed)

    def _server(self, name: str) -> Server:
        servers = self.broker.state.servers
        if name in servers:
            return servers[name]
        known = sorted(servers)
        more = f" and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
        raise NotFound(f"there is no build server {name!r}; known: {', '.join(known[:NAMES_SHOWN]) or 'none'}{more}")

    # --- builds -------------------------------------------------------------------------------------------

    async def abort(self, message: AbortBuild, by: str) -> Acted:
        """End an open Build. Raises NotFound for one that is not open, saying how it ended."""
        waiting = len(self.broker.state.waiters(message.build_id))
        reason = f"aborted by the operator: {_short(message.reason)}" if message.reason else "aborted by the operator"
        if not await self._send(BuildAborted(message.build_id, reason, by)):
            build = await self._build(message.build_id)
            raise NotFound(f"build {build.id} is not open: it {_ended(build)}")
        told = "1 request is" if waiting == 1 else f"{waiting} requests are"
        return Acted((f"build {message.build_id} is aborted; {told} told",), build_id=message.build_id)

    async def rebuild(self, message: RebuildBuild, by: str) -> Acted:
        """Build again what a Build built, with the recipe as it is now. Raises NotFound, UsageError."""
        if not _CLIENT_ID.match(message.client_id):
            raise UsageError("the client request id is 32 hex digits")
        email = valid_address(message.email) if message.email else ""
        build = await self._build(message.build_id)
        project = self.settings.project(build.spec.project)
        options = project.options.compile_values(dict(build.spec.options))
        spec = evolve(build.spec, recipe_version=project.recipe.version, options=options)
        demand = Demand(spec, spec.revision, "", (spec.revision,))
        digest = digest_of(encode(evolve(message, client_id="")))
        answer = await self.broker.send(Submitted(message.client_id, digest, email, demand, force=True, by=by))
        request_id = _admitted(answer)
        request = self.broker.state.requests.get(request_id) or await self.store.request(request_id)
        if request is None or request.build_id is None:
            raise NotFound(f"build {build.id} cannot be built again: request {request_id} has no build")
        how = {"joined": f"joined build {request.build_id}, which is open", "queued": f"build {request.build_id} waits"}
        said = how.get(request.answer, f"build {request.build_id} begins")
        mail = f"; {email} is mailed" if email else ""
        return Acted((f"request {request.id}: {said}{mail}",), build_id=request.build_id)

    async def forget(self, message: ForgetFailure, by: str) -> Acted:
        """Forget that a Build failed. Raises NotFound when that is not remembered."""
        build = await self._build(message.build_id)
        failure = await self._failure(build)
        if failure is None:
            kept = ""
            if build.state is BuildState.FAILED:
                kept = "; a mistake of the project is never remembered, another failure for a while only"
            raise NotFound(f"no failure of build {build.id} is remembered: it {_ended(build)}{kept}")
        await self.broker.send(FailureForgotten(failure, by))
        words = f"the failure of build {build.id} is forgotten; who asks for the same has it built"
        return Acted((words,), build_id=build.id)

    async def _failure(self, build: Build) -> FailedHere | None:
        shelf = build.spec.shelf()
        shelves, _ = await self.store.known((shelf,), (), self.clock.wall())
        return next((one for one in shelves[shelf].failures if one.build_id == build.id), None)

    async def _build(self, build_id: int) -> Build:
        build = self.broker.state.builds.get(build_id) or await self.store.build(build_id)
        if build is None:
            raise NotFound(f"there is no build {build_id}")
        return build

    # --- artifacts ----------------------------------------------------------------------------------------

    async def purge(self, message: PurgeArtifact, by: str) -> Acted:
        """Give an artifact out no more and delete its file. Raises NotFound, UsageError, StorageUnavailable."""
        named = message.artifact
        if _DIGEST.match(named):
            found = list(await self.store.artifacts_of(named))
        elif _NUMBER.match(named):
            one = await self.store.artifact(int(named))
            found = [one] if one is not None else []
        else:
            raise UsageError(f"{named[:80]!r} is no artifact: say its id, or the 64 hex digits of its SHA-256")
        if not found:
            raise NotFound(f"no artifact {named} is given out")
        return await self._purge(found, message.reason, by)

    async def purge_built_by(self, message: PurgeBuiltBy, by: str) -> Acted:
        """Do so with everything that a build server made; it need not be known any more. Raises NotFound."""
        count, files, after = 0, 0, 0
        while found := await self.history.artifacts_by(message.server, after, AT_ONCE):
            acted = await self._withdraw(found, message.reason, by)
            count, files, after = count + len(found), files + acted, found[-1].id
        if not count:
            raise NotFound(f"nothing that build server {message.server!r} made is given out")
        return Acted((_purged(count, files),), count=count)

    async def _purge(self, artifacts: Sequence[Artifact], reason: str, by: str) -> Acted:
        given_out = [artifact for artifact in artifacts if not artifact.withdrawn]
        if not given_out:
            (artifact, *_) = artifacts
            files = await self._delete(artifact.digest)
            words = f"artifact {artifact.id} is given out no more, since it was withdrawn before: {artifact.withdrawn}"
            return Acted((words,) if not files else (words, "its file is deleted"), bool(files), artifact.build_id)
        files = await self._withdraw(given_out, reason, by)
        return Acted((_purged(len(given_out), files),), build_id=given_out[0].build_id, count=len(given_out))

    async def _withdraw(self, artifacts: Sequence[Artifact], reason: str, by: str) -> int:
        """Withdraw artifacts, all in one transaction, and return how many files went."""
        words = f"purged by the operator: {_short(reason)}" if reason else "purged by the operator"
        events = [self.broker.send(ArtifactGone(artifact, words, by)) for artifact in artifacts]
        await gatherResults([Deferred.fromCoroutine(event) for event in events], consumeErrors=True)
        return sum([await self._delete(digest) for digest in {artifact.digest for artifact in artifacts}])

    async def _delete(self, digest: str) -> int:
        """Delete a file unless an artifact that is given out has its bytes; return how many went."""

        async def named() -> bool:
            # What was published before this file was locked has been told to the broker by the time that it has taken
            # in the first of these, and is decided before it has taken in the second.
            await self.broker.send(Tick())
            await self.broker.send(Tick())
            return bool(await self.store.artifacts_of(digest))

        return int(await self.files.remove_unless(digest, named))

    # --- everything ---------------------------------------------------------------------------------------

    async def drain(self, message: Drain, by: str) -> Acted:
        """Start nothing more and end once nothing runs, or go on as usual."""
        changed = await self._send(DispatchHeld(message.on, by))
        self._draining = by if message.on else ""
        runs = sum(map(len, self.broker.state.attempts_of.values()))
        if not message.on:
            return Acted(("builds are started again" if changed else "the metaserver was not draining",), changed)
        words = f"no build is started any more; the metaserver ends once nothing runs (now {runs})"
        return Acted((words,), changed, count=runs)

    async def _send(self, event: Event) -> bool:
        """Send an act; say whether it changed anything."""
        answer: Answer = await self.broker.send(event)
        return not (isinstance(answer, Noted) and answer.stale)


def _admitted(answer: Answer) -> int:
    """Return the id of the Request that a submission made, or had made before."""
    match answer:
        case RepeatedSubmission() | ConflictingSubmission():
            return answer.request_id
        case Hit() | Dispatched() | JoinedBuild() | Queued() | KnownFailure():
            return answer.request.id
        case _:
            raise InternalError("the metaserver answered a submission with something else")


def _purged(count: int, files: int) -> str:
    artifacts = "1 artifact is" if count == 1 else f"{count} artifacts are"
    return f"{artifacts} no longer given out; {files} {'file is' if files == 1 else 'files are'} deleted"


def _short(text: str) -> str:
    return one_line(text, WORDS_SHOWN)


def _project(build: Build | None) -> str:
    return build.spec.project if build is not None else ""


def _revision(build: Build | None) -> str:
    return build.spec.revision if build is not None else ""


def _ended(build: Build) -> str:
    if build.state in (BuildState.QUEUED, BuildState.RUNNING):
        return "has not ended"
    return {
        BuildState.SUCCEEDED: "succeeded",
        BuildState.FAILED: "failed",
        BuildState.UNBUILDABLE: "could not be built",
        BuildState.CANCELLED: "was cancelled",
        BuildState.EXPIRED: "expired",
    }[build.state]


def _stands(state: State, server: Server, now: float) -> ServerStands:
    running, slots = state.load_of(server.name), server.capability.max_builds
    word, reason = _standing(server, running, now)
    return ServerStands(server.name, word, _short(reason), running, slots)


def _standing(server: Server, running: int, now: float) -> tuple[str, str]:
    """Return in a word how a build server stands, and why; a pause is told whatever else there is."""
    words, reasons = [], []
    if server.paused:
        words.append("paused")
        reasons.append(server.paused)
    if not server.connected:
        words.append("missing" if server.missing_since else "away")
        since = server.missing_since or server.last_seen
        reasons.append(f"last heard of {duration_words(max(0.0, now - since))} ago")
    if server.quarantined_until > now:
        words.append("quarantined")
        left = duration_words(server.quarantined_until - now)
        reasons.append(f"for another {left}: {server.quarantine_reason or 'it broke repeatedly'}")
    if server.draining:
        words.append("draining")
    return ", ".join(words) or ("building" if running else "idle"), "; ".join(reasons)


def _waits(state: State, build: Build, now: float) -> WaitingTold:
    return WaitingTold(
        build.id,
        build.spec.project,
        build.spec.revision,
        len(state.waiters(build.id)),
        max(0.0, now - build.created_at),
        tuple(_short(line) for line in lines(why(state, build, now))[:WAITING_SHOWN]),
    )
