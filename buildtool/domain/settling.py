"""The last step of every decision: who waits anew is served in the order of places, then freed servers are filled.

One decision may end many Attempts and Builds: those of a server that is lost, or all failures that nobody is left to
confirm. Their Builds wait again, their Requests are admitted anew, and all of them compete for the same slots. So
nothing of it starts before everything has ended, and then whoever asked first comes first.
"""

from __future__ import annotations

from operator import itemgetter

from buildtool.domain.admission import admit_anew
from buildtool.domain.dispatching import fill, start_waiting
from buildtool.domain.model import Build, Request
from buildtool.domain.ready import Place, place_of
from buildtool.domain.turn import Turn


def settle(turn: Turn) -> None:
    """Start the Builds that wait again and admit anew the Requests that left theirs, then fill what was freed."""
    if not (turn.again or turn.anew or turn.freed):
        return
    state = turn.state
    waiting: list[tuple[Place, Build | Request]] = []
    waiting += [(place_of(state.builds[key]), state.builds[key]) for key in turn.again if key in state.builds]
    waiting += [((key, state.next_number("build")), state.requests[key]) for key in turn.anew]
    for _, one in sorted(waiting, key=itemgetter(0)):
        if isinstance(one, Request):
            admit_anew(turn, one)
        else:
            start_waiting(turn, one.id)
    for name in sorted(turn.freed):
        fill(turn, name)
