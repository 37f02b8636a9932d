"""Why a Build waits, or what a request would get, computed when somebody asks. Nothing is changed by asking."""

from __future__ import annotations

from attrs import evolve

from buildtool.model.records import Build, BuildState, Request
from buildtool.scheduling import admission
from buildtool.scheduling.answers import Admitted, Dispatched, ExplainedAnswer, Hit, JoinedBuild, KnownFailure, Queued
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.events import AskedWhy, Explain
from buildtool.scheduling.order.superseding import end_older, heir_of
from buildtool.scheduling.state.estimates import Estimate
from buildtool.scheduling.state.state import State
from buildtool.scheduling.waiting import remaining, standstill_words, why


def explain(context: DecisionContext, event: Explain) -> ExplainedAnswer:
    """Return what a submission would be answered: it is admitted, looked at, and taken back."""
    state, now = context.state, context.now
    mark = state.journal.savepoint()
    request = Request(
        id=state.number("request"),
        client_id="",
        body_digest="",
        email=event.email,
        demand=event.demand,
        force=event.force,
        admitted_at=now,
        expires_at=float("inf"),
        share=event.share,
        nice=event.nice,
    )
    asked = DecisionContext(state, now)
    try:
        heir = heir_of(asked, request, event.older)
        answer = admission.answer_new(asked, heir.request, heir.tag)
        end_older(asked, heir)  # they would stand before it no more
        return _explained(state, answer, now)
    finally:
        state.journal.rollback(mark)


def explain_open(context: DecisionContext, event: AskedWhy) -> ExplainedAnswer:
    """Return the state of a Build, and for one that waits why it does; nothing if it is not open."""
    build = context.state.builds.get(event.build_id)
    return _explained_build(context.state, build, context.now) if build is not None else ExplainedAnswer("")


def _explained_build(state: State, build: Build, now: float) -> ExplainedAnswer:
    attempt = state.running_attempt(build) if build.state is BuildState.RUNNING else None
    return ExplainedAnswer(
        verdict=build.state.value,
        build=build,
        server=attempt.server if attempt is not None else "",
        reason=standstill_words(state, attempt),
        why=why(state, build, now) if attempt is None else None,
        estimate=remaining(state, attempt, build.spec, now) if attempt is not None else None,
    )


def _explained(state: State, answer: Admitted, now: float) -> ExplainedAnswer:
    match answer:
        case Hit():
            steps = answer.request.demand.acceptable.index(answer.artifact.shelf.revision)
            return ExplainedAnswer("hit", artifact=answer.artifact, steps=steps)
        case KnownFailure():
            return ExplainedAnswer("known-failure", build_id=answer.build_id, reason=answer.reason)
        case JoinedBuild():
            return evolve(_explained_build(state, answer.build, now), verdict="joined")
        case Dispatched():
            # Its build is not really there: nobody can look at it by a number.
            estimate = _whole(state, answer.build, answer.server)
            return ExplainedAnswer("dispatched", server=answer.server, estimate=estimate)
        case Queued():
            return ExplainedAnswer("queued", why=why(state, answer.build, now))


def _whole(state: State, build: Build, server: str) -> Estimate | None:
    attempt = state.running_attempt(build)
    platform = attempt.platform if attempt is not None else build.spec.platform
    return state.durations.expected(build.spec.shelf, platform, server)
