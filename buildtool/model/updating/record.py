"""What is remembered of updates, and how that changes: values, no files.

What is about to be done is noted before it is done. So an update that was ended at whatever point is gone on with, or
gone back from, by the next one. Times are in seconds of wall time since 1970.
"""

from __future__ import annotations

from enum import Enum

from attrs import evolve, field, frozen

from buildtool.model.guest.following import SHORT

MOST_RUNS = 2
"""How often an update that was ended by something is gone on with before it is gone back from."""

MOST_FAILED = 16
"""How many versions that failed are remembered."""

MOST_PAST = 64

FIRST_DELAY, LONGEST_DELAY = 600.0, 86_400.0
"""Seconds after which what could not be made is made again: each time twice as many, up to a day."""


CUT = {"kept": "start"}
"""What is written of a text that a program made: as much as its file takes, from the start."""


class UpdatePhase(Enum):
    """The part of an update that was begun: until STARTING nothing that runs was touched."""

    MAKING = "making"
    STARTING = "starting"
    RETURNING = "returning"


class ResumeStep(Enum):
    """The thing to do about an update that was ended by something."""

    NOTHING = "nothing"
    FORGET = "forget"
    GO_ON = "go on"
    RETURN = "return"


@frozen
class UpdateAttempt:
    """The update that is under way: ``before`` is the version that held, "" for the first one.

    ``since`` is its beginning. ``resumed`` is how often it was gone on with. ``why`` says why it is gone back from.
    """

    commit: str
    name: str
    before: str
    since: float
    phase: UpdatePhase = UpdatePhase.MAKING
    resumed: int = 0
    why: str = field(default="", metadata=CUT)
    migrates: bool = False


@frozen
class FailedUpdate:
    """A version that failed, and why; None of ``again`` is that it is not tried again by itself."""

    commit: str
    name: str
    why: str = field(metadata=CUT)
    at: float
    tries: int = 1
    again: float | None = None


@frozen
class UpdateRecord:
    """The memory of one installation: commits are ids, or "".

    ``holds`` is the version that proved itself last, called ``name`` by people, and ``past`` are those before it, the
    newest first. ``tip`` is the newest one that was seen, and ``accepted`` was named by hand. ``words``, ``code``
    and ``at`` are the end of the last run.
    """

    holds: str = ""
    name: str = ""
    since: float = 0.0
    past: tuple[str, ...] = ()
    tip: str = ""
    accepted: str = ""
    attempt: UpdateAttempt | None = None
    failed: tuple[FailedUpdate, ...] = ()
    words: str = field(default="", metadata=CUT)
    code: int = 0
    at: float = 0.0

    @property
    def _under_way(self) -> UpdateAttempt:
        if self.attempt is None:
            raise RuntimeError("no update is under way")
        return self.attempt

    def failure_of(self, commit: str) -> FailedUpdate | None:
        """Return how a version failed earlier, None where it did not."""
        return next((one for one in self.failed if one.commit == commit), None)

    def beginning(self, commit: str, name: str, now: float, *, migrates: bool = False) -> UpdateRecord:
        """Return the record once an update to a version was begun."""
        return evolve(self, attempt=UpdateAttempt(commit, name, self.holds, now, migrates=migrates))

    def entering(self, phase: UpdatePhase, why: str = "") -> UpdateRecord:
        """Return the record once the update that is under way enters a phase; ``why`` is of going back."""
        one = self._under_way
        return evolve(self, attempt=evolve(one, phase=phase, why=why or one.why))

    def resuming(self) -> tuple[ResumeStep, UpdateRecord]:
        """Return what to do about an update that was ended by something, and the record with which that begins."""
        one = self.attempt
        if one is None:
            return ResumeStep.NOTHING, self
        if one.phase is UpdatePhase.MAKING:
            return ResumeStep.FORGET, evolve(self, attempt=None)
        if one.phase is UpdatePhase.RETURNING:
            return ResumeStep.RETURN, self
        if one.resumed >= MOST_RUNS and one.before:
            why = f"the update ended {one.resumed + 1} times while it was watched"
            return ResumeStep.RETURN, self.entering(UpdatePhase.RETURNING, why)
        return ResumeStep.GO_ON, evolve(self, attempt=evolve(one, resumed=one.resumed + 1))

    def held(self, now: float) -> UpdateRecord:
        """Return the record once the version that is tried has proved itself."""
        one = self._under_way
        past = tuple(dict.fromkeys(old for old in (one.before, *self.past) if old and old != one.commit))[:MOST_PAST]
        failed = tuple(other for other in self.failed if other.commit != one.commit)
        return evolve(
            self, holds=one.commit, name=one.name, since=now, past=past, accepted="", attempt=None, failed=failed
        )

    def failing(self, why: str, now: float, *, for_good: bool) -> UpdateRecord:
        """Return the record once the version that is tried has failed.

        One that failed for good is not tried again by itself, another one after a while, and stays accepted until then.
        """
        one = self._under_way
        earlier = self.failure_of(one.commit)
        tries = 1 if earlier is None else earlier.tries + 1
        again = None if for_good else now + min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(tries - 1, 16))
        noted = FailedUpdate(one.commit, one.name, why, now, tries, again)
        others = tuple(other for other in self.failed if other.commit != one.commit)
        accepted = "" if for_good else self.accepted
        noted_too = evolve(self, attempt=None, accepted=accepted, failed=(noted, *others)[:MOST_FAILED])
        if one.commit != self.holds:
            return noted_too
        # Gone back from by hand: what is gone back to holds from now on.
        past = tuple(old for old in self.past if old != one.before)
        return evolve(noted_too, holds=one.before, name=one.before[:SHORT], since=now, past=past)

    def leaving(self, before: str, why: str, now: float) -> UpdateRecord:
        """Return the record once the version that holds is to be gone back from, by hand, to one before it."""
        attempt = UpdateAttempt(self.holds, self.name, before, now, UpdatePhase.RETURNING, why=why)
        return evolve(self, attempt=attempt)

    def accepting(self, commit: str) -> UpdateRecord:
        """Return the record once a version was named by hand: it is tried, also where it failed before."""
        return evolve(self, accepted=commit, failed=tuple(one for one in self.failed if one.commit != commit))

    def found(self, current: str, now: float) -> UpdateRecord:
        """Return the record where the link leads to a version, as an operator may have made it by hand."""
        if self.attempt is not None or current == self.holds:
            return self
        past = tuple(one for one in dict.fromkeys((self.holds, *self.past)) if one and one != current)[:MOST_PAST]
        return evolve(self, holds=current, name=current[:SHORT], since=now, past=past)

    def ending(self, words: str, code: int, now: float) -> UpdateRecord:
        """Return the record at the end of a run."""
        return evolve(self, words=words, code=code, at=now)
