"""Limits in a simulated farm: builds that need more than a machine or their project lets them have.

A witness has the table of ends of its own: how each thing that a command may come to ends an Attempt, and whose fault
that is. It holds what honest build servers report against it, and looks for the limit, its value and the peak in the
last line of the log.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from buildtool.adapters.processes.command import CommandResult
from buildtool.model.guest.limits import BuildLimits, ExceededLimit, Limited
from buildtool.model.records import AttemptEnd
from buildtool.model.text import size_words
from buildtool.protocol.messages import Ended
from tests.fakes_build import ending

if TYPE_CHECKING:
    from tests.simulation.invariants import Watch

MATTERS = 0.5
"""In how many worlds builds need more than there is."""

TIME_LIMITS = (3_000.0, 3_000.0, 250.0)
"""The project's limit in seconds, one of these in a world with limits."""

OWN_TIME_LIMITS = (None, None, 150.0)
"""The limit in seconds that a machine's owner sets."""

GIB = 1 << 30
_OVER: dict[Limited, tuple[float, int, int]] = {
    Limited.MEMORY: (0.2, GIB // 2, 3 * GIB),
    Limited.DISK: (0.1, GIB, 30 * GIB),
    Limited.PROCESSES: (0.06, 40, 5_000),
    Limited.FILES: (0.04, 9_000, 2_500_000),
    Limited.FILE_SIZE: (0.04, GIB, 70 * GIB),
}
"""How often a build needs much of a thing; what it usually needs, and what it does then."""

FAULTS = {
    "memory": AttemptEnd.LIMITED,
    "disk": AttemptEnd.LIMITED,
    "processes": AttemptEnd.FAILED,
    "files": AttemptEnd.FAILED,
    "size of a file": AttemptEnd.FAILED,
    "project's time": AttemptEnd.FAILED,
    "owner's time": AttemptEnd.LIMITED,
    "killed from outside": AttemptEnd.LIMITED,
    "machine fault": AttemptEnd.BROKEN,
    "not started": AttemptEnd.BROKEN,
    "project's own": AttemptEnd.FAILED,
}
"""The table of ends (docs/integrator.rst), which the witness does not take from the program."""

BLAMES = (AttemptEnd.FAILED, AttemptEnd.LIMITED, AttemptEnd.BROKEN, AttemptEnd.MISTAKEN)
Key = tuple[int, int]


@frozen
class Met:
    """What a command came to: ``kind`` is a row of FAULTS, ``words`` must stand in the log's last line."""

    kind: str
    words: tuple[str, ...] = ()


@frozen
class Bounds:
    """What one machine gives a build. ``seconds`` is its owner's own limit, None for none."""

    limits: BuildLimits
    seconds: float | None = None


UNBOUNDED = Bounds(BuildLimits())


@define(eq=False)
class Limits:
    """The limits of one world, and what met them. ``watch`` is set before anything is built."""

    seed: int
    matters: bool = field(init=False)
    time_limit: float = 3_000.0
    watch: Watch = field(init=False)
    _met: dict[tuple[str, Key], Met | None] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        rng = random.Random(f"{self.seed} limits")
        self.matters = rng.random() < MATTERS
        if self.matters:
            self.time_limit = rng.choice(TIME_LIMITS)

    def of_machine(self, name: str) -> Bounds:
        """Return what a machine gives each build."""
        if not self.matters:
            return UNBOUNDED
        rng = random.Random(f"{self.seed} {name} limits")
        memory, disk = rng.choice((GIB, 8 * GIB, None)), rng.choice((10 * GIB, 50 * GIB, None))
        return Bounds(BuildLimits(memory, disk), rng.choice(OWN_TIME_LIMITS))

    def meets(self, bounds: Bounds, revision: str, colour: str, seconds: float, left: float) -> Excess:
        """Return what becomes of a command that would take so long, and may for ``left`` seconds; None: it ends well.

        ``seconds`` are how long it takes.
        """
        over = self._over(bounds.limits, revision, colour)
        if over is not None and seconds * 0.6 < left:
            amounts = (over.limit, over.peak) if over.what is not Limited.FILE_SIZE else (over.limit,)
            size = over.what in (Limited.MEMORY, Limited.DISK, Limited.FILE_SIZE)
            words = tuple(size_words(it) if size else str(it) for it in amounts)
            named = "a file of more than" if over.what is Limited.FILE_SIZE else f"limit of {over.what.value}"
            killed = ending(None, "stopped", seconds * 0.6, over.words(), signal=9)
            return Excess(killed, Met(over.what.value, (named, *words)), over)
        if seconds > left:
            whose = bounds.seconds is not None and bounds.seconds < self.time_limit
            most = bounds.seconds if whose and bounds.seconds is not None else self.time_limit
            kind = "owner's time" if whose else "project's time"
            named = "limit of this machine's owner" if whose else "the project's time limit"
            return Excess(ending(None, "time limit", left, "took too long"), Met(kind, (named, f"{most:g} s")))
        return Excess()

    def met(self, name: str, key: Key, what: Met | None) -> None:
        """A command of an Attempt is about to come to this, on an honest machine; None is a good end."""
        self._met[name, key] = what
        if what is not None and FAULTS[what.kind] is AttemptEnd.FAILED:
            self.watch.projects_fault.add((name, key))

    def reports(self, name: str, message: Ended) -> None:
        """An honest build server is about to say how an Attempt ended."""
        what = f"{name} reports {message.build_id}.{message.epoch} as {message.end.value} ({message.reason})"
        met = self._met.get((name, (message.build_id, message.epoch)))
        of_command = message.reason.startswith("build: ")
        if message.end not in BLAMES or not (of_command or met is not None):
            return
        if met is None:
            self.watch.wrong(f"{what}, and its command ended well")
            return
        right = FAULTS[met.kind]
        if of_command or message.end in (AttemptEnd.FAILED, AttemptEnd.LIMITED):
            self._check(message.end is right, f"{what}, which was: {met.kind}, so {right.value}")
            last = (message.log_tail.splitlines() or [""])[-1]
            missing = [word for word in met.words if word not in last]
            self._check(not missing, f"{what}, and the last line of its log does not say {missing}: {last!r}")

    def _over(self, limits: BuildLimits, revision: str, colour: str) -> ExceededLimit | None:
        if not self.matters:
            return None
        rng = random.Random(f"{self.seed} {revision} {colour} needs")
        found = []
        for what, (often, usually, much) in _OVER.items():
            need, limit = much if rng.random() < often else usually, limits.of(what)
            if limit is not None and need > limit:
                found.append(ExceededLimit(what, limit, need))
        return found[0] if found else None

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            self.watch.wrong(what)


@frozen
class Excess:
    """What a limit makes of a command: its end, what the witness shall hear, and the limit, where there is one."""

    end: CommandResult | None = None
    met: Met | None = None
    over: ExceededLimit | None = None
