"""What requesters ask for: validated, its revision resolved, and handed to the broker as an event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from attrs import Factory, define, evolve, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buildtool import errors
from buildtool.concurrency.asker import asker
from buildtool.concurrency.inbox import Gate
from buildtool.configuration.current import CurrentConfiguration
from buildtool.metaserver.access.admittance import Admittance
from buildtool.metaserver.access.askers import addressed, check_may_ask
from buildtool.metaserver.access.described import ProjectDescriber
from buildtool.metaserver.access.own_requests import RequestFinder
from buildtool.metaserver.access.superseding import older_of
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.demands import DemandReader, Resolved, body_digest, source_url
from buildtool.metaserver.explanations import Explainer
from buildtool.metaserver.farm_status import veiled
from buildtool.metaserver.request_status import RequestStatusReader
from buildtool.metaserver.showing.own_requests import RequestLister
from buildtool.metaserver.showing.ref_names import RefLister
from buildtool.model.access.rights import Act, Subject, platform_names
from buildtool.model.addresses import valid_address
from buildtool.model.farm.backups import LastBackup
from buildtool.model.farm.weights import NICE_MOST
from buildtool.model.names import is_client_id, is_commit_id
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import BuildSpec, Request, RequestState
from buildtool.ports.metaserver import BrokerStore, Conditions, Handlers, SourceResolver
from buildtool.protocol import messages
from buildtool.protocol.hello import AskProjects, AskRefs, AskRequests, ProjectsDescribed, RefsFound
from buildtool.protocol.limits import TOGETHER
from buildtool.scheduling import answers
from buildtool.scheduling.allowances import STANDING_AGAIN
from buildtool.scheduling.events import AskedWhy, CancelRequested, Explain, Submitted, SubmittedTogether

log = Logger()

OwnRequest = messages.Cancel | messages.AskStatus | messages.AskWhy

OPEN_LIMIT = 100_000
"""Most Requests that may wait at once: each takes memory, and nothing bounds how many a peer asks for."""

WANTED_LIMIT = 1_000_000
"""Most acceptable revisions of all waiting Requests together: one with a range may have a thousand."""

WANTED_TOGETHER = 8_000
"""Most acceptable revisions of all that is asked for at once, which is one event: each costs time in it."""

KINDS_LIMIT = 10_000
"""Most kinds of open Builds, by project, platform and needs of the machine: each build server that logs in is held
against every one."""

ASKER_LIMIT = 100
"""Most characters of a network address, that of a scoped IPv6 address included."""

PROBLEMS_TOLD = 40
"""How many problems are told to who asks for the metaserver's health."""


@define
class RequestService:
    """A service for requesters, over a broker. Every method raises BuildToolError for what cannot be done.

    It holds at most ``open_limit`` requests, ``wanted_limit`` revisions and ``kinds_limit`` kinds of builds.
    """

    configuration: CurrentConfiguration
    broker: Broker
    store: BrokerStore
    resolver: SourceResolver
    status_reader: RequestStatusReader
    explainer: Explainer
    conditions: Conditions
    open_limit: int = OPEN_LIMIT
    wanted_limit: int = WANTED_LIMIT
    kinds_limit: int = KINDS_LIMIT
    turns: Callable[[], messages.ReactorTurns | None] = lambda: None
    last_backup: Callable[[], LastBackup] = LastBackup
    noticed: Callable[[BuildSpec, str], None] = lambda _spec, _url: None
    """Told what somebody asks for who may, and the URL of its source."""
    admittance: Admittance = field(default=Factory(lambda self: Admittance(self.broker), takes_self=True))
    permissions: Permissions = field(init=False)
    _describer: ProjectDescriber = field(init=False)
    _demands: DemandReader = field(init=False)
    _gate: Gate = field(init=False)
    """Of questions: what one reads from the database keeps a commit waiting at most once."""

    def __attrs_post_init__(self) -> None:
        self.permissions = Permissions(self.configuration)
        self._describer = ProjectDescriber(self.configuration)
        self._demands = DemandReader(self.configuration, self.broker.state, self.resolver)
        self._gate = Gate(self.broker.timers.seconds)

    @property
    def handlers(self) -> Handlers:
        """What requesters and pages may ask."""
        return {
            messages.Submit: self.submit,
            messages.SubmitTogether: self.submit_together,
            messages.Cancel: self.cancel,
            messages.AskStatus: self.status,
            messages.AskExplain: self.explain,
            messages.AskWhy: self.why,
            messages.AskBuild: self.build,
            messages.AskHealth: self.health,
            AskProjects: self.projects,
            AskRequests: self.own_requests,
            AskRefs: self.refs,
        }

    async def submit(self, by: Principal, message: messages.Submit) -> messages.RequestStatus:
        """Accept a Request; the same message again gets the same answer.

        Raises UsageError, UnknownRef, RepositoryUnreachable, Conflict, Overloaded, LimitReached, StorageUnavailable.
        """
        items, digests = (self._demands.without_excess(message),), (body_digest(message),)
        del message  # while it waits only what is needed of it takes memory
        (status,) = await self._submit(by, items, digests)
        return status

    async def submit_together(self, by: Principal, message: messages.SubmitTogether) -> messages.RequestStatuses:
        """Accept several Requests at once, of which one mail tells, or none of them. Raises what ``submit`` does."""
        items = message.items
        del message
        if not 1 <= len(items) <= TOGETHER:
            raise errors.UsageError(f"1 to {TOGETHER} builds can be asked for at once, not {len(items)}")
        if len({item.email for item in items}) > 1 or len({item.client_id for item in items}) < len(items):
            raise errors.UsageError(
                "what is asked for at once is for one address, each with a client request id of its own"
            )
        digests = tuple(map(body_digest, items))
        items = tuple(map(self._demands.without_excess, items))
        return messages.RequestStatuses(await self._submit(by, items, digests))

    async def _submit(
        self, by: Principal, items: tuple[messages.Submit, ...], digests: tuple[str, ...]
    ) -> tuple[messages.RequestStatus, ...]:
        for item in items:
            if not is_client_id(item.client_id):
                raise errors.UsageError("the client request id is 32 hex digits")
            self.permissions.project(by, item.project)
            _nice(item)
        items = addressed(by, items)
        # What was answered before is answered again without a look at the origin. Where that is not asked for
        # anything, the broker's own look is enough: it takes a batch of submissions at a time.
        if not all(is_commit_id(item.revision) and not item.revrange for item in items):
            try:
                known = await self.store.answered([item.client_id for item in items])
            except errors.StorageUnavailable as error:
                raise errors.StorageUnavailable(f"{errors.NOTHING_ACCEPTED}: {error}") from error
            if all(item.client_id in known for item in items):
                pairs = [(known[item.client_id], digest) for item, digest in zip(items, digests, strict=True)]
                return tuple([await self._repeated(one.request_id, same=one.body_digest == d) for one, d in pairs])
        self.admittance.submission(by, items[0].email, len(items))
        resolved = Resolved()
        submitted = []
        urls = []
        settings = self.configuration.settings
        for item, digest in zip(items, digests, strict=True):
            one, url = await self._understood(by, item, digest, resolved)
            submitted.append(one)
            urls.append(url)
        if settings is not self.configuration.settings:
            # Meanwhile another configuration was taken over: what was understood by the old one, nobody would build.
            return await self._submit(by, items, digests)
        self._check_room(submitted)
        email = submitted[0].email
        held = await self.admittance.must_wait(by, email, len(submitted))
        places = self.admittance.allowances.places(by, email)
        submitted = [evolve(one, held=held, places=places) for one in submitted]
        event = submitted[0] if len(submitted) == 1 else SubmittedTogether(tuple(submitted))
        answer = await self.broker.send(event)
        if isinstance(answer, answers.NoPlace):
            raise errors.LimitReached(answer.said, STANDING_AGAIN)
        if held and self.admittance.believes(by, email):
            await self.admittance.release(email)  # it was confirmed meanwhile
        together = answer.answers if isinstance(answer, answers.AnsweredTogether) else (answer,)
        return await self._statuses(together, urls)

    async def _understood(
        self, by: Principal, item: messages.Submit, digest: str, resolved: Resolved
    ) -> tuple[Submitted, str]:
        """Return one of several that are asked for at once as an event, and the URL of its source."""
        project = self.permissions.project(by, item.project)
        email = valid_address(item.email) if item.email or by.role is not PrincipalRole.TRIGGER else ""
        url = source_url(project, item.source)
        demand = await self._demands.read(project, url, item, resolved)
        check_may_ask(self.permissions, by, demand, email, force=item.force)
        self.noticed(demand.spec, url)
        share, at = self.admittance.share(by, email), by.address[:ASKER_LIMIT]
        one = Submitted(item.client_id, digest, email, demand, item.force, asker=at, share=share, nice=item.nice)
        if item.supersede:
            one = evolve(one, older=await older_of(by, one, url, self.admittance, self.permissions, self.resolver))
        return one, url

    async def _statuses(
        self, together: Sequence[answers.Answer], urls: Sequence[str]
    ) -> tuple[messages.RequestStatus, ...]:
        """Return how each stands; the reactor turns meanwhile, since why one waits takes milliseconds to find out."""
        statuses: list[messages.RequestStatus] = []
        turn = self.broker.turn.anew()
        began = turn.since
        for one, url in zip(together, urls, strict=True):
            before = turn.stopwatch()
            statuses.append(await self._status_of(one, url))
            if turn.since != began:  # what was found out before the first turn is charged with the event
                self.broker.charge(asker(), turn.stopwatch() - before)
            await turn.breathe()
        return tuple(statuses)

    def _check_room(self, submitted: Sequence[Submitted]) -> None:
        """Raise Overloaded where what is asked for might have to wait and no more can."""
        state = self.broker.state
        wanted = sum(len(one.demand.acceptable) for one in submitted)
        if (
            len(state.requests) + len(submitted) > self.open_limit
            or state.records.revisions_wanted + wanted > self.wanted_limit
        ):
            raise errors.Overloaded(f"{len(state.requests)} requests wait already, more are not taken: try again later")
        if len(submitted) > 1 and wanted > WANTED_TOGETHER:
            raise errors.UsageError(
                f"what is asked for at once accepts {wanted} revisions in all, which may be {WANTED_TOGETHER}: "
                "ask with a smaller --revrange, or for fewer at once"
            )
        kinds = {one.demand.spec.demand_class for one in submitted}
        if state.queue.kinds() + len(kinds) > self.kinds_limit and not all(map(state.queue.has, kinds)):
            count = state.queue.kinds()
            raise errors.Overloaded(
                f"builds of {count} platforms and machines wait, no others are taken: try again later"
            )

    async def cancel(self, by: Principal, message: messages.Cancel) -> messages.RequestStatus:
        """End a Request; one that has ended stays as it is. Raises NotFound, Unauthorised."""
        request = await self._own(by, Act.CANCEL, message)
        theirs = bool(message.token) or request.email in (by.owner, by.name)
        ended = ("", "") if theirs else ("cancelled by the operator", by.name or by.role.value)
        answer = await self.broker.send(CancelRequested(message.request_id, *ended))
        if isinstance(answer, answers.Cancelled) and answer.request is not None:
            return await self.status_reader.read(answer.request)
        return await self.status_reader.read(await _request(self, message.request_id))

    async def status(self, by: Principal, message: messages.AskStatus) -> messages.RequestStatus:
        """Return the status of a Request; its token only to who may cancel it. Raises NotFound, Unauthorised."""
        request = await self._own(by, Act.SEE_REQUEST, message)
        told = await self.status_reader.read(request)
        own = message.token or self.permissions.allows(by, Act.CANCEL, request.demand.spec, owner=request.email)
        return told if own else evolve(told, token="")

    async def explain(self, by: Principal, message: messages.AskExplain) -> messages.Explanation:
        """Return what a submission would be answered, without making it.

        Raises UsageError, UnknownRef, RepositoryUnreachable, LimitReached.
        """
        self.admittance.explanation(by)
        project = self.permissions.project(by, message.project)
        message = self._demands.without_excess(message)
        url = source_url(project, message.source)
        demand = await self._demands.read(project, url, message, Resolved())
        self.permissions.check(
            by, Act.EXPLAIN, Subject(project=project.name, platforms=platform_names(demand.spec.platform))
        )
        share, older = self.admittance.share(by, by.owner), None
        if message.supersede and by.owner:  # of who has no key it is not said whose older requests would end
            one = Submitted("", "", by.owner, demand, message.force, share=share)
            older = await older_of(by, one, url, self.admittance, self.permissions, self.resolver)
        answer = await self.broker.send(Explain(demand, message.force, share, _nice(message), by.owner, older))
        return await self._gate.run(partial(self.explainer.submission, demand, _explained(answer)))

    async def why(self, by: Principal, message: messages.AskWhy) -> messages.Explanation:
        """Return why a Request waits. Raises NotFound, Unauthorised, LimitReached."""
        request = await self._own(by, Act.SEE_REQUEST, message)
        self.admittance.explanation(by)
        if request.state is not RequestState.WAITING or request.build_id is None:
            return await self.explainer.ended(request)
        answer = await self.broker.send(AskedWhy(request.build_id))
        return await self._gate.run(partial(self.explainer.request, request, _explained(answer)))

    async def build(self, by: Principal, message: messages.AskBuild) -> messages.Explanation:
        """Return how an open Build stands and why it waits. Raises NotFound for one that is not open."""
        explained = _explained(await self.broker.send(AskedWhy(message.build_id)))
        if explained.build is None or not self.permissions.allows(by, Act.SEE_BUILD, explained.build.spec):
            raise errors.NotFound(f"build {message.build_id} is not open")
        return self.explainer.open_build(explained.build, explained)

    async def projects(self, by: Principal, message: AskProjects) -> ProjectsDescribed:
        """Return the projects that a caller may see, described. Raises UsageError where that is too long."""
        return await self._describer.describe(by, message)

    async def own_requests(self, by: Principal, message: AskRequests) -> messages.RequestStatuses:
        """Return the newest requests of a caller. Raises UsageError for one without an address, LimitReached."""
        return await RequestLister(self.store, self.status_reader, self.permissions, self.admittance, self._gate).read(
            by, message
        )

    async def refs(self, by: Principal, message: AskRefs) -> RefsFound:
        """Return the newest refs of a project. Raises UnknownProject, Unauthorised, UsageError, LimitReached."""
        return await RefLister(self.resolver, self.permissions, self.admittance).read(by, message)

    async def health(self, by: Principal, _message: messages.AskHealth) -> messages.HealthStatus:
        """Return whether the metaserver can do its work."""
        problems = veiled(self.conditions.problems(), self.broker.state, partial(self.permissions.sees, by))
        more = (f"and {len(problems) - PROBLEMS_TOLD} more",) if len(problems) > PROBLEMS_TOLD else ()
        made = self.last_backup().made
        age = max(0.0, self.broker.clock.wall() - made) if made is not None else None
        return messages.HealthStatus(not problems, (*problems[:PROBLEMS_TOLD], *more), self.turns(), age)

    async def _status_of(self, answer: answers.Answer, url: str) -> messages.RequestStatus:
        match answer:
            case answers.Hit():
                return await self.status_reader.read(answer.request, answer.artifact)
            case answers.Dispatched() | answers.Queued():
                _pin(self.resolver, url, answer.build.spec.revision)
                return await self.status_reader.read(answer.request)
            case answers.JoinedBuild() | answers.KnownFailure() | answers.Unconfirmed():
                return await self.status_reader.read(answer.request)
            case answers.RepeatedSubmission():
                return await self._repeated(answer.request_id, same=True)
            case answers.ConflictingSubmission():
                return await self._repeated(answer.request_id, same=False)
            case _:
                raise errors.InternalError("the metaserver answered a submission with something else")

    async def _repeated(self, request_id: int, *, same: bool) -> messages.RequestStatus:
        if not same:
            raise errors.Conflict(
                "this client request id was used for another request: make a new id for a new request"
            )
        return await self.status_reader.read(await _request(self, request_id))

    async def _own(self, by: Principal, act: Act, message: OwnRequest) -> Request:
        """Return a Request that a caller may do an act to: by its token, or as who they are. Raises Unauthorised."""
        finder = RequestFinder(self.broker, self.store, self.status_reader.keys, self.permissions)
        return await finder.find(by, act, message.request_id, message.token)


async def _request(service: RequestService, request_id: int) -> Request:
    found = service.broker.state.requests.get(request_id) or await service.store.request(request_id)
    if found is None:
        raise errors.NotFound(f"there is no request {request_id}")
    return found


def _nice(message: messages.Submit | messages.AskExplain) -> int:
    """Return by how many rounds a submission stands back. Raises UsageError."""
    if not 0 <= message.nice <= NICE_MOST:
        raise errors.UsageError(f"nice is from 0 to {NICE_MOST}, not {message.nice}")
    return message.nice


def _explained(answer: answers.Answer) -> answers.ExplainedAnswer:
    if not isinstance(answer, answers.ExplainedAnswer):
        raise errors.InternalError("the metaserver answered a question with something else")
    return answer


def _pin(resolver: SourceResolver, url: str, commit: str) -> None:
    """Start to keep a commit whatever happens at the origin."""

    def failed(failure: object) -> None:
        log.warn("commit {commit} could not be pinned: {failure}", commit=commit, failure=failure)

    Deferred.fromCoroutine(resolver.pin(url, commit)).addErrback(failed)
