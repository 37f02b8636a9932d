"""One round of an update: look, decide, make, check, start, watch, and go back where that fails. It blocks.

What is about to be done is noted before, so that a round which is ended at any point is gone on with by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import evolve, field, frozen

from buildtool.errors import BuildToolError, ConfigurationError, MachineFault, UsageError
from buildtool.model.guest.following import SHORT
from buildtool.model.updating.deciding import UpdateStanding, UpdateStep, decide_update
from buildtool.model.updating.names import superfluous
from buildtool.model.updating.record import ResumeStep, UpdateAttempt, UpdatePhase, UpdateRecord
from buildtool.model.updating.watching import VersionWatch, WatchVerdict
from buildtool.programs.common.ending import EXIT_FAILED, EXIT_OK
from buildtool.programs.updating.choice import UpdateChoice
from buildtool.programs.updating.commands import asked, run_command
from buildtool.programs.updating.looking import NewestVersion, look_for_newest, repository_of, revisions_here
from buildtool.programs.updating.making import make_version
from buildtool.programs.updating.memory import UpdateMemory
from buildtool.programs.updating.place import STATE, VersionPlace

EXIT_GONE_BACK = 14
EXIT_NOT_READY = 15
EXIT_NOT_TAKEN = 16

SOON, LATER = 1.0, 5.0
"""Seconds between two looks whether it is ready: until it is, and from then on."""

ONE_LOOK = 30.0
"""Seconds that one look may take."""

BY_HAND = "somebody went back from it by hand"

CHECK_LIMIT, BACKUP_LIMIT = 600.0, 14_400.0


@frozen
class RoundEnd:
    """The end of a round: its exit code, and in words what came of it; quiet where nothing was to be done."""

    code: int
    words: str
    quiet: bool = False


@frozen
class UpdateRound:
    """A round by what an operator chose. ``tell`` is told each step before it begins, in a line.

    ``wall`` is the time in seconds since 1970, ``steady`` that of a clock that is never set; ``rest`` waits seconds.
    """

    choice: UpdateChoice
    place: VersionPlace
    tell: Callable[[str], object]
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    rest: Callable[[float], object] = time.sleep
    memory: UpdateMemory = field(init=False)

    @memory.default
    def _own(self) -> UpdateMemory:
        return UpdateMemory(self.place.path)

    def run(self) -> RoundEnd:
        """Update the installation. Raises AlreadyRunning, ConfigurationError, MachineFault, UsageError."""
        with self.place.lock():
            record = self.memory.load()
            try:
                end = self._resumed(record) or self._looked()
            except BuildToolError as error:
                self._note(RoundEnd(EXIT_FAILED, str(error)))
                raise
            self._note(end)
            return end

    def leave(self) -> RoundEnd:
        """Restore the version before the one that holds, as the operator wishes. Raises BuildToolError."""
        with self.place.lock():
            end = self._left_half() or self._return(self._leaving())
            end = evolve(end, code=EXIT_OK) if end.code == EXIT_GONE_BACK else end
            self._note(end)
            return end

    def _left_half(self) -> RoundEnd | None:
        """Leave an update that was ended while it was started; None where what runs is none, or is the new version."""
        record = self.memory.load()
        one = record.attempt
        if one is None or not one.before or one.phase is UpdatePhase.MAKING:
            self._resumed(record)
            return None
        if not one.migrates:  # else it depends on whether it becomes ready
            return self._return(record.entering(UpdatePhase.RETURNING, one.why or BY_HAND))
        end = self._resumed(record)
        return None if self.memory.load().holds == one.commit else end

    def _leaving(self) -> UpdateRecord:
        record = self._found()
        before = next((one for one in record.past if self.place.whole(one)), "")
        if not before:
            raise UsageError("there is no version before this one to go back to")
        here, there = self.place.version(record.holds), self.place.version(before)
        brought = set[str]() if self.choice.without_database else revisions_here(here) - revisions_here(there)
        if brought:
            raise UsageError(
                f"{record.name} has brought revision {max(brought)} of the database, which {before[:SHORT]} cannot "
                f"use: stop the servers, put an older backup in place, have {self.place.link} lead to {there}, start"
            )
        return record.leaving(before, BY_HAND, self.wall())

    # --- what is new ------------------------------------------------------------------------------------

    def _found(self) -> UpdateRecord:
        record, current = self.memory.load(), self.place.current()
        if current and not self.place.whole(current):
            raise MachineFault(f"{self.place.link} leads to {current[:SHORT]}, which was never made to its end")
        return record.found(current, self.wall())

    def _looked(self) -> RoundEnd:
        record = self._found()
        newest = look_for_newest(self.choice, record.holds, self.place.version(record.holds), self.wall())
        record = evolve(record, tip=newest.tip.commit)
        self.memory.save(record)
        decision = decide_update(self._standing(record, newest))
        match decision.step:
            case UpdateStep.REST | UpdateStep.ASK:
                return RoundEnd(EXIT_OK, decision.words, quiet=decision.step is UpdateStep.REST)
            case UpdateStep.REFUSE:
                return RoundEnd(EXIT_NOT_TAKEN, decision.words)
            case UpdateStep.FAILED:
                failed = record.failure_of(newest.tip.commit)
                for_good = failed is not None and failed.again is None
                return RoundEnd(EXIT_GONE_BACK if for_good else EXIT_FAILED, decision.words)
        if self.place.has_state(record.holds):
            state = self.place.version(record.holds) / STATE
            raise ConfigurationError(
                f"{newest.name} is not tried, since servers keep their state in {state}, which goes with that version: "
                "stop them, move it, and name its new place (state_dir and build_dir in the configuration)"
            )
        if record.holds and record.accepted != newest.tip.commit:
            why = self._readiness(record.holds)
            if why:
                return RoundEnd(
                    EXIT_NOT_READY, f"{newest.name} is not tried, since what runs is not ready as it is: {why}"
                )
        return self._try(
            record.beginning(newest.tip.commit, newest.name, self.wall(), migrates=bool(newest.brings)), newest
        )

    def _standing(self, record: UpdateRecord, newest: NewestVersion) -> UpdateStanding:
        return UpdateStanding(
            newest.tip, newest.name, record.holds, self.choice.unsigned, self.choice.source.asks, record.accepted,
            record.failure_of(newest.tip.commit), newest.brings, self.choice.backups is not None, newest.lacks,
            self.wall(),
        )  # fmt: skip

    # --- the new one beside the old ---------------------------------------------------------------------

    def _try(self, record: UpdateRecord, newest: NewestVersion) -> RoundEnd:
        one = _attempt(record)
        self.memory.save(record)
        self.tell(f"makes {newest.about}")
        why = make_version(self.place, repository_of(self.choice), one.commit)
        if why:
            return self._unmade(record, why, for_good=False)
        self.tell(f"checks {one.name}")
        why = run_command(self.choice.check, self.place.version(one.commit), CHECK_LIMIT, self.choice.account).why
        if why:
            return self._unmade(record, why, for_good=True)
        if one.migrates and self.choice.backups is not None:
            target = self.choice.backups / f"before-{one.commit[:SHORT]}-{int(self.wall())}"
            self.tell(f"makes a backup in {target}")
            words = ("bin/metaserver", "backup", str(target))
            why = run_command(words, self.place.version(one.before), BACKUP_LIMIT, self.choice.account).why
            if why:
                return self._unmade(record, f"there is no backup: {why}", for_good=False)
        return self._start(record)

    def _unmade(self, record: UpdateRecord, why: str, *, for_good: bool) -> RoundEnd:
        """Note that a version failed before anything that runs was touched."""
        one = _attempt(record)
        self.place.remove(one.commit)
        self.memory.save(record.failing(why, self.wall(), for_good=for_good))
        stays = f"; {record.name} runs on" if record.holds else ""
        return RoundEnd(EXIT_GONE_BACK if for_good else EXIT_FAILED, f"{one.name} is not taken: {why}{stays}")

    # --- in place of the old ----------------------------------------------------------------------------

    def _start(self, record: UpdateRecord) -> RoundEnd:
        one = _attempt(record)
        record = record.entering(UpdatePhase.STARTING)
        self.memory.save(record)
        self.tell(f"has {self.place.link} lead to {one.name}")
        self.place.lead_to(one.commit)
        if not one.before:
            return self._hold(record, f"{one.name} is installed: start its programs by {self.place.link}/bin")
        self.tell(f"starts {one.name}, and watches it for {self.choice.watch:g} s")
        why, was_ready = self._started(one.commit, self.choice.watch)
        if not why:
            return self._hold(record, f"{one.name} runs, in place of {record.name}")
        if one.migrates and was_ready:
            end = self._hold(record, f"{one.name} runs, but {why}")
            kept = f"the database is of {one.name} by now; a backup of before lies in {self.choice.backups}"
            return RoundEnd(EXIT_NOT_READY, f"{end.words}; it is not gone back from: {kept}")
        return self._return(record.entering(UpdatePhase.RETURNING, why))

    def _hold(self, record: UpdateRecord, words: str) -> RoundEnd:
        self.memory.save(record := record.held(self.wall()))
        repository_of(self.choice).keep(record.holds)
        self._clear(record)
        return RoundEnd(EXIT_OK, words)

    def _clear(self, record: UpdateRecord) -> None:
        """Remove versions that are kept no more; one that cannot be removed is told, and tried again next time."""
        there = self.place.versions()
        for commit in superfluous(there, (record.holds, self.place.current()), record.past, self.choice.keep):
            if self.place.has_state(commit):
                self.tell(f"{self.place.version(commit)} stays, since state of servers is in its {STATE}")
                continue
            try:
                self.place.remove(commit)
            except MachineFault as error:
                self.tell(str(error))

    def _return(self, record: UpdateRecord) -> RoundEnd:
        one = _attempt(record)
        try:
            self.memory.save(record)
        except MachineFault as error:  # of a full disk, say: going back does not wait for that
            self.tell(str(error))
        if not self.place.whole(one.before):
            words = f"{one.name} does not hold ({one.why}), and there is no version to go back to"
            self.memory.save(record.held(self.wall()))
            return RoundEnd(EXIT_NOT_READY, words)
        self.tell(f"goes back from {one.name} to {one.before[:SHORT]}: {one.why}")
        self.place.lead_to(one.before)
        why, _ = self._started(one.before, 0.0)
        record = record.failing(one.why, self.wall(), for_good=True)
        self.memory.save(record)
        self._clear(record)
        words = f"{one.name} is gone back from, and {one.before[:SHORT]} runs again: {one.why}"
        if why:
            return RoundEnd(EXIT_NOT_READY, f"{words}; but it is not ready either: {why}")
        return RoundEnd(EXIT_GONE_BACK, words)

    def _started(self, commit: str, lasting: float) -> tuple[str, bool]:
        """Restart the servers; return why a version does not hold, "" where it does, and whether it was ready."""
        here = self.place.version(commit)
        began = self.steady()
        restarted = run_command(self.choice.restart, here, self.choice.within, self.choice.account)
        if restarted.why:
            return f"it was not started: {restarted.why}", False
        watch = VersionWatch(began, self.choice.within, lasting)
        while True:
            why, same = self._readiness(commit), ""
            if self.choice.same:
                told = run_command(self.choice.same, here, ONE_LOOK, self.choice.account)
                why, same = why or told.why, told.out
            now = self.steady()
            watch = watch.seen(now, why, same)
            match watch.verdict(now):
                case WatchVerdict.HELD:
                    return "", True
                case WatchVerdict.LOST:
                    return watch.words, watch.ready is not None
            self.rest(SOON if watch.ready is None or why else min(LATER, max(lasting, 0.01)))

    def _readiness(self, commit: str) -> str:
        """Return why what runs is not ready, "" where it is."""
        for one in self.choice.ready:
            if one.startswith(("http://", "https://")):
                why = asked(one, ONE_LOOK)
            else:
                from buildtool.programs.updating.choice import command_words

                why = run_command(command_words(one), self.place.version(commit), ONE_LOOK, self.choice.account).why
            if why:
                return why
        return ""

    # --- what was ended by something --------------------------------------------------------------------

    def _resumed(self, record: UpdateRecord) -> RoundEnd | None:
        """Go on with an update that was ended by something; None where there is none, or nothing was touched by it."""
        step, record = record.resuming()
        match step:
            case ResumeStep.NOTHING:
                return None
            case ResumeStep.FORGET:
                self.memory.save(record)
                return None
            case ResumeStep.GO_ON:
                self.tell(f"goes on with {_attempt(record).name}, which was being started when an update ended")
                self.memory.save(record)
                return self._start(record)
        self.tell(f"goes on going back from {_attempt(record).name}")
        return self._return(record)

    def _note(self, end: RoundEnd) -> None:
        self.memory.save(self.memory.load().ending(end.words, end.code, self.wall()))


def accept_seen(place: VersionPlace, commit: str) -> str:
    """Record that the operator takes the version seen last; return its id. Raises UsageError, BuildToolError."""
    memory = UpdateMemory(place.path)
    with place.lock():
        record = memory.load()
        if not record.tip.startswith(commit.lower()):
            seen = f"is not {record.tip[:SHORT]}, which was seen last" if record.tip else "was never seen: say run"
            raise UsageError(f"{commit[:40]} {seen}")
        memory.save(record.accepting(record.tip))
        return record.tip


def _attempt(record: UpdateRecord) -> UpdateAttempt:
    if record.attempt is None:
        raise RuntimeError("no update is under way")
    return record.attempt
