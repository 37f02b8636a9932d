"""What requesters ask for: validated, its revision resolved, and handed to the broker as an event."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buildtool.asker import Asker, asker, working_for
from buildtool.domain.addresses import valid_address
from buildtool.domain.known import TOOLS, check_known
from buildtool.domain.matching import machine_required, platform_required
from buildtool.domain.messages import (
    Answer,
    AnsweredTogether,
    AskedWhy,
    Cancelled,
    CancelRequested,
    ConflictingSubmission,
    Dispatched,
    Explain,
    Explained,
    Hit,
    JoinedBuild,
    KnownFailure,
    Queued,
    RepeatedSubmission,
    Submitted,
    SubmittedTogether,
)
from buildtool.domain.model import BuildSpec, Demand, Request, RequestState
from buildtool.domain.options import Canonical, ProjectOptions, digest_of, tool_option
from buildtool.domain.platforms import Value
from buildtool.domain.tickets import token_matches
from buildtool.errors import (
    NOTHING_ACCEPTED,
    BuildToolError,
    Conflict,
    InternalError,
    NotFound,
    Overloaded,
    RecipeMistake,
    StorageUnavailable,
    Unauthorised,
    UsageError,
)
from buildtool.kept import Kept, weight_of_pairs
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.explaining import Explainer
from buildtool.metaserver.inbox import Gate
from buildtool.metaserver.telling import Teller
from buildtool.ports import Answered, BrokerStore, Conditions, SourceResolver
from buildtool.project import Project, tools_named
from buildtool.protocol import (
    TOGETHER,
    AskBuild,
    AskExplain,
    AskStatus,
    AskWhy,
    Cancel,
    Explanation,
    HealthTold,
    Submit,
    SubmitTogether,
    Told,
    ToldTogether,
    Turns,
)
from buildtool.raised import ask, at, defined
from buildtool.settings import Settings
from buildtool.wire import encode, listed, size_of

log = Logger()

OPEN_LIMIT = 100_000
"""Most Requests that may wait at once: each takes memory, and nothing bounds how many a peer asks for."""

WANTED_LIMIT = 1_000_000
"""Most acceptable revisions of all waiting Requests together: one with a range may have a thousand."""

WANTED_TOGETHER = 8_000
"""Most acceptable revisions of all that is asked for at once, which is one event: each costs time in it."""

KINDS_LIMIT = 10_000
"""Most kinds of open Builds, by project, platform and needs of the machine: each build server that logs in is held
against every one."""

UNDERSTOOD = 2 * 1024 * 1024
"""In how many bytes wishes are remembered as understood."""

M = TypeVar("M", Submit, AskExplain)

OPTIONS_LIMIT = 100_000
"""Most bytes of all compile options of a build: they have to fit into the order, which is told after the commit."""

ASKER_LIMIT = 100
"""Most characters of a network address, that of a scoped IPv6 address included."""

PROBLEMS_TOLD = 40
"""How many problems are told to who asks for the metaserver's health."""

_FULL_ID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_Check = Callable[[ProjectOptions, Mapping[str, Value]], None]
_CLIENT_ID = re.compile(r"[0-9a-f]{32}\Z")


@define
class _Understood:
    """What submissions asked for, once understood: people and scripts ask for the same over and over.

    The digest of the values' text is the key, since True and 1 are equal and yet not the same answer. Only what the
    project looks at is in it: a requester may send as much else as the wire lets through.
    """

    projects: dict[str, Project] = field(factory=dict)
    known: Kept[tuple[str, bytes], tuple[Canonical, Canonical, Canonical]] = field(factory=lambda: Kept(UNDERSTOOD))

    def of(
        self,
        project: Project,
        message: Submit | AskExplain,
        check: _Check,
    ) -> tuple[Canonical, Canonical, Canonical]:
        """Return compile options, required platform and required machine. Raises UsageError.

        ``check`` raises it too, for a property that was asked for by a name that nobody knows.
        """
        if self.projects.get(project.name) is not project:
            self.projects[project.name] = project  # configured anew: its options may be others
            self.known.clear()
        local = _declared(project, message.local)
        asked = repr((message.compile, message.system, local)).encode(errors="surrogatepass")
        key = (project.name, sha256(asked).digest())
        found = self.known.get(key)
        if found is None:
            found = _understand(project, message, local, check)
            self.known.put(key, found, sum(map(weight_of_pairs, found)))
        return found


def _understand(
    project: Project, message: Submit | AskExplain, declared: dict[str, Value], check: _Check
) -> tuple[Canonical, Canonical, Canonical]:
    options = project.options
    explicit = options.system_values(message.system)
    check(options, explicit)
    local = options.system_values(declared)
    platform = platform_required(options, explicit, local)
    machine = machine_required(options, explicit, project.recipe.machine)
    compiled = options.compile_values(message.compile)
    size = size_of(listed(compiled))
    if size > OPTIONS_LIMIT:
        raise UsageError(f"the compile options take {size} bytes together: at most {OPTIONS_LIMIT} can be told")
    return compiled, platform, machine


def _untimed() -> None:
    """Nobody takes the time of the reactor's turns."""


@define
class Desk:
    """Implements ``ports.RequesterDesk`` over a broker."""

    settings: Settings
    broker: Broker
    store: BrokerStore
    resolver: SourceResolver
    teller: Teller
    explainer: Explainer
    conditions: Conditions
    open_limit: int = OPEN_LIMIT
    wanted_limit: int = WANTED_LIMIT
    kinds_limit: int = KINDS_LIMIT
    turns: Callable[[], Turns | None] = _untimed
    _understood: _Understood = field(factory=_Understood, init=False)
    _gate: Gate = field(init=False)

    @_gate.default
    def _one_at_a_time(self) -> Gate:
        """What is looked for in the database to answer a question keeps no commit waiting longer than once."""
        return Gate(self.broker.timers.seconds)

    async def submit(self, message: Submit) -> Told:
        """Ask for a build. Raises UsageError, UnknownRef, RepositoryUnreachable, Conflict, StorageUnavailable."""
        items, digests = (self._lean(message),), (body_digest(message),)
        del message  # while it waits only what is needed of it takes memory
        (told,) = await self._submit(items, digests)
        return told

    async def submit_together(self, message: SubmitTogether) -> ToldTogether:
        """Ask for several builds at once; either all are accepted or none is. Raises what ``submit`` does."""
        items = message.items
        del message
        if not 1 <= len(items) <= TOGETHER:
            raise UsageError(f"1 to {TOGETHER} builds can be asked for at once, not {len(items)}")
        if len({item.email for item in items}) > 1 or len({item.client_id for item in items}) < len(items):
            raise UsageError("what is asked for at once is for one address, each with a client request id of its own")
        digests = tuple(map(body_digest, items))
        items = tuple(map(self._lean, items))
        return ToldTogether(await self._submit(items, digests))

    async def _submit(self, items: tuple[Submit, ...], digests: tuple[str, ...]) -> tuple[Told, ...]:
        for item in items:
            if not _CLIENT_ID.match(item.client_id):
                raise UsageError("the client request id is 32 hex digits")
        # What was answered before is answered again without a look at the origin. Where that is not asked for
        # anything, the broker's own look is enough: it takes a batch of submissions at a time.
        if not all(_FULL_ID.match(item.revision) and not item.revrange for item in items):
            try:
                known = await self.store.answered([item.client_id for item in items])
            except StorageUnavailable as error:
                raise StorageUnavailable(f"{NOTHING_ACCEPTED}: {error}") from error
            if all(item.client_id in known for item in items):
                of_body = zip(items, digests, strict=True)
                return tuple([await self._repeated_as(digest, known[item.client_id]) for item, digest in of_body])
        resolved: dict[tuple[str, str, str], tuple[str, ...]] = {}
        submitted = []
        urls = []
        settings = self.settings
        for item, digest in zip(items, digests, strict=True):
            project = self.settings.project(item.project)
            email = valid_address(item.email)
            url = source_url(project, item.source)
            demand = await self._demand(project, url, item, resolved)
            submitted.append(
                Submitted(item.client_id, digest, email, demand, item.force, asker=asker().address[:ASKER_LIMIT])
            )
            urls.append(url)
        if settings is not self.settings:
            # Meanwhile another configuration was taken over: what was understood by the old one, nobody would build.
            return await self._submit(items, digests)
        self._check_room(submitted)
        event = submitted[0] if len(submitted) == 1 else SubmittedTogether(tuple(submitted))
        answer = await self.broker.send(event)
        answers = answer.answers if isinstance(answer, AnsweredTogether) else (answer,)
        return await self._told_all(answers, urls)

    async def _told_all(self, answers: Sequence[Answer], urls: Sequence[str]) -> tuple[Told, ...]:
        """Return what is told of each; the reactor turns meanwhile, since why one waits takes milliseconds to say."""
        told: list[Told] = []
        began = turned = self.broker.stopwatch()
        for one, url in zip(answers, urls, strict=True):
            before = self.broker.stopwatch()
            told.append(await self._told(one, url))
            if turned != began:  # what was told before the first turn is charged with the event
                self.broker.charge(asker(), self.broker.stopwatch() - before)
            turned = await self.broker.breathe(turned)
        return tuple(told)

    def _check_room(self, submitted: Sequence[Submitted]) -> None:
        """Raise Overloaded where what is asked for might have to wait and no more can."""
        state = self.broker.state
        wanted = sum(len(one.demand.acceptable) for one in submitted)
        if (
            len(state.requests) + len(submitted) > self.open_limit
            or state.revisions_wanted + wanted > self.wanted_limit
        ):
            raise Overloaded(f"{len(state.requests)} requests wait already, more are not taken: try again later")
        if len(submitted) > 1 and wanted > WANTED_TOGETHER:
            raise UsageError(
                f"what is asked for at once accepts {wanted} revisions in all, which may be {WANTED_TOGETHER}: "
                "ask with a smaller --revrange, or for fewer at once"
            )
        kinds = {one.demand.spec.demand_class() for one in submitted}
        if state.queue.kinds() + len(kinds) > self.kinds_limit and not all(map(state.queue.has, kinds)):
            count = state.queue.kinds()
            raise Overloaded(f"builds of {count} platforms and machines wait, no others are taken: try again later")

    async def cancel(self, message: Cancel) -> Told:
        """End a Request; one that has ended stays as it is. Raises NotFound, Unauthorised."""
        self._check_token(message.request_id, message.token)
        answer = await self.broker.send(CancelRequested(message.request_id))
        if isinstance(answer, Cancelled) and answer.request is not None:
            return await self.teller.told(answer.request)
        return await self.teller.told(await self._request(message.request_id))

    async def status(self, message: AskStatus) -> Told:
        """Say how a Request stands. Raises NotFound, Unauthorised."""
        self._check_token(message.request_id, message.token)
        return await self.teller.told(await self._request(message.request_id))

    async def explain(self, message: AskExplain) -> Explanation:
        """Say what a submission would be answered. Raises UsageError, UnknownRef, RepositoryUnreachable."""
        project = self.settings.project(message.project)
        message = self._lean(message)
        demand = await self._demand(project, source_url(project, message.source), message, {})
        answer = await self.broker.send(Explain(demand, message.force))
        return await self._gate.run(partial(self.explainer.submission, demand, _explained(answer)))

    async def why(self, message: AskWhy) -> Explanation:
        """Say why a Request waits. Raises NotFound, Unauthorised."""
        self._check_token(message.request_id, message.token)
        request = await self._request(message.request_id)
        if request.state is not RequestState.WAITING or request.build_id is None:
            return await self.explainer.ended(request)
        answer = await self.broker.send(AskedWhy(request.build_id))
        return await self._gate.run(partial(self.explainer.request, request, _explained(answer)))

    async def build(self, message: AskBuild) -> Explanation:
        """Say how an open Build stands and why it waits. Raises NotFound for one that is not open."""
        explained = _explained(await self.broker.send(AskedWhy(message.build_id)))
        if explained.build is None:
            raise NotFound(f"build {message.build_id} is not open")
        return self.explainer.open_build(explained.build, explained)

    async def health(self) -> HealthTold:
        """Say whether the metaserver can do its work."""
        problems = self.conditions.problems()
        more = (f"and {len(problems) - PROBLEMS_TOLD} more",) if len(problems) > PROBLEMS_TOLD else ()
        return HealthTold(not problems, (*problems[:PROBLEMS_TOLD], *more), self.turns())

    def _lean(self, message: M) -> M:
        """Return a message without what its project does not look at, which may be nearly all of it."""
        project = next((one for one in self.settings.projects if one.name == message.project), None)
        declared = _declared(project, message.local) if project is not None else {}
        return message if len(declared) == len(message.local) else evolve(message, local=declared)

    async def _demand(
        self,
        project: Project,
        url: str,
        message: Submit | AskExplain,
        resolved: dict[tuple[str, str, str], tuple[str, ...]],
    ) -> Demand:
        """Return what a message demands; ``resolved`` keeps what was resolved, so that one ref is one commit."""
        compile_values, platform, machine = self._understood.of(project, message, self._check_known)
        ref, revrange = ref_and_range(message)
        if (url, ref, revrange) not in resolved:
            commit = await self.resolver.resolve(url, ref)
            near = await self.resolver.acceptable(url, commit, revrange) if revrange else ()
            resolved[url, ref, revrange] = (commit, *(other for other in near if other != commit))
        acceptable = resolved[url, ref, revrange]
        spec = BuildSpec(
            project=project.name,
            source=message.source,
            revision=acceptable[0],
            recipe_version=project.recipe.version,
            options=compile_values,
            platform=platform,
            machine=machine,
            native=message.native,
        )
        return Demand(spec, ref, revrange, acceptable)

    def _check_known(self, options: ProjectOptions, explicit: Mapping[str, Value]) -> None:
        if explicit:
            tools = {*TOOLS, *tools_named(self.settings.projects)}
            check_known(options, explicit, self.broker.state.offered, tools)

    async def _told(self, answer: Answer, url: str) -> Told:
        match answer:
            case Hit():
                return await self.teller.told(answer.request, answer.artifact)
            case Dispatched() | Queued():
                self._pin(url, answer.build.spec.revision)
                return await self.teller.told(answer.request)
            case JoinedBuild() | KnownFailure():
                return await self.teller.told(answer.request)
            case RepeatedSubmission():
                return await self._repeated(answer.request_id, same=True)
            case ConflictingSubmission():
                return await self._repeated(answer.request_id, same=False)
            case _:
                raise InternalError("the metaserver answered a submission with something else")

    async def _repeated_as(self, digest: str, known: Answered) -> Told:
        return await self._repeated(known.request_id, same=known.body_digest == digest)

    async def _repeated(self, request_id: int, *, same: bool) -> Told:
        if not same:
            raise Conflict("this client request id was used for another request: make a new id for a new request")
        return await self.teller.told(await self._request(request_id))

    async def _request(self, request_id: int) -> Request:
        found = self.broker.state.requests.get(request_id) or await self.store.request(request_id)
        if found is None:
            raise NotFound(f"there is no request {request_id}")
        return found

    def _check_token(self, request_id: int, token: str) -> None:
        if not token_matches(request_id, token, self.teller.keys.request(request_id)):
            raise Unauthorised(f"that is not the token of request {request_id}: use the id as it was told to you")

    def _pin(self, url: str, commit: str) -> None:
        """Keep the commit whatever happens at the origin; nobody has to wait for that."""

        def failed(failure: object) -> None:
            log.warn("commit {commit} could not be pinned: {failure}", commit=commit, failure=failure)

        Deferred.fromCoroutine(self.resolver.pin(url, commit)).addErrback(failed)


_PAGES = Asker("pages")


@define
class DeskQuestions:
    """Implements ``ports.Questions`` for pages that run inside the metaserver."""

    desk: Desk

    async def why(self, build_id: int) -> Explanation | None:
        """Return how an open Build stands; None when it is not open."""
        try:
            with working_for(_PAGES):
                return await self.desk.build(AskBuild(build_id))
        except BuildToolError:
            return None


def body_digest(message: Submit) -> str:
    """Return the digest of everything in a submission but the client's id for it."""
    plain = encode(message)
    plain.pop("client_id", None)
    return digest_of(plain)


def source_url(project: Project, source: str) -> str:
    """Return the repository's URL for a ``--source``. Raises UsageError, RecipeMistake where the mapping is wrong."""
    tool_option("source").check(source)
    whom = f"path_to_url of {project.name}"
    try:
        url: object = ask(whom, partial(project.path_to_url, source))
    except RecipeMistake as error:
        cause = error.__cause__
        if isinstance(cause, LookupError):
            known = f": {cause.args[0]}" if cause.args else ""
            raise UsageError(f"project {project.name} has no source {source!r}{known}") from error
        raise
    if not isinstance(url, str) or not url:
        raise RecipeMistake(f"{whom} answered {url!r}, not a URL{at(defined(project.path_to_url))}")
    return url


def _explained(answer: Answer) -> Explained:
    if not isinstance(answer, Explained):
        raise InternalError("the metaserver answered a question with something else")
    return answer


def ref_and_range(message: Submit | AskExplain) -> tuple[str, str]:
    """Return the ref to build and the range to accept. ``A..B`` names the ref itself. Raises UsageError."""
    revision, revrange = tool_option("revision"), tool_option("revrange")
    ref = str(revision.check(message.revision or revision.default))
    span = str(revrange.check(message.revrange))
    if ".." not in span:
        return ref, span
    last = span.partition("..")[2]
    if message.revision and ref not in (revision.default, last):
        raise UsageError(f"--revrange {span} says what to build itself ({last}); leave --revision {ref} out")
    return last, span


def _declared(project: Project, local: Mapping[str, Value]) -> dict[str, Value]:
    """Leave out what this project does not look at: the requester's configuration may be older or newer."""
    names = project.options.artifact_names()
    if local.keys() <= names:
        return dict(local)
    return {name: value for name, value in local.items() if name in names}
