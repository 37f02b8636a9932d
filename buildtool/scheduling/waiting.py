"""Why a Build waits, and when it may start: computed when somebody asks, or when there is nothing left to wait for.

The test is tests/scheduling/test_explain.py.
"""

from __future__ import annotations

import math

from buildtool.model.matching.fitting import OfferFit
from buildtool.model.matching.reasons import Cause, Reason, group_words, nearer
from buildtool.model.options import written
from buildtool.model.properties import may_be_named
from buildtool.model.records import Attempt, Build, BuildSpec
from buildtool.model.servers import Offer, Server
from buildtool.model.text import about, ahead_words, duration_words, moment_words, one_line
from buildtool.scheduling.answers import ServerReasons, WaitReasons
from buildtool.scheduling.state.estimates import Estimate, starts_in
from buildtool.scheduling.state.lease_table import frozen_for
from buildtool.scheduling.state.ready_queue import CapabilityGroup
from buildtool.scheduling.state.state import State

NAMES_SHOWN = 20
"""At most so many servers are named with one reason; the others are counted."""

NAMES_SAID = 3
"""How many of them a line for people names."""

NAMES_LENGTH = 60
"""Most characters of all those names together, where there is more than one."""

GROUPS_SAID = 4
"""How many groups of build servers with the same reasons are told in lines for people; the others are counted."""

LINE_SAID = 200
"""The longest of those lines, in characters."""

AHEAD_COUNTED = 10_000
"""An estimate looks at no more than so many Builds that are ahead."""

KINDS_LOOKED_AT = 16
"""Of build servers that cannot build something, so many are compared in full with what it needs: each may offer 64
platforms, and peers may have announced as many as are remembered. The others are counted."""

SLOTS_LOOKED_AT = 1_000
"""For how many slots it is found out when they are free."""

_UNSEEN = (Reason(Cause.UNSEEN),)


def why(state: State, build: Build, now: float) -> WaitReasons:
    """Return why an open Build has not been given to a server at wall time ``now``.

    Servers that can build it are all looked at. Of the others, connected or not, those that offer the same are looked
    at once, and no more than ``KINDS_LOOKED_AT`` that differ: those first that are connected, then who was seen last.
    """
    if not state.projects.configured(build):
        halted = f"project {build.spec.project} is not configured at the metaserver: it waits until that is so again"
        return WaitReasons((), len(state.servers), 0, halted=halted)
    look = _Look(state, build, now)
    groups: dict[tuple[Reason, ...], list[str]] = {}
    for server in sorted(state.servers.values(), key=lambda server: (not server.connected, -server.last_seen)):
        groups.setdefault(look.reasons(server), []).append(server.name)
    unseen = groups.pop(_UNSEEN, [])
    named = [(reasons, sorted(names)) for reasons, names in groups.items() if reasons]
    told = tuple(
        ServerReasons(reasons, tuple(names[:NAMES_SHOWN]), len(names))
        for reasons, names in sorted(named, key=lambda item: (len(item[0]), item[1]))
    )
    rest = (ServerReasons(_UNSEEN, tuple(unseen[:NAMES_SHOWN]), len(unseen)),) if unseen else ()
    before = state.queue.ahead(build, lambda build_id: state.builds[build_id].share)
    ahead = before.total
    return WaitReasons(
        groups=told + rest,
        servers=len(state.servers),
        ahead=ahead,
        ahead_own=before.own,
        ahead_shares=before.shares,
        not_before=build.not_before if build.not_before > now else 0.0,
        nearest="; ".join(filter(None, (_never(state, build), _nearest(told)))),
        estimate=_waits(look, ahead),
    )


def waits_for_slot(state: State, build: Build, now: float) -> bool:
    """Return whether a build server that would take an open Build has no free slot; ``now`` is wall time in seconds.

    That is found out with the first that is so: ``why`` looks at all.
    """
    if not state.projects.configured(build):
        return False
    look = _Look(state, build, now)
    found = (look.reasons(state.servers[name]) for name in state.queue.capable(build))
    return any(reasons and reasons[0].cause is Cause.BUSY for reasons in found)


class _Look:
    """One look at the servers for one Build: what it finds is kept, so that what many have in common is found once."""

    def __init__(self, state: State, build: Build, now: float) -> None:
        self.state = state
        self.build = build
        self.now = now
        self._wanted = state.projects.wanted(build.spec)
        self._fits: dict[CapabilityGroup, OfferFit] = {}
        self._known = state.groups.fits(build.spec)
        self._free: dict[str, list[float] | None] = {}
        self._slots = 0

    def reasons(self, server: Server) -> tuple[Reason, ...]:
        """Return what stands between the Build and a server; that it was not looked at, when enough were."""
        if not (server.connected and server.name in self.state.queue.capable(self.build)):
            fit = self._fit(server)
            if fit is None:
                return _UNSEEN
            verdict = fit.verdict(self._wanted.machine(server.capability))
            if not isinstance(verdict, Offer):
                return tuple(verdict)
        return self._keeps(server)

    def free_in(self, server: Server) -> list[float] | None:
        """Return for every slot of a server in how many seconds it is free; infinity for one of which nobody knows.

        None where enough have been looked at, ``SLOTS_LOOKED_AT`` in all.
        """
        name = server.name
        if name not in self._free:
            self._slots += server.capability.max_builds
            within = self._slots <= SLOTS_LOOKED_AT
            self._free[name] = free_in(self.state, server, self.now) if within else None
        return self._free[name]

    def _fit(self, server: Server) -> OfferFit | None:
        alike = self.state.groups.group_of(server.name)
        fit = self._fits.get(alike)
        if fit is None and len(self._fits) < KINDS_LOOKED_AT:
            fit = self._known.get(alike) or self._wanted.fit(alike.example, alike.forbidden)
            self._fits[alike] = self._known[alike] = fit
        return fit

    def _keeps(self, server: Server) -> tuple[Reason, ...]:  # noqa: PLR0911 - one line for each reason
        """Return what keeps a server that can build it from starting now."""
        state, build, now = self.state, self.build, self.now
        if not server.connected:
            away = server.away_until(now)
            return (Reason(Cause.OFFLINE, note=f"its owner said so, until {moment_words(away)}" if away else ""),)
        if server.quarantined_until > now:
            wait = duration_words(server.quarantined_until - now)
            return (Reason(Cause.QUARANTINED, have=server.quarantine_reason, note=f"for another {wait}"),)
        held = "the farm is being drained" if state.slots.holding else "it finishes what it has and leaves"
        if server.paused or server.draining or state.slots.holding:
            return (Reason(Cause.PAUSED, have=f"paused, {server.paused}" if server.paused else held),)
        if server.closed:
            return (Reason(Cause.CLOSED, have=server.closed),)
        refusal = state.refusals.get((build.id, server.name))
        if refusal is not None and refusal.until > now:
            times = f", {refusal.count} times by now" if refusal.count > 1 else ""
            again = f"is asked again in {duration_words(refusal.until - now)}{times}"
            return (Reason(Cause.REFUSED, have=refusal.reason, note=again),)
        if server.name in build.failed_on:
            return (Reason(Cause.REFUSED, have="saw it fail; another server is to confirm that"),)
        taken, most = state.slots.load_of(server.name), server.capability.max_builds
        if taken >= most:
            return (Reason(Cause.BUSY, wanted=most, have=taken, note=self._free_words(server)),)
        return (Reason(Cause.DELAYED),) if build.not_before > now else ()

    def _free_words(self, server: Server) -> str:
        waits = self.free_in(server)
        return f"until in {about(min(waits))}" if waits and math.inf not in waits else ""


_JOINS = (
    "a machine becomes one by `bin/buildserver.py`, where keys are needed with the line that "
    "`bin/metaserver invite NAME` prints (docs/donor.rst)"
)
NOBODY_YET = (
    "no build server has ever registered (or all were forgotten); it will be built as soon as one that can does",
    _JOINS,
)
"""What is said where no build server is known, and what to do."""


def lines(told: WaitReasons) -> tuple[str, ...]:
    """Return the answer for people, one line for each reason."""
    if told.halted:
        return (told.halted,)
    if not told.servers:
        return NOBODY_YET
    said = [f"{_who(group)} {group_words(group.reasons)}" for group in told.groups[:GROUPS_SAID]]
    left = sum(group.count for group in told.groups[GROUPS_SAID:])
    if left:
        said.append(f"{left} more build {'server cannot' if left == 1 else 'servers cannot'} take it either")
    if told.nearest:
        said.append(f"nearest: {told.nearest}")
    if told.ahead:
        said.append(ahead_words(told.ahead, told.ahead_own, told.ahead_shares))
    if told.estimate is not None:
        said.append(f"it may start in {about(told.estimate.seconds)} ({told.estimate.basis})")
    return tuple(one_line(line, LINE_SAID) for line in said)


def standstill_words(state: State, attempt: Attempt | None) -> str:
    """Return in words why an Attempt stands still, an empty string where it goes on."""
    if attempt is None or attempt.frozen_at is None:
        return ""
    server = state.servers.get(attempt.server)
    closed = server.closed if server is not None else ""
    return one_line(f"it is frozen on {attempt.server}: {closed or 'its owner is in the way'}", LINE_SAID)


def remaining(state: State, attempt: Attempt, spec: BuildSpec, now: float) -> Estimate | None:
    """Return in how many seconds a running Attempt will be done; None when it takes longer than usual already."""
    usual = state.durations.expected(spec.shelf, attempt.platform, attempt.server)
    if usual is None or attempt.frozen_at is not None:
        return None
    began = attempt.accepted_at if attempt.accepted_at is not None else attempt.offered_at
    left = began + frozen_for(attempt, now) + usual.seconds - now
    return Estimate(left, usual.basis) if left > 0 else None


def offered_in(state: State, build: Build, server: Server, now: float) -> float:
    """Return in how many seconds a waiting Build may be offered to a server that can build it, if a slot is free then.

    Infinity when only an event will tell: one that comes, is resumed, or is to confirm a failure.
    """
    held = not server.connected or server.paused or server.draining or state.slots.holding
    if held or server.name in build.failed_on:
        return math.inf
    refusal = state.refusals.get((build.id, server.name))
    refused = refusal.until if refusal is not None else 0.0
    if server.closed and not server.closed_until:
        return math.inf  # until its owner leaves
    closed = server.closed_until if server.closed else 0.0
    return max(0.0, *(when - now for when in (refused, closed, server.quarantined_until, build.not_before)))


def free_in(state: State, server: Server, now: float) -> list[float]:
    """Return for every slot of a server in how many seconds it is free; infinity where no estimate tells."""
    waits = [0.0] * max(0, server.capability.max_builds - state.slots.load_of(server.name))
    for key in state.slots.attempts_of.get(server.name, ()):
        build = state.builds.get(key[0])  # None for one that is being aborted, which its build server has to say
        left = remaining(state, state.attempts[key], build.spec, now) if build is not None else None
        waits.append(left.seconds if left is not None else math.inf)
    return waits


def _waits(look: _Look, ahead: int) -> Estimate | None:
    """Return when a waiting Build may start, as far as earlier durations tell; None when they do not.

    On a farm with more slots than are looked at, these stand for all of them, and take their part of what is ahead.
    """
    state, build = look.state, look.build
    slots: list[float] = []
    unseen = 0
    usual: Estimate | None = None
    for name, offer in state.queue.capable(build).items():
        server = state.servers[name]
        offered = offered_in(state, build, server, look.now)
        if offered == math.inf:
            continue
        waits = look.free_in(server)
        if waits is None:
            unseen += server.capability.max_builds
            continue
        found = state.durations.expected(build.spec.shelf, offer.platform, name)
        if found is None:
            continue
        usual = found if usual is None or found.seconds < usual.seconds else usual
        slots += [max(wait, offered) for wait in waits]
    if usual is None:
        return None
    part = ahead * len(slots) // (len(slots) + unseen)
    start = starts_in(slots, min(part, AHEAD_COUNTED), usual.seconds)
    if start is None or not 0 < start < math.inf:
        return None  # it waits for something else than time: nobody knows
    count = f"{len(slots)} slots" if len(slots) > 1 else "one slot"
    return Estimate(start, f"{ahead} ahead, {count}, {usual.basis}")


def _who(group: ServerReasons) -> str:
    named = group.servers[:NAMES_SAID]
    while len(named) > 1 and len(", ".join(named)) > NAMES_LENGTH:
        named = named[:-1]
    more = f" and {group.count - len(named)} more" if group.count > len(named) else ""
    return f"{', '.join(named)}{more}:{' each' if group.count > 1 else ''}"


def _never(state: State, build: Build) -> str:
    """Return in words what of the required platform no build server that is known offers, connected or not."""
    known = state.groups.offered if state.servers else {}
    never = [
        (name, value)
        for name, value in build.spec.platform
        if name in known and may_be_named(value) and value not in known[name]
    ]
    return "; ".join(f"no build server has offered {name} {written(value)} yet" for name, value in never)


def _nearest(groups: tuple[ServerReasons, ...]) -> str:
    """Return in words what the server that comes nearest lacks, when none that is known could ever build it."""
    lacking = [group for group in groups if group.reasons and group.reasons[0].cause in _LACKS]
    if not lacking or len(lacking) != len(groups):
        return ""
    least = min(len(group.reasons) for group in lacking)
    best, *others = [group for group in lacking if len(group.reasons) == least]
    for other in others:
        if nearer(other.reasons[0], best.reasons[0]):
            best = other
    return "; ".join(reason.nearest_words(best.servers[0]) for reason in best.reasons)


_LACKS = frozenset(
    {
        Cause.PROPERTY,
        Cause.PROJECT,
        Cause.FORBIDDEN,
        Cause.RECIPE,
        Cause.DESCRIPTIONS,
        Cause.NATIVE,
        Cause.SANDBOX,
    }
)
