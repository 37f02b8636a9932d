"""What an operator asks for: the status of the farm, and acts that are events like all others, with who did them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from attrs import Factory, define, evolve, field
from twisted.internet.defer import Deferred, gatherResults

from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import InternalError, NotFound, Unauthorised, UsageError
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.farm_status import FarmStatusReader, shortened
from buildtool.metaserver.operating.removing import remove_unnamed
from buildtool.model.access.rights import Act, Subject, platform_names
from buildtool.model.addresses import valid_address
from buildtool.model.names import is_client_id, is_digest, is_row_id
from buildtool.model.options import digest_of
from buildtool.model.principal import Principal
from buildtool.model.records import Artifact, Build, BuildState, Demand, RememberedFailure
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import ArtifactRemover, BrokerStore, Handlers, OperatorStore
from buildtool.protocol import operator
from buildtool.protocol.codec import encode
from buildtool.scheduling import answers, events

AT_ONCE = 200
"""How many artifacts are withdrawn together."""


@define
class OperatorService:
    """A service for operators, over a broker. Every method raises BuildToolError for what cannot be done.

    The name of the caller is written down with each action.
    """

    configuration: CurrentConfiguration
    broker: Broker
    store: BrokerStore
    history: OperatorStore
    files: ArtifactRemover
    clock: Clock
    farm: FarmStatusReader
    permissions: Permissions = field(default=Factory(lambda self: Permissions(self.configuration), takes_self=True))
    _draining: str = field(default="", init=False)

    @property
    def handlers(self) -> Handlers:
        """What operators may ask for."""
        return {
            operator.AskFarmStatus: self.farm_status,
            operator.AbortBuild: self.abort,
            operator.RebuildBuild: self.rebuild,
            operator.ForgetFailure: self.forget,
            operator.PurgeArtifact: self.purge,
            operator.PurgeBuiltBy: self.purge_built_by,
            operator.Drain: self.drain,
        }

    # --- everything ---------------------------------------------------------------------------------------

    async def farm_status(self, by: Principal, _message: operator.AskFarmStatus) -> operator.FarmStatus:
        """Return the status of the farm, as far as that is known while the database cannot be read."""
        return await self.farm.read(partial(self.permissions.sees, by), draining=bool(self._draining))

    async def drain(self, by: Principal, message: operator.Drain) -> operator.ActionResult:
        """Start nothing more and end once nothing runs, or go on as usual."""
        self.permissions.check(by, Act.DRAIN, Subject())
        who = by.name or by.role.value
        changed = await self._send(events.DispatchHeld(message.on, who))
        self._draining = who if message.on else ""
        runs = sum(map(len, self.broker.state.slots.attempts_of.values()))
        if not message.on:
            return operator.ActionResult(
                ("builds are started again" if changed else "the metaserver was not draining",), changed
            )
        words = f"no build is started any more; the metaserver ends once nothing runs (now {runs})"
        return operator.ActionResult((words,), changed, count=runs)

    def drained(self) -> str:
        """Return why the metaserver is to end, if it was told to drain and nothing runs any more."""
        if not self._draining or not self.broker.state.slots.holding or self.broker.state.slots.attempts_of:
            return ""
        return f"it was drained by {self._draining}, and nothing runs any more"

    # --- builds -------------------------------------------------------------------------------------------

    async def abort(self, by: Principal, message: operator.AbortBuild) -> operator.ActionResult:
        """End an open Build. Raises NotFound for one that is not open, saying how it ended."""
        build = await self._build(by, Act.ABORT, message.build_id)
        waiting = len(self.broker.state.waiters(message.build_id))
        why = f": {shortened(message.reason)}" if message.reason else ""
        reason = f"aborted by the operator{why}"
        if not await self._send(events.BuildAborted(message.build_id, reason, by.name)):
            build = await self._build(by, Act.ABORT, message.build_id)
            raise NotFound(f"build {build.id} is not open: it {_ended(build)}")
        told = "1 request is" if waiting == 1 else f"{waiting} requests are"
        return operator.ActionResult((f"build {message.build_id} is aborted; {told} told",), build_id=message.build_id)

    async def rebuild(self, by: Principal, message: operator.RebuildBuild) -> operator.ActionResult:
        """Build again what a Build built, with the recipe as it is now. Raises NotFound, UsageError."""
        if not is_client_id(message.client_id):
            raise UsageError("the client request id is 32 hex digits")
        build = await self._build(by, Act.REBUILD, message.build_id)
        email = valid_address(message.email or by.owner) if message.email or by.owner else ""
        if email != by.owner:
            spec = build.spec
            subject = Subject(frozenset({email}), spec.project, platform_names(spec.platform))
            self.permissions.check(by, Act.SUBMIT, subject)
        project = self.configuration.settings.project(build.spec.project)
        options = project.options.compile_values(dict(build.spec.options))
        policy = project.least.with_at_least(build.spec.policy)
        spec = evolve(build.spec, recipe_version=project.recipe.version, options=options, policy=policy)
        demand = Demand(spec, spec.revision, "", (spec.revision,))
        digest = digest_of(encode(evolve(message, client_id="")))
        answer = await self.broker.send(
            events.Submitted(message.client_id, digest, email, demand, force=True, by=by.name)
        )
        request_id = _admitted(answer)
        request = self.broker.state.requests.get(request_id) or await self.store.request(request_id)
        if request is None or request.build_id is None:
            raise NotFound(f"build {build.id} cannot be built again: request {request_id} has no build")
        how = {"joined": f"joined build {request.build_id}, which is open", "queued": f"build {request.build_id} waits"}
        said = how.get(request.answer, f"build {request.build_id} begins")
        mail = f"; {email} is mailed" if email else ""
        return operator.ActionResult((f"request {request.id}: {said}{mail}",), build_id=request.build_id)

    async def forget(self, by: Principal, message: operator.ForgetFailure) -> operator.ActionResult:
        """Forget that a Build failed. Raises NotFound when that is not remembered."""
        build = await self._build(by, Act.FORGET_FAILURE, message.build_id)
        failure = await self._failure(build)
        if failure is None:
            kept = ""
            if build.state is BuildState.FAILED:
                kept = "; a mistake of the project is never remembered, another failure for a while only"
            raise NotFound(f"no failure of build {build.id} is remembered: it {_ended(build)}{kept}")
        await self.broker.send(events.FailureForgotten(failure, by.name))
        words = f"the failure of build {build.id} is forgotten; who asks for the same has it built"
        return operator.ActionResult((words,), build_id=build.id)

    async def _failure(self, build: Build) -> RememberedFailure | None:
        shelf = build.spec.shelf
        shelves, _ = await self.store.known((shelf,), (), self.clock.wall())
        return next((one for one in shelves[shelf].failures if one.build_id == build.id), None)

    async def _build(self, by: Principal, act: Act, build_id: int) -> Build:
        """Return a Build to which a caller may do an act; its owners are those of the machines that built it.

        Raises NotFound, Unauthorised.
        """
        build = self.broker.state.builds.get(build_id) or await self.store.build(build_id)
        if build is None or not self.permissions.sees(by, build.spec.project):
            raise NotFound(f"there is no build {build_id}")
        servers = tuple(one.server for one in await self.store.attempts(build_id)) if by.owner else ()
        subject = Subject(self.permissions.machines(servers), build.spec.project, platform_names(build.spec.platform))
        self.permissions.check(by, act, subject)
        return build

    # --- artifacts ----------------------------------------------------------------------------------------

    async def purge(self, by: Principal, message: operator.PurgeArtifact) -> operator.ActionResult:
        """Remove an artifact: withdraw it and delete its file. Raises NotFound, UsageError, StorageUnavailable."""
        named = message.artifact
        if is_digest(named):
            found = list(await self.store.artifacts_of(named))
        elif is_row_id(named):
            one = await self.store.artifact(int(named))
            found = [one] if one is not None else []
        else:
            raise UsageError(f"{named[:80]!r} is no artifact: say its id, or the 64 hex digits of its SHA-256")
        found = [one for one in found if self.permissions.sees(by, one.shelf.project)]
        if not found:
            raise NotFound(f"no artifact {named} is given out")
        self.permissions.check_purge(by, found)
        return await self._purge(found, message.reason, by.name)

    async def purge_built_by(self, by: Principal, message: operator.PurgeBuiltBy) -> operator.ActionResult:
        """Remove every artifact that a build server made; it need not be known any more. Raises NotFound."""
        if not by.limits.everywhere:
            raise Unauthorised(f"{by.name} may not purge all of a build server: that key is limited")
        async for found in self._made_by(message.server):
            self.permissions.check_purge(by, found)  # all of it, before any of it is gone
        count, files = 0, 0
        async for found in self._made_by(message.server):
            self.permissions.check_purge(by, found)
            files += await self._withdraw(found, message.reason, by.name)
            count += len(found)
        if not count:
            raise NotFound(f"nothing that build server {message.server!r} made is given out")
        return operator.ActionResult((_purged(count, files),), count=count)

    async def _made_by(self, server: str) -> AsyncIterator[Sequence[Artifact]]:
        """Yield all artifacts that a build server made and that are given out, some at a time."""
        after = 0
        while found := await self.history.artifacts_by(server, after, AT_ONCE):
            yield found
            after = found[-1].id

    async def _purge(self, artifacts: Sequence[Artifact], reason: str, by: str) -> operator.ActionResult:
        given_out = [artifact for artifact in artifacts if not artifact.withdrawn]
        if not given_out:
            (artifact, *_) = artifacts
            files = await self._delete(artifact.digest)
            words = f"artifact {artifact.id} is given out no more, since it was withdrawn before: {artifact.withdrawn}"
            return operator.ActionResult(
                (words,) if not files else (words, "its file is deleted"), bool(files), artifact.build_id
            )
        files = await self._withdraw(given_out, reason, by)
        return operator.ActionResult(
            (_purged(len(given_out), files),), build_id=given_out[0].build_id, count=len(given_out)
        )

    async def _withdraw(self, artifacts: Sequence[Artifact], reason: str, by: str) -> int:
        """Withdraw artifacts, all in one transaction, and return how many files went."""
        words = f"purged by the operator: {shortened(reason)}" if reason else "purged by the operator"
        withdrawals = [self.broker.send(events.ArtifactGone(artifact, words, by)) for artifact in artifacts]
        await gatherResults([Deferred.fromCoroutine(one) for one in withdrawals], consumeErrors=True)
        return sum([await self._delete(digest) for digest in {artifact.digest for artifact in artifacts}])

    async def _delete(self, digest: str) -> int:
        return int(await remove_unnamed(self.broker, self.store, self.files, digest))

    async def _send(self, event: events.Event) -> bool:
        """Send an act; return whether it changed anything."""
        answer: answers.Answer = await self.broker.send(event)
        return not (isinstance(answer, answers.Acknowledged) and answer.stale)


def _admitted(answer: answers.Answer) -> int:
    """Return the id of the Request that a submission made, or had made before."""
    match answer:
        case answers.RepeatedSubmission() | answers.ConflictingSubmission():
            return answer.request_id
        case answers.Hit() | answers.Dispatched() | answers.JoinedBuild() | answers.Queued() | answers.KnownFailure():
            return answer.request.id
        case _:
            raise InternalError("the metaserver answered a submission with something else")


def _purged(count: int, files: int) -> str:
    artifacts = "1 artifact is" if count == 1 else f"{count} artifacts are"
    return f"{artifacts} no longer given out; {files} {'file is' if files == 1 else 'files are'} deleted"


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
