"""Whether a lent machine may build now, must freeze what it builds, or must hand it back: one pure function.

``judge_stance`` looks at the owner's wishes, the time and what was observed, and says why in words that the owner, the
pages and those who wait all read. What is in the way is a *hindrance*; the first that counts is told. A build that
runs is frozen by one, and handed back once it was frozen for longer than the owner's patience, or at once where it is
known that the hindrance lasts longer, or where standing still would not help the owner: a frozen build keeps its disk.
Wall time is in seconds since 1970.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from datetime import tzinfo

from attrs import evolve, field, frozen, validators

from buildtool.model.guest.hours import DaySpan, WeekHours, away_at, clock_words, holds, next_change
from buildtool.model.text import duration_words, size_words

IDLE_AFTER = 900.0
"""Seconds without keyboard and mouse after which an owner is taken to be away."""

PATIENCE = 600.0
"""Seconds that a build stays frozen before it is handed back."""

MAX_LOAD = 0.5
"""Processors that others may use where nothing but that tells whether the owner is there."""


class Motion(enum.Enum):
    """The order for builds that run: on they go, they are frozen, or they are handed back."""

    GO_ON = "go on"
    FREEZE = "freeze"
    HAND_BACK = "hand back"


@frozen
class OwnerWishes:
    """The wishes of a machine's owner; all hours empty, or a limit None, means that nothing is asked for.

    With ``idle_only`` the owner counts as there for ``idle_after`` seconds after keyboard or mouse were used, and while
    others use more than ``max_load`` processors. ``patience`` is in seconds, ``disk`` how many GiB stay free.
    ``memory_present`` is how many bytes all builds together may use while the owner is there.
    """

    zone: tzinfo
    hours: tuple[WeekHours, ...] = ()
    network_hours: tuple[WeekHours, ...] = ()
    away: tuple[DaySpan, ...] = ()
    idle_only: bool = False
    idle_after: float = field(default=IDLE_AFTER, validator=validators.gt(0))
    max_load: float | None = None
    mains_only: bool = False
    disk: float = 0.0
    patience: float = field(default=PATIENCE, validator=validators.ge(0))
    memory_present: int | None = None

    @property
    def watches_owner(self) -> bool:
        """Whether it matters if the owner is there."""
        return self.idle_only or self.memory_present is not None

    @property
    def watches(self) -> bool:
        """Whether the machine must be looked at to know what may be done."""
        return self.watches_owner or self.mains_only or self.disk > 0


@frozen
class Observed:
    """The finds of one look at the machine; None is what nothing tells.

    ``input_age`` is how many seconds ago keyboard, mouse or a terminal were used, ``others_load`` how many processors
    others use, ``on_battery`` whether it runs from a battery, ``free_disk`` how many GiB are free where builds write,
    ``builds_memory`` how many bytes all builds together use.
    """

    input_age: float | None = None
    others_load: float | None = None
    on_battery: bool | None = None
    free_disk: float | None = None
    builds_memory: int | None = None


@frozen
class PauseAsked:
    """A pause that the owner asked for, until a moment of wall time in seconds; None is until they say otherwise."""

    until: float | None = None


@frozen
class Stance:
    """The answer: whether new builds may begin, what becomes of those that run, and whether bytes may be sent.

    ``reason`` says in words what is in the way, empty where nothing is; ``until`` in words when that ends, where that
    is known, and ``until_at`` the same in seconds of wall time. ``more`` has such words of all else that is in the way.
    ``look_again`` is when the answer may become another though nothing happens, in seconds of wall time. ``memory`` is
    how many bytes all builds together are to get along with now, None where only the limit of each counts.
    """

    begins: bool
    running: Motion
    transfers: bool
    reason: str = ""
    until: str = ""
    until_at: float | None = None
    look_again: float | None = None
    memory: int | None = None
    more: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What is in the way and until when, in one line; empty where nothing is."""
        return _in_words(self.reason, self.until)

    @property
    def all_words(self) -> tuple[str, ...]:
        """The same of everything that is in the way, what counts first before the rest."""
        return (self.words, *self.more) if self.reason else ()


@frozen
class _Hindrance:
    reason: str
    until: str
    until_at: float | None
    freezes: bool = True
    ends: bool = False
    """Whether what runs is in the way itself, so that it is handed back and not kept."""


def _in_words(reason: str, until: str) -> str:
    joint = " " if until.startswith("until ") else "; "
    return f"{reason}{joint}{until}" if until else reason


OPEN = Stance(begins=True, running=Motion.GO_ON, transfers=True)
"""The stance of a machine whose owner asks for nothing."""


def judge_stance(
    wishes: OwnerWishes,
    now: float,
    seen: Observed,
    *,
    pause: PauseAsked | None = None,
    frozen_for: float = 0.0,
) -> Stance:
    """Return what may be done at ``now``, in seconds of wall time; builds are frozen for ``frozen_for`` seconds."""
    found = list(_hindrances(wishes, now, seen, pause))
    memory = wishes.memory_present if wishes.memory_present is not None and owner_is_there(wishes, seen) else None
    transfers = holds(wishes.network_hours, now)
    gives_way = now + wishes.patience - frozen_for
    running = _motion([one for one in found if one.freezes], now, gives_way)
    moments = [*_changes(wishes, now), *(one.until_at for one in found if one.until_at is not None)]
    if running is Motion.FREEZE:
        moments.append(gives_way)
    look_again = min((one for one in moments if one > now), default=None)
    if not found:
        return Stance(begins=True, running=running, transfers=transfers, look_again=look_again, memory=memory)
    first, *others = found
    more = tuple(_in_words(one.reason, one.until) for one in others)
    return Stance(False, running, transfers, first.reason, first.until, first.until_at, look_again, memory, more)


def _motion(freezing: list[_Hindrance], now: float, gives_way: float) -> Motion:
    if not freezing:
        return Motion.GO_ON
    if any(one.ends for one in freezing):
        return Motion.HAND_BACK
    known = max((one.until_at for one in freezing if one.until_at is not None), default=-math.inf)
    return Motion.HAND_BACK if now >= gives_way or known > gives_way else Motion.FREEZE


def _hindrances(wishes: OwnerWishes, now: float, seen: Observed, pause: PauseAsked | None) -> Iterator[_Hindrance]:
    """Yield what is in the way, that first which is told: the owner's word before what was merely seen."""
    if pause is not None and (pause.until is None or now < pause.until):
        if pause.until is None:
            yield _Hindrance("its owner paused it", "until they resume it", None)
        else:
            yield _Hindrance("its owner paused it", _takes_again(wishes, pause.until, now), pause.until)
    if not holds(wishes.hours, now):
        opens = next_change(wishes.hours, now)
        until = "" if opens is None else _takes_again(wishes, opens, now, wishes.hours)
        yield _Hindrance("it is outside its hours", until, opens)
    if wishes.idle_only:
        yield from _owner_there(wishes, seen)
    elif _uses_too_much(wishes, seen):
        needed = f"builds need more than the {size_words(wishes.memory_present or 0)} of memory that they may use then"
        yield from (evolve(one, reason=f"{one.reason}, and {needed}") for one in _owner_there(wishes, seen))
    if wishes.mains_only and seen.on_battery:
        yield _Hindrance("it runs from its battery", "until it is plugged in", None)
    if seen.free_disk is not None and seen.free_disk < wishes.disk:
        left = f"until {wishes.disk:g} GiB of it are free"
        yield _Hindrance("its owner keeps what is left of its disk", left, None, ends=True)
    away = away_at(wishes.away, now)
    if away is not None:  # what runs may go on for as long as the machine does
        yield _Hindrance(
            f"its owner said that it is away ({away.text})", _takes_again(wishes, away.ends, now), away.ends, False
        )
    if not holds(wishes.network_hours, now):
        opens = next_change(wishes.network_hours, now)
        until = "" if opens is None else _takes_again(wishes, opens, now, wishes.network_hours)
        yield _Hindrance("it is outside the hours in which it may use the network", until, opens, False)


def owner_is_there(wishes: OwnerWishes, seen: Observed) -> bool:
    """Return whether the owner is at the machine or uses its processors, as far as anything tells."""
    return any(True for _ in _owner_there(wishes, seen))


def _uses_too_much(wishes: OwnerWishes, seen: Observed) -> bool:
    """Return whether builds use more memory than they may while the owner is there."""
    return wishes.memory_present is not None and (seen.builds_memory or 0) > wishes.memory_present


def _owner_there(wishes: OwnerWishes, seen: Observed) -> Iterator[_Hindrance]:
    if seen.input_age is not None and seen.input_age < wishes.idle_after:
        left = f"until they have left it for {duration_words(wishes.idle_after)}"
        yield _Hindrance("its owner is at the machine", left, None)
    most = wishes.max_load if wishes.max_load is not None or seen.input_age is not None else MAX_LOAD
    if most is not None and seen.others_load is not None and seen.others_load > most:
        yield _Hindrance("its owner uses its processors", f"until others need at most {most:g} of them", None)


def _takes_again(wishes: OwnerWishes, when: float, now: float, hours: tuple[WeekHours, ...] = ()) -> str:
    """Return when builds are taken again, as a clock shows it in the zone of the hours, or else of the machine."""
    zone = next((one.zone for one in hours if any(when == begins for begins, _ in one.around(now))), wishes.zone)
    return f"it takes builds again at {clock_words(when, now, zone)}"


def _changes(wishes: OwnerWishes, now: float) -> Iterator[float]:
    for hours in (wishes.hours, wishes.network_hours):
        when = next_change(hours, now) if hours else None
        if when is not None:
            yield when
    for one in wishes.away:
        yield from (one.begins, one.ends)
