"""The answer to monitoring: what was counted, and how everything stands at the moment, read when somebody asks.

Tested by tests/metaserver/showing/test_farm_counts.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from buildtool import __version__
from buildtool.concurrency.single_flight import SingleFlight
from buildtool.errors import StorageUnavailable
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.showing.farm_counts import ANY_PLATFORM, platform_word
from buildtool.metaserver.showing.waiting_causes import Waiting, WaitingCauses
from buildtool.model.farm.backups import LastBackup
from buildtool.model.metrics import table
from buildtool.model.metrics.counts import Counts, Sample
from buildtool.model.principal import Principal
from buildtool.model.records import AttemptState, BuildState
from buildtool.model.servers import Server
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import Conditions, Handlers, OperatorStore
from buildtool.ports.resources import ResourceSource
from buildtool.protocol.pages.figures import FIGURES_TOLD, AskFigures, Figure, FiguresTold

KEPT = 2.0
"""Seconds for which what was read is told again: several may ask."""

PROJECT = "project"

log = Logger()


@frozen
class TurnFigures:
    """A measurement of the reactor's turns: the histogram of ``table.TURN``, and the longest pause in seconds."""

    histogram: Sequence[float]
    pause: float


@define(eq=False)
class FigureService:
    """A service that tells monitoring how the farm stands. Of projects that who asks may not see it names none.

    ``turns`` returns what is known of the reactor, ``last_backup`` what is known of that.
    """

    broker: Broker
    permissions: Permissions
    history: OperatorStore
    conditions: Conditions
    resources: ResourceSource
    turns: Callable[[], TurnFigures]
    clock: Clock
    last_backup: Callable[[], LastBackup] = LastBackup
    _causes: WaitingCauses = field(factory=WaitingCauses, init=False)
    _reading: SingleFlight[Sequence[Sample]] = field(factory=SingleFlight, init=False)
    _kept: tuple[float, Sequence[Sample]] = field(default=(0.0, ()), init=False)

    @property
    def handlers(self) -> Handlers:
        """What pages may ask."""
        return {AskFigures: self.told}

    async def told(self, by: Principal, _message: AskFigures) -> FiguresTold:
        """Return all figures, those of projects that the caller does not see added up."""
        now, kept = self.clock.wall(), self._kept
        if not 0 <= now - kept[0] < KEPT:
            kept = now, await self._reading.share("", self._read)
            self._kept = kept
        veiled = _veiled(kept[1], lambda project: self.permissions.sees(by, project))
        figures = (Figure(one.name, one.labels, one.numbers) for one in veiled)
        return FiguresTold(tuple(figures)[:FIGURES_TOLD])

    async def _read(self) -> Sequence[Sample]:
        now, counts = self.clock.wall(), Counts()
        counts.set(table.INFO, __version__, to=1)
        counts.set(table.PROBLEMS, to=len(self.conditions.problems()))
        backup = self.last_backup()
        counts.set(table.BACKUP, to=backup.made or 0)
        counts.set(table.BACKUP_WITHIN, to=backup.within)
        self._stands(counts, now)
        await self._waits(counts, now)
        await self._stored(counts, now)
        turns = self.turns()
        counts.put(table.TURN, list(turns.histogram))
        counts.set(table.PAUSE, to=turns.pause)
        return [*counts.samples(), *self.broker.counts.counts.samples()]

    def _stands(self, counts: Counts, now: float) -> None:
        state = self.broker.state
        counts.set(table.REQUESTS_OPEN, to=len(state.requests))
        for word in table.LEASES.values:
            counts.set(table.LEASES, word, to=0)
        for attempt in state.attempts.values():
            missing = attempt.state is AttemptState.MISSING
            counts.add(table.LEASES, "missing" if missing else "live")
            build = state.builds.get(attempt.build_id)
            if build is not None and not missing:
                counts.add(table.RUNNING, platform_word(build.spec.platform))
        for word in table.SERVER_STATES:
            counts.set(table.SERVERS, word, to=0)
        busy = slots = 0
        for server in state.servers.values():
            running = state.slots.load_of(server.name)
            counts.add(table.SERVERS, _stands(server, running, now))
            if server.connected:
                busy, slots = busy + running, slots + server.capability.max_builds
        counts.set(table.SLOTS, "busy", to=busy)
        counts.set(table.SLOTS, "free", to=max(0, slots - busy))

    async def _waits(self, counts: Counts, now: float) -> None:
        """Count what waits, by reasons; the reactor turns meanwhile."""
        state = self.broker.state
        oldest = min((one.created_at for one in state.builds.values() if one.state is BuildState.QUEUED), default=now)
        counts.set(table.OLDEST, to=max(0.0, now - oldest))
        turn, found = self.broker.turn.anew(), Waiting()
        for step in self._causes.counted(state, now):
            if step is not None:
                found = step
            await turn.breathe()
        waiting: Counter[tuple[str, str]] = Counter()
        for (platform, cause), count in found.items():
            waiting[ANY_PLATFORM if platform is None else platform_word(platform), cause] += count
        for pair, count in waiting.items():
            counts.add(table.WAITING, *pair, by=count)

    async def _stored(self, counts: Counts, now: float) -> None:
        """Read what database and machine say; what they do not say is left out, and ``problems`` has it."""
        try:
            unsent, refused = await self.history.mail_left()
            oldest = await self.history.oldest_mail()
            counts.set(table.MAILS, to=unsent)
            counts.set(table.REFUSED, to=refused)
            counts.set(table.OUTBOX, to=max(0.0, now - oldest) if oldest is not None else 0)
        except StorageUnavailable as error:
            log.info("figures go without those of the database: {error}", error=error)
        try:
            use = await self.resources.read()
        except StorageUnavailable as error:
            log.info("figures go without those of the machine: {error}", error=error)
            return
        for metric, value in (
            (table.DATABASE, use.database), (table.FREE, use.free), (table.DISK, use.disk),
            (table.DESCRIPTORS, use.descriptors), (table.MEMORY, use.memory), (table.PROCESSOR, use.processor),
            (table.STARTED, use.started), (table.DESCRIPTORS_MOST, use.descriptors_most),
        ):  # fmt: skip
            if value is not None:
                counts.set(metric, to=value)


def _stands(server: Server, running: int, now: float) -> str:
    """Return the state of a build server, of those in the table."""
    if not server.connected:
        return "missing" if server.missing_since else "away"
    if server.quarantined_until > now:
        return "quarantined"
    if server.paused:
        return "paused"
    return "building" if running else "idle"


def _veiled(samples: Iterable[Sample], sees: Callable[[str], bool]) -> list[Sample]:
    """Return samples without the names of projects that somebody does not see: those are added up."""
    shown: dict[tuple[str, tuple[str, ...]], Sample] = {}
    for one in samples:
        labels = one.labels
        names = table.TABLE[one.name].labels
        if PROJECT in names and not sees(labels[place := names.index(PROJECT)]):
            labels = (*labels[:place], table.OTHER, *labels[place + 1 :])
        before = shown.get((one.name, labels))
        numbers = one.numbers if before is None else tuple(map(sum, zip(before.numbers, one.numbers, strict=True)))
        shown[one.name, labels] = evolve(one, labels=labels, numbers=numbers)
    return list(shown.values())
