"""What a look of a trigger comes to: which commits it asks for, what it knows afterwards, and when it looks again.

Pure: what the repository has and the time are arguments. The test is tests/model/triggers/test_looking.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from buildtool.model.triggers.trigger import Trigger

__all__ = ["AT_ONCE", "CommitWanted", "Memory", "begun", "changes", "due", "put_off", "remembered", "righted"]

AT_ONCE = 20
"""Most commits that one look asks for; what is left is asked for by the next, which follows at once."""

RETRY_FIRST, RETRY_MOST = 10.0, 3_600.0
"""Seconds until a look that failed is made again, doubling from the first to the last."""


@frozen
class Memory:
    """The memory of a trigger: the commit of each ref that it asked for, or that was there before it.

    ``looked`` is the instant of its schedule for which it looked last, negative before the first look. ``asked`` is
    when it asked for something last, 0 for never, and ``said`` what came of it, or of the look that failed.
    ``failures`` counts the looks that failed since one did not, ``retry`` is when the next is made. Times are wall time
    in seconds.
    """

    refs: Mapping[str, str] = field(factory=dict)
    looked: float = -1.0
    asked: float = 0.0
    said: str = ""
    failures: int = 0
    retry: float = 0.0

    @property
    def fresh(self) -> bool:
        """Whether it never looked."""
        return self.looked < 0


@frozen
class CommitWanted:
    """A ref, by its full name, with a commit that a trigger asks for."""

    ref: str
    commit: str


def begun(trigger: Trigger, now: float) -> Memory:
    """Return what a trigger knows that is new ``now``, in seconds of wall time.

    One that asks for what there is looks for the first time when it is due.
    """
    return Memory(looked=trigger.schedule.latest(now)) if trigger.past else Memory()


def righted(trigger: Trigger, memory: Memory, now: float) -> Memory:
    """Return a memory of which nothing lies ahead of the clock, as it does once that was ahead and is set right."""
    looked = trigger.schedule.latest(now) if memory.looked > now else memory.looked
    retry = min(memory.retry, now + RETRY_MOST)
    same = (looked, retry) == (memory.looked, memory.retry)
    return memory if same else evolve(memory, looked=looked, retry=retry)


def due(trigger: Trigger, memory: Memory, now: float, *, hinted: bool = False) -> float:
    """Return when the next look is to be made, in seconds of wall time; not after ``now`` where it is to be made now.

    ``hinted`` if it was said that something may have happened. Of instants that were missed only the last counts. The
    memory is ``righted`` at each round, or what lies ahead of the clock stays so.
    """
    if hinted:
        return now
    if memory.failures:
        return min(memory.retry, now + RETRY_MOST)
    if memory.fresh:
        return now
    return trigger.schedule.following(min(memory.looked, now))


def changes(trigger: Trigger, memory: Memory, found: Mapping[str, str]) -> tuple[CommitWanted, ...]:
    """Return what to ask for where the repository has these refs, by full names: ``AT_ONCE`` at most."""
    if memory.fresh:
        return ()
    new = (
        CommitWanted(ref, found[ref])
        for ref in sorted(found)
        if trigger.is_of(ref) and memory.refs.get(ref) != found[ref]
    )
    return tuple(one for one, _ in zip(new, range(AT_ONCE), strict=False))


def remembered(
    trigger: Trigger, memory: Memory, found: Mapping[str, str], settled: Mapping[str, str], now: float, said: str
) -> Memory:
    """Return what a trigger knows after a look: ``settled`` has the refs that need no further one, with their commits.

    ``said`` is what was asked for, "" for nothing; ``now`` is in seconds of wall time. Refs that are gone are
    forgotten. One that is left for the next look stays what it was. A repository without any is being made anew, and
    what is there again afterwards is nothing new.
    """
    there = {ref: commit for ref, commit in found.items() if trigger.is_of(ref)}
    if not found:
        there = dict(memory.refs)
    elif not memory.fresh:
        there = {ref: settled.get(ref, memory.refs.get(ref, "")) for ref in there}
        there = {ref: commit for ref, commit in there.items() if commit}
    told = evolve(memory, refs=there, looked=trigger.schedule.latest(now), failures=0, retry=0.0)
    if said:
        return evolve(told, asked=now, said=said)
    return evolve(told, said="") if memory.failures else told


def put_off(memory: Memory, why: str, now: float) -> Memory:
    """Return what a trigger knows after a look that failed ``now``, in seconds of wall time."""
    wait = min(RETRY_FIRST * 2.0 ** min(memory.failures, 16), RETRY_MOST)
    return evolve(memory, failures=memory.failures + 1, retry=now + wait, said=why)
