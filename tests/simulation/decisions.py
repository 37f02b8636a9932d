"""What must hold after each single decision: a batch holds several, and what it commits no longer shows it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from buildtool.metaserver import batches
from buildtool.model.matching.satisfaction import satisfies
from buildtool.model.records import AttemptEnd, BuildState
from buildtool.scheduling.answers import AnsweredTogether, ConflictingSubmission, Hit, NoPlace, RepeatedSubmission
from buildtool.scheduling.decide import Decision
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.dispatching import may_take
from buildtool.scheduling.effects import Dispatch
from buildtool.scheduling.events import AttemptEnded, Delivered, Event, Submitted, Tick, submissions
from buildtool.scheduling.order.rounds import place_of
from buildtool.scheduling.order.tags import SPARING
from buildtool.scheduling.state.state import State
from tests.simulation.declines import Declines
from tests.simulation.waits import HeldBack

Wrong = Callable[[str], None]

DECIDE = "decide"
"""How a batch calls what it is decided with."""


@contextmanager
def watched(comparisons: Mapping[str, Any], wrong: Wrong, declines: Declines) -> Iterator[None]:
    """Look at every decision that a metaserver takes; `wrong` is told what should not be."""
    original = batches.__dict__[DECIDE]
    known: list[object] = []
    held = HeldBack()

    def decide(state: State, event: Event, now: float) -> Decision:
        decision: Decision = original(state, event, now)
        _check_hits(state, event, decision, comparisons, wrong)
        held.look(state, event, wrong)
        if len(submissions(event)) <= 1:  # a later one may change who could have been started by an earlier one
            _check_starts(state, decision, now, wrong)
        if known != [state.reluctance]:  # the metaserver reads its database anew, and remembers no more of machines
            known[:] = [state.reluctance]
            declines.forget()
        if isinstance(event, Delivered) or (isinstance(event, AttemptEnded) and event.end is AttemptEnd.FAILED):
            declines.built(event.server, now)
        elif not isinstance(event, Tick):  # that is several decisions
            _check_reluctant(state, decision, now, wrong, declines)
        return decision

    setattr(batches, DECIDE, decide)
    try:
        yield
    finally:
        setattr(batches, DECIDE, original)


def _check_starts(state: State, decision: Decision, now: float, wrong: Wrong) -> None:
    """A Build that is started overtakes none in a better place that could have been started there.

    What only one server can build may go a little before.
    """
    context = DecisionContext(state, now)
    for effect in decision.effects:
        if not isinstance(effect, Dispatch):
            continue
        name, build = effect.attempt.server, state.builds.get(effect.build.id, effect.build)
        mine = place_of(build)
        lone = build.id in state.builds and len(state.queue.capable(build)) == 1
        for other in state.builds.values():
            waits = other.state is BuildState.QUEUED and not other.not_before and place_of(other) < mine
            refused = (other.id, name) in state.refusals  # it may be over, and nobody has looked yet
            if lone and mine[0] - place_of(other)[0] <= SPARING:
                continue
            if waits and not refused and name in state.queue.capable(other) and may_take(context, other, name):
                wrong(f"build {effect.build.id} on {name} overtook build {other.id}")


def _check_reluctant(state: State, decision: Decision, now: float, wrong: Wrong, declines: Declines) -> None:
    """A Build is not given to who gave some up of late, while one that never did is idle and could take it."""
    starts = [effect.attempt for effect in decision.effects if isinstance(effect, Dispatch)]
    busy = {attempt.server for attempt in starts}
    context = DecisionContext(state, now)
    for attempt in starts:
        build = state.builds.get(attempt.build_id)
        if build is None:
            continue
        idle = (name for name in state.queue.capable(build) if name in state.slots.free and name not in busy)
        could = [name for name in idle if may_take(context, build, name)]
        better = declines.preferred(attempt.server, could, now)
        if better:
            wrong(f"build {build.id} is given to {attempt.server}, which gave others up, and {better[0]} is idle")


def _check_hits(state: State, event: Event, decision: Decision, comparisons: Mapping[str, Any], wrong: Wrong) -> None:
    """Nobody waits for what stands on a shelf already, unless they insist on a build of their own.

    Several together are refused together: there it is wrong only where none of them would have waited.
    """
    answer = decision.answer
    asked = submissions(event)
    answers = answer.answers if isinstance(answer, AnsweredTogether) else (answer,) * len(asked)
    found = [_on_shelf(state, one, comparisons) for one in asked]
    if isinstance(answer, NoPlace) and None in found:
        return
    for one, told, there in zip(asked, answers, found, strict=True):
        if there is None or isinstance(told, Hit | RepeatedSubmission | ConflictingSubmission):
            continue
        wrong(f"artifact {there} would do for {one.client_id}, who is answered {type(told).__name__}")


def _on_shelf(state: State, asked: Submitted, comparisons: Mapping[str, Any]) -> int | None:
    """Return the number of an Artifact that would do for who does not insist on a build of their own."""
    shelved = (there for key in asked.demand.shelves for there in state.shelves.get(key).artifacts)
    would_do = (there.id for there in shelved if not satisfies(there, asked.demand, comparisons))
    return None if asked.force else next(would_do, None)
