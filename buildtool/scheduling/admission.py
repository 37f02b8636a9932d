"""How a Request comes in: hit, join, remembered failure, or a new Build (docs/architecture.rst)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from itertools import chain, islice

from attrs import evolve

from buildtool.model.access.confirmation import UNCONFIRMED
from buildtool.model.matching.requiring import machine_eased
from buildtool.model.matching.satisfaction import implies, making_satisfies
from buildtool.model.records import (
    AnsweredRequest,
    Build,
    BuildSpec,
    BuildState,
    Demand,
    JoinReason,
    RememberedFailure,
    Request,
    RequestState,
)
from buildtool.scheduling import answers
from buildtool.scheduling.allowances import Places
from buildtool.scheduling.decision import DecisionContext, disappoint, expire, satisfy
from buildtool.scheduling.dispatching import start_somewhere, start_waiting
from buildtool.scheduling.effects import RequestMoved
from buildtool.scheduling.events import AddressConfirmed, Submitted, SubmittedTogether
from buildtool.scheduling.order import placing
from buildtool.scheduling.order.superseding import end_older, heir_of

HELD_FOR = 86_400.0
"""Seconds for which a Request waits until its e-mail address is confirmed."""

HELD_REASON = "waits until its e-mail address is confirmed, by the code that was mailed there"

JOINS_LOOKED_AT = 500
"""How many open Builds on the shelves that would do are looked at for one to join, the nearest revisions first.

Its own BuildKey is found whatever there is; who misses another gets a build of their own."""


def submit_one(context: DecisionContext, event: Submitted) -> answers.Answer:
    """Admit a Request as ``submit`` does, if there is a place for it or it needs none."""
    return _with_places(context, event.places, partial(submit, context, event))


def submit_together(context: DecisionContext, event: SubmittedTogether) -> answers.Answer:
    """Admit several Requests of one requester, if there are places for those of them that come to wait."""
    return _with_places(context, event.items[0].places, partial(_submit_together, context, event))


def _with_places(
    context: DecisionContext, places: Places | None, admit: Callable[[], answers.Answer]
) -> answers.Answer:
    """Return what ``admit`` does; it is taken back if more Requests wait then than may.

    What is answered at once does not wait: it is not refused, and takes no place.
    """
    if places is None:
        return admit()
    state = context.state
    mark, before = state.journal.savepoint(), state.records.open_counts.of(*places.counted)
    answer = admit()
    refusal = places.refusal(before, state.records.open_counts.of(*places.counted))
    if not refusal:
        return answer
    state.journal.rollback(mark)
    context.start_over()
    return answers.NoPlace(refusal)


def _submit_together(context: DecisionContext, event: SubmittedTogether) -> answers.AnsweredTogether:
    """Admit several Requests of one requester; ids are consecutive where none of them was answered before."""
    known = any(item.client_id in context.state.seen for item in event.items)
    group = None if known else (context.state.next_numbers["request"], len(event.items))
    return answers.AnsweredTogether(tuple(submit(context, item, group) for item in event.items))


def submit(context: DecisionContext, event: Submitted, group: tuple[int, int] | None = None) -> answers.Answer:
    """Admit a new Request. One whose client id was answered before gets that answer again.

    ``group`` is the first id and the number of the Requests that it is made together with.
    """
    seen = context.state.seen.get(event.client_id)
    if seen is not None:
        if seen.body_digest != event.body_digest:
            return answers.ConflictingSubmission(seen.request_id)
        return answers.RepeatedSubmission(seen.request_id, seen.answer)
    policy = context.state.projects.policy(event.demand.spec.project)
    request = Request(
        id=context.state.number("request"),
        client_id=event.client_id,
        body_digest=event.body_digest,
        email=event.email,
        demand=event.demand,
        force=event.force,
        admitted_at=context.now,
        expires_at=context.now + policy.request_ttl,
        group=group[0] if group is not None else None,
        group_size=group[1] if group is not None else 0,
        asker=event.asker,
        share=event.share or event.email.lower(),
        nice=event.nice,
    )
    heir = heir_of(context, request, event.older, held=event.held)
    answer = hold(context, heir.request) if event.held else answer_new(context, heir.request, heir.tag)
    end_older(context, heir)
    context.state.remember_answer(
        event.client_id, AnsweredRequest(request.id, event.body_digest, answer.request.answer)
    )
    saved = answer.artifact.seconds if isinstance(answer, answers.Hit) else 0.0
    context.happened("request-" + answer.request.answer, f"request/{request.id}", by=event.by, seconds=saved)
    return answer


def hold(context: DecisionContext, request: Request) -> answers.Unconfirmed:
    """Take a Request in that waits until its e-mail address is confirmed. It has its own, shorter time for that."""
    held = evolve(
        request, answer=UNCONFIRMED, reason=HELD_REASON, expires_at=min(request.expires_at, context.now + HELD_FOR)
    )
    context.state.put(held)
    return answers.Unconfirmed(held)


def release(context: DecisionContext, event: AddressConfirmed) -> answers.Acknowledged:
    """Admit a Request whose e-mail address is confirmed now. Its requester is told only how it ends."""
    request = context.state.requests.get(event.request_id)
    if request is None or not request.held:
        return answers.Acknowledged(stale=True)
    policy = context.state.projects.policy(request.demand.spec.project)
    expires = context.now + policy.request_ttl
    context.happened("request-confirmed", f"request/{request.id}")
    own = request.email.lower()  # it is confirmed, so it is a share of its own now
    admit_anew(context, evolve(request, answer="confirmed", reason="", expires_at=expires, share=own))
    return answers.Acknowledged()


def admit_anew(context: DecisionContext, anew: Request) -> None:
    """Admit a Request again that left what it had joined. Its requester is told only how it ends.

    Its Build is started with all that wait again, in their order.
    """
    artifact = None if anew.force else context.state.hits.find(anew.demand)
    if artifact is not None:
        satisfy(context, anew, artifact)
        return
    # Nobody expires while being built for, so the timer may be used up: who is late does not queue again.
    late = anew.expires_at <= context.now
    found = _joinable(context, anew)
    if found is not None and not (late and found[0].state is BuildState.QUEUED):
        _wait_for(context, anew, *found)
        context.again.add(found[0].id)
        return
    failure = None if anew.force else find_failure(context, anew.demand)
    if failure is not None:
        disappoint(context, evolve(anew, build_id=failure.build_id), RequestState.FAILED, failure.reason)
        return
    if late:
        expire(context, anew)
        return
    build = _new_build(context, anew)
    _wait_for(context, anew, build, JoinReason.OWN)
    context.again.add(build.id)


def find_failure(context: DecisionContext, demand: Demand) -> RememberedFailure | None:
    """Return the remembered failure of exactly this revision on a platform that would satisfy the demand."""
    comparisons = context.state.projects.compare(demand.spec.project)
    for failure in context.state.shelves.get(demand.spec.shelf).failures:
        seen = failure.platform, failure.kind, failure.evidence
        if failure.until > context.now and making_satisfies(*seen, demand.spec, comparisons):
            return failure
    return None


def answer_new(context: DecisionContext, request: Request, most: float = math.inf) -> answers.Admitted:
    """Admit a Request that is not known yet, and return what its requester is answered.

    If it comes to wait, its tag is at most ``most`` rounds.
    """
    demand = request.demand
    artifact = None if request.force else context.state.hits.find(demand)
    if artifact is not None:
        ended = evolve(
            request,
            state=RequestState.SATISFIED,
            artifact_id=artifact.id,
            build_id=artifact.build_id,
            answer="hit",
            ended_at=context.now,
        )
        context.state.put(ended)
        return answers.Hit(ended, artifact)
    found = _joinable(context, request)
    if found is not None:
        joined = _wait_for(context, evolve(request, answer="joined"), *found, most)
        start_waiting(context, found[0].id)
        return answers.JoinedBuild(joined, context.state.builds[found[0].id])
    failure = None if request.force else find_failure(context, demand)
    if failure is not None:
        ended = evolve(
            request,
            state=RequestState.FAILED,
            build_id=failure.build_id,
            reason=failure.reason,
            answer="known-failure",
            ended_at=context.now,
        )
        context.state.put(ended)
        return answers.KnownFailure(ended, failure.build_id, failure.reason)
    return _answer_with_build(context, request, most)


def _answer_with_build(context: DecisionContext, request: Request, most: float) -> answers.Dispatched | answers.Queued:
    build = _new_build(context, request)
    waiting = _wait_for(context, request, build, JoinReason.OWN, most)
    server = start_somewhere(context, context.state.builds[build.id])
    answered = evolve(waiting, answer="queued" if server is None else "dispatched")
    context.state.put(answered)
    now = context.state.builds[build.id]
    return answers.Queued(answered, now) if server is None else answers.Dispatched(answered, now, server)


def _new_build(context: DecisionContext, request: Request) -> Build:
    """Return a Build for a Request, to be put into the state once its place is known."""
    spec = request.demand.spec
    build = Build(
        id=context.state.number("build"),
        key=spec.key(),
        spec=spec,
        place=request.id,
        created_at=context.now,
        forced=request.force,
        share=request.share,
        nice=request.nice,
        base=max(request.base, 0.0),
    )
    context.happened("build-queued", f"build/{build.id}")
    return build


def _wait_for(
    context: DecisionContext, request: Request, build: Build, joined: JoinReason, most: float = math.inf
) -> Request:
    """Add a Request to an open Build. Who would stand before it brings their own place along."""
    base, build = placing.join(context, request, build, most)
    waiting = evolve(request, base=base, build_id=build.id, joined=joined)
    context.state.put(waiting)
    context.tell(RequestMoved(waiting, build.state.value, build.epoch))
    return waiting


def _joinable(context: DecisionContext, request: Request) -> tuple[Build, JoinReason] | None:
    """Return the open Build that will satisfy a Request, nearest revision first, and by what it will."""
    state, spec = context.state, request.demand.spec
    own = state.records.build_by_key.get(spec.key())
    if own is not None:
        return _eased(context, state.builds[own], spec), JoinReason.OWN
    shelves = request.demand.shelves
    opened = chain.from_iterable(map(state.records.builds_on.get, shelves[:1] if request.force else shelves))
    near = list(islice(opened, JOINS_LOOKED_AT))
    if not near:
        return None
    able = cache(lambda: state.groups.somebody_could(spec))
    for build_id in near:
        build = state.builds[build_id]
        joined = _joins(context, request, build, able)
        if joined is not None:
            return build, joined
    return None


def _eased(context: DecisionContext, build: Build, wanted: BuildSpec) -> Build:
    """Return a waiting Build that any machine may take which is enough for one of those who wait for it.

    What the machine must have is no part of the BuildKey, so who needs less would wait behind who asked for more.
    """
    comparisons = context.state.projects.compare(wanted.project)
    machine = machine_eased(build.spec.machine, wanted.machine, comparisons)
    if build.state is not BuildState.QUEUED or machine == build.spec.machine:
        return build
    eased = evolve(build, spec=evolve(build.spec, machine=machine))
    context.state.put(eased)
    return eased


def _joins(context: DecisionContext, request: Request, build: Build, able: Callable[[], bool]) -> JoinReason | None:
    """Return by what an open Build will satisfy a Request; ``able`` says whether anybody connected could build that."""
    spec = request.demand.spec
    comparisons = context.state.projects.compare(spec.project)
    exact = build.spec.revision == spec.revision
    if implies(build.spec, spec, comparisons):
        if build.state is BuildState.QUEUED and not context.state.queue.capable(build) and able():
            return None  # it would wait for a machine that is not there, while its own build could start
        return JoinReason.IMPLICATION if exact else JoinReason.RANGE
    attempt = context.state.running_attempt(build) if build.state is BuildState.RUNNING else None
    if attempt is None:
        return None
    would = making_satisfies(attempt.platform, attempt.kind, attempt.evidence, spec, comparisons)
    return JoinReason.ATTEMPT if would else None
