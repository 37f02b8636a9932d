"""How a Request comes in: hit, join, remembered failure, or a new Build (docs/architecture.rst)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import chain, islice
from operator import is_

from attrs import evolve

from buildtool.domain.dispatching import start_somewhere, start_waiting
from buildtool.domain.matching import implies, machine_eased, platform_satisfies, satisfies
from buildtool.domain.messages import (
    Answer,
    AnsweredTogether,
    ConflictingSubmission,
    Dispatched,
    Hit,
    JoinedBuild,
    KnownFailure,
    Queued,
    RepeatedSubmission,
    RequestMoved,
    Submitted,
    SubmittedTogether,
)
from buildtool.domain.model import (
    Artifact,
    Build,
    BuildSpec,
    BuildState,
    Demand,
    FailedHere,
    Joined,
    Request,
    RequestState,
)
from buildtool.domain.state import Seen, State
from buildtool.domain.turn import Turn, disappoint, expire, satisfy

JOINS_LOOKED_AT = 500
"""How many open Builds on the shelves that would do are looked at for one to join, the nearest revisions first.

Its own BuildKey is found whatever there is; who misses another gets a build of their own."""


def submit_together(turn: Turn, event: SubmittedTogether) -> AnsweredTogether:
    """Admit several Requests of one requester; ids are consecutive where none of them was answered before."""
    known = any(item.client_id in turn.state.seen for item in event.items)
    group = None if known else (turn.state.next_number("request"), len(event.items))
    return AnsweredTogether(tuple(submit(turn, item, group) for item in event.items))


def submit(turn: Turn, event: Submitted, group: tuple[int, int] | None = None) -> Answer:
    """Admit a new Request. One whose client id was answered before gets that answer again.

    ``group`` is the first id and the number of the Requests that it is made together with.
    """
    seen = turn.state.seen.get(event.client_id)
    if seen is not None:
        if seen.body_digest != event.body_digest:
            return ConflictingSubmission(seen.request_id)
        return RepeatedSubmission(seen.request_id, seen.answer)
    policy = turn.state.policy(event.demand.spec.project)
    request = Request(
        id=turn.state.number("request"),
        client_id=event.client_id,
        body_digest=event.body_digest,
        email=event.email,
        demand=event.demand,
        force=event.force,
        admitted_at=turn.now,
        expires_at=turn.now + policy.request_ttl,
        group=group[0] if group is not None else None,
        group_size=group[1] if group is not None else 0,
        asker=event.asker,
    )
    answer = answer_new(turn, request)
    turn.state.remember_answer(event.client_id, Seen(request.id, event.body_digest, answer.request.answer))
    turn.happened("request-" + answer.request.answer, f"request/{request.id}", f"by {event.by}" if event.by else "")
    return answer


def leave(turn: Turn, request: Request) -> None:
    """Let a waiting Request leave what it had joined, which came to nothing: ``settling`` admits it anew.

    From now on it wants its own exact revision. It keeps its place in the order of admission.
    """
    now = turn.state.requests[request.id]  # that another of its group has ended may just have been noted
    own = evolve(now.demand, acceptable=(now.demand.spec.revision,))
    turn.state.put(evolve(now, demand=own, build_id=None, joined=Joined.OWN))
    turn.anew.add(request.id)


def admit_anew(turn: Turn, anew: Request) -> None:
    """Admit a Request again that left what it had joined. Its requester is told only how it ends."""
    artifact = None if anew.force else find_hit(turn.state, anew.demand)
    if artifact is not None:
        satisfy(turn, anew, artifact)
        return
    # Nobody expires while being built for, so the timer may be used up: who is late does not queue again.
    late = anew.expires_at <= turn.now
    found = _joinable(turn, anew)
    if found is not None and not (late and found[0].state is BuildState.QUEUED):
        _wait_for(turn, anew, *found)
        start_waiting(turn, found[0].id)
        return
    failure = None if anew.force else find_failure(turn, anew.demand)
    if failure is not None:
        disappoint(turn, evolve(anew, build_id=failure.build_id), RequestState.FAILED, failure.reason)
        return
    if late:
        expire(turn, anew)
        return
    build = _new_build(turn, anew)
    _wait_for(turn, anew, build, Joined.OWN)
    start_somewhere(turn, build)


def find_hit(state: State, demand: Demand) -> Artifact | None:
    """Return the artifact that satisfies a demand best: nearest revision first, then the newest.

    It is looked for before a decision, since its file may be gone, and in it: the second time it is known.
    """
    shelves = tuple(map(state.shelf, demand.shelves()))
    known = state.hit
    if known is not None and known[0] is demand and all(map(is_, known[1], shelves)):
        return known[2]
    comparisons = state.compare(demand.spec.project)
    found = next((one for shelf in shelves for one in shelf.artifacts if not satisfies(one, demand, comparisons)), None)
    state.hit = demand, shelves, found
    return found


def find_failure(turn: Turn, demand: Demand) -> FailedHere | None:
    """Return the remembered failure of exactly this revision on a platform that would satisfy the demand."""
    comparisons = turn.state.compare(demand.spec.project)
    for failure in turn.state.shelf(demand.spec.shelf()).failures:
        if failure.until > turn.now and platform_satisfies(failure.platform, failure.kind, demand.spec, comparisons):
            return failure
    return None


def answer_new(turn: Turn, request: Request) -> Hit | JoinedBuild | KnownFailure | Dispatched | Queued:
    """Admit a Request that is not known yet, and return what its requester is answered."""
    demand = request.demand
    artifact = None if request.force else find_hit(turn.state, demand)
    if artifact is not None:
        ended = evolve(
            request,
            state=RequestState.SATISFIED,
            artifact_id=artifact.id,
            build_id=artifact.build_id,
            answer="hit",
            ended_at=turn.now,
        )
        turn.state.put(ended)
        return Hit(ended, artifact)
    found = _joinable(turn, request)
    if found is not None:
        joined = _wait_for(turn, evolve(request, answer="joined"), *found)
        start_waiting(turn, found[0].id)
        return JoinedBuild(joined, turn.state.builds[found[0].id])
    failure = None if request.force else find_failure(turn, demand)
    if failure is not None:
        ended = evolve(
            request,
            state=RequestState.FAILED,
            build_id=failure.build_id,
            reason=failure.reason,
            answer="known-failure",
            ended_at=turn.now,
        )
        turn.state.put(ended)
        return KnownFailure(ended, failure.build_id, failure.reason)
    return _answer_with_build(turn, request)


def _answer_with_build(turn: Turn, request: Request) -> Dispatched | Queued:
    build = _new_build(turn, request)
    waiting = _wait_for(turn, request, build, Joined.OWN)
    server = start_somewhere(turn, build)
    answered = evolve(waiting, answer="queued" if server is None else "dispatched")
    turn.state.put(answered)
    now = turn.state.builds[build.id]
    return Queued(answered, now) if server is None else Dispatched(answered, now, server)


def _new_build(turn: Turn, request: Request) -> Build:
    spec = request.demand.spec
    build = Build(
        id=turn.state.number("build"),
        key=spec.key(),
        spec=spec,
        place=request.id,
        created_at=turn.now,
        forced=request.force,
    )
    turn.state.put(build)
    turn.happened("build-queued", f"build/{build.id}")
    return build


def _wait_for(turn: Turn, request: Request, build: Build, joined: Joined) -> Request:
    """Let a Request wait for an open Build. Who asked before its place was given brings their own place along."""
    if request.id < build.place:
        build = evolve(build, place=request.id)
        turn.state.put(build)
    waiting = evolve(request, build_id=build.id, joined=joined)
    turn.state.put(waiting)
    turn.tell(RequestMoved(waiting, build.state.value, build.epoch))
    return waiting


def _joinable(turn: Turn, request: Request) -> tuple[Build, Joined] | None:
    """Return the open Build that will satisfy a Request, nearest revision first, and by what it will."""
    state, spec = turn.state, request.demand.spec
    own = state.build_by_key.get(spec.key())
    if own is not None:
        return _eased(turn, state.builds[own], spec), Joined.OWN
    shelves = request.demand.shelves()
    opened = chain.from_iterable(map(state.builds_on.get, shelves[:1] if request.force else shelves))
    near = list(islice(opened, JOINS_LOOKED_AT))
    if not near:
        return None
    able = cache(lambda: state.somebody_could(spec))
    for build_id in near:
        build = state.builds[build_id]
        joined = _joins(turn, request, build, able)
        if joined is not None:
            return build, joined
    return None


def _eased(turn: Turn, build: Build, wanted: BuildSpec) -> Build:
    """Return a waiting Build that any machine may take which is enough for one of those who wait for it.

    What the machine must have is no part of the BuildKey, so who needs less would wait behind who asked for more.
    """
    comparisons = turn.state.compare(wanted.project)
    machine = machine_eased(build.spec.machine, wanted.machine, comparisons)
    if build.state is not BuildState.QUEUED or machine == build.spec.machine:
        return build
    eased = evolve(build, spec=evolve(build.spec, machine=machine))
    turn.state.put(eased)
    return eased


def _joins(turn: Turn, request: Request, build: Build, able: Callable[[], bool]) -> Joined | None:
    """Return by what an open Build will satisfy a Request; ``able`` says whether anybody connected could build that."""
    spec = request.demand.spec
    comparisons = turn.state.compare(spec.project)
    exact = build.spec.revision == spec.revision
    if implies(build.spec, spec, comparisons):
        if build.state is BuildState.QUEUED and not turn.state.queue.capable(build) and able():
            return None  # it would wait for a machine that is not there, while its own build could start
        return Joined.IMPLICATION if exact else Joined.RANGE
    attempt = turn.state.running_attempt(build) if build.state is BuildState.RUNNING else None
    if attempt is not None and platform_satisfies(attempt.platform, attempt.kind, spec, comparisons):
        return Joined.ATTEMPT
    return None
