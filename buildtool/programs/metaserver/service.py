"""The metaserver put together: storage, broker, control port, transfer port, mail, and the pages if asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.base import ReactorBase
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from buildtool.adapters.control.events.feed import LocalEvents
from buildtool.adapters.control.events.followers import EventFollowers
from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.control.limits import ConnectionLimits
from buildtool.adapters.control.operator_endpoint import listen_control, operator_factory
from buildtool.adapters.http.handling import Oversight
from buildtool.adapters.http.one_site import OneSite
from buildtool.adapters.http.routes import HttpLimits
from buildtool.adapters.http.transfer_site import TransferSite
from buildtool.adapters.maintenance.series.stamp import BackupWatch
from buildtool.adapters.network.open_files import RefusedConnections
from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.runtime.memory import MemoryTrim
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.operator_store import SqlOperatorStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.archive.contents import ArchiveContents
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.adapters.tls.contexts import ANY_HTTP
from buildtool.adapters.tls.words import CONTROL
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.port_settings import Part
from buildtool.configuration.settings import Settings
from buildtool.metaserver.access.admittance import Admittance
from buildtool.metaserver.access.own_requests import RequestFinder
from buildtool.metaserver.access.visiting import LocalQuestions, VisitorService
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.build_servers import BuildServerService
from buildtool.metaserver.effects import EffectPerformer
from buildtool.metaserver.explanations import Explainer
from buildtool.metaserver.farm_status import FarmStatusReader
from buildtool.metaserver.operating import acting
from buildtool.metaserver.operating.bounces import BounceService
from buildtool.metaserver.operations import OperatorService
from buildtool.metaserver.problems import BuildProblems
from buildtool.metaserver.request_status import PublicUrls, RequestStatusReader
from buildtool.metaserver.requests import RequestService
from buildtool.metaserver.showing.farm_views import FarmViewService
from buildtool.metaserver.ticket_office import TicketOffice
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import BrokerStore, Handlers
from buildtool.programs.common.farm_tls import Ports, open_tls
from buildtool.programs.common.shutdown import ShutdownList
from buildtool.programs.common.visitors import HttpVisitors, transfer_reads
from buildtool.programs.metaserver.admission import FarmCeilings, admit, answering, described_to, tokens_of
from buildtool.programs.metaserver.configured import end_outdated_builds, policies, programs, state_by
from buildtool.programs.metaserver.holding import StateHold
from buildtool.programs.metaserver.identities import FarmIdentities, authority_of, identify_by, offered, open_identities
from buildtool.programs.metaserver.mail import subscribing
from buildtool.programs.metaserver.maintenance import Housekeeping
from buildtool.programs.metaserver.monitoring.figures import figures, metered
from buildtool.programs.metaserver.reload import ConfigurationReload
from buildtool.programs.metaserver.sources import asking_branches, noting, open_sources, packed, watching
from buildtool.programs.metaserver.state_directory import OpenState, StartOptions, open_state
from buildtool.programs.metaserver.tell.telling import Telling, open_telling
from buildtool.programs.webserver.site import OwnPages, PagesSite, ReportedArtifacts
from buildtool.scheduling.allowances import Allowances
from buildtool.scheduling.servers.names import DAY

log = Logger()

FILE_THREADS = 4
"""Threads that write, sync and hash artifacts and logs."""

THREADS_GRACE = 1.0
"""Seconds in which threads have to end what they do when the metaserver stops."""

LOOK_EVERY = 30.0
"""Seconds between two looks through the open builds."""

MEMORY_LOOK = 5.0
"""Seconds between two looks whether memory can be given back to the system."""

DRAINED_LOOK = 1.0
"""Seconds between two looks whether anything still runs while the metaserver drains."""


def _unasked(_reason: str) -> None:
    """Nobody is to be told that the metaserver should stop."""


@define
class Metaserver:
    """A running metaserver. Made by ``start``; ``stop`` ends it in order.

    ``ask_stop`` is called with the reason when the metaserver is to end by itself.
    """

    configuration: CurrentConfiguration
    reactor: ReactorBase
    pages: bool = False
    ask_stop: Callable[[str], None] = _unasked
    beginning: StartOptions = field(factory=StartOptions)
    _closing: ShutdownList = field(init=False)
    _refusals: RefusedConnections = field(init=False)
    _ceilings: FarmCeilings = field(init=False)
    _reloading: ConfigurationReload | None = field(default=None, init=False)
    _reload_later: bool = field(default=False, init=False)
    _telling: Telling | None = field(default=None, init=False)
    _holding: StateHold | None = field(default=None, init=False)
    _ended: Callable[[str, str], None] = field(default=lambda _key, _why: None, init=False)
    _events: EventFollowers = field(init=False)

    def __attrs_post_init__(self) -> None:
        timers = IReactorTime(self.reactor)
        self._closing, self._refusals = ShutdownList(timers), RefusedConnections(timers.seconds)
        self._events = EventFollowers(timers)
        self._ceilings = FarmCeilings(
            timers, Allowances(self.configuration.settings.limits), lambda: self._settings().proxies
        )

    async def start(self) -> None:
        """Open the state directory, take up what was open, and listen. Raises BuildToolError; then nothing runs."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        if self._reload_later:
            await self.reload()

    async def stop(self) -> None:
        """Listen no more, finish what is in flight, let go of the state directory: what was made last goes first.

        What does not end in time is cut off, and the log says what.
        """
        if self._telling is not None:
            self._telling.end()
        await self._closing.close()

    @property
    def lost(self) -> bool:
        """Whether its state directory was not its own any more when it ended."""
        return self._holding is not None and bool(self._holding.lost or self._holding.database.lost)

    async def turns(self) -> None:
        """Return once the thread that commits has come round. Raises StorageUnavailable."""
        if self._holding is not None:
            await self._holding.database.run(lambda _connection: None)

    async def reload(self) -> None:
        """Read the configuration again; all of it holds from now on, or nothing of it, and the log says which.

        While the metaserver starts, that waits until it has.
        """
        if self._reloading is None:
            self._reload_later = True
        else:
            await self._reloading.reload()

    async def _start(self) -> None:
        configuration, clock, closing = self.configuration, WallClock(), self._closing
        settings, timers = configuration.settings, IReactorTime(self.reactor)
        stored = await open_state(configuration, self.beginning, timers, closing, self._pool, self.ask_stop)
        self._holding = stored.holding
        store, artifacts = SqlBrokerStore(stored.database, self._events.committed), stored.artifacts
        resolvers, parts = await open_sources(self._settings, self.reactor, closing)
        identities, addresses = await self._identities(store, stored, clock, timers), PublicUrls(configuration)
        subscriptions = await subscribing(stored.database, clock, stored.keys)
        self._telling = telling = open_telling(
            settings, addresses, self.reactor, stored, authority_of(identities), subscriptions, closing
        )

        state = state_by(settings, stored.keys.incarnations.current)
        keeping = Housekeeping(settings.state_dir, stored.database, artifacts, stored.logs, stored.threads, timers)
        status_reader = RequestStatusReader(state, store, addresses, stored.keys, clock.wall)
        tickets, gateway = TicketOffice(configuration, clock, stored.keys), self._gateway(identities, clock, timers)
        effects = EffectPerformer(
            gateway.connections,
            gateway.followers,
            telling,
            stored.logs,
            keeping.removal,
            status_reader,
            tickets,
            timers,
        )
        broker = Broker(state, store, clock, timers, keeping.removal, effects)
        closing.add("what decisions asked for", effects.settle)
        closing.add("the transaction in flight", broker.stop)
        explainer, meter = Explainer(state, store, status_reader), metered(self.reactor, closing)
        admittance = await admit(
            configuration, broker, stored.keys, telling.mailer, self._ceilings, identities, subscriptions
        )
        requests = RequestService(
            configuration, broker, store, resolvers, status_reader, explainer, keeping.conditions, turns=meter.told,
            last_backup=keeping.conditions.last_backup, admittance=admittance,
            noticed=noting(resolvers, stored.database, timers, closing),
        )  # fmt: skip
        troubles, history = BuildProblems(broker, timers), SqlOperatorStore(stored.database)
        build_servers = BuildServerService(
            configuration, broker, keeping.removal, tickets, gateway.connections, troubles.unkept
        )
        farm = FarmStatusReader(broker, history, keeping.conditions, clock, meter.told)
        keys, accounts, owner_of, known = offered(identities)
        operators = OperatorService(
            configuration, broker, store, history, keeping.removal, clock, farm, Permissions(configuration, owner_of)
        )
        await broker.start()
        await artifacts.start(keep=state.attempts)
        await self._look_after(keeping, stored, broker, effects, troubles, build_servers, admittance)
        closing.add("the connections of the control port", gateway.close)
        visitors = HttpVisitors(lambda: configuration.settings, clock, known)
        oversight = Oversight(
            lambda *key: key in state.attempts, keeping.corrupt, packed(requests, parts), troubles.unkept,
            admittance.check_storing, admittance.stored, transfer_reads(visitors, store, keeping),
        )  # fmt: skip
        site = TransferSite(
            timers, stored.keys, clock, artifacts, stored.logs, oversight, HttpLimits(most=self._ceilings.connections)
        )
        closing.add("the connections of the transfer port", site.disconnect)
        services, visiting = await answering(
            configuration, tokens_of(configuration, broker, stored.keys, admittance.codes, known), accounts,
            {**operators.handlers, **subscriptions.handlers,
             **FarmViewService(broker, operators.permissions, clock).handlers,
             **requests.handlers, **acting(RequestFinder(broker, store, stored.keys, operators.permissions)),
             **BounceService(store, history, stored.keys, operators.permissions).handlers,
             **telling.service(operators.permissions).handlers,
             **await asking_branches(requests, resolvers, stored, self.reactor, closing),
             **(await watching(
                 requests, resolvers, stored, (subscriptions, telling.mailer, known), self._events, closing)).handlers,
             **figures(broker, operators.permissions, history, keeping.conditions, clock, meter,
                       (settings.state_dir, stored.threads)).handlers},
            build_servers.handlers, keys, left=admittance.left,
        )  # fmt: skip
        pages, show = self._pages(stored, visiting, visitors, keeping.corrupt)
        take = self._serve(gateway, identities, services, site, keeping, pages)

        async def apply(settings: Settings) -> None:
            telling.take(settings)
            show(settings)
            take(settings)
            state.names.kept = settings.names_kept * DAY
            await broker.reconfigure(policies(settings), settings.weights)
            await end_outdated_builds(settings, broker)
            await admittance.reconfigure(settings.limits)
            troubles.look()

        self._reloading = ConfigurationReload(configuration, apply, self._pool(1, "the configuration"), timers)
        self._operate(operators, services[0], services[-1], timers)
        telling.start()

    def _settings(self) -> Settings:
        """Return the settings that hold now."""
        return self.configuration.settings

    def _gateway(self, identities: FarmIdentities | None, clock: Clock, timers: IReactorTime) -> Gateway:
        silence, bounds = float(self.configuration.settings.lease), ConnectionLimits(most=self._ceilings.connections)
        who, farm, seen = identify_by(identities, clock), authority_of(identities), described_to(self.configuration)
        news = self._events
        return Gateway(timers, identify=who, limits=bounds, silence=silence, authority=farm, events=news, projects=seen)

    async def _identities(
        self, store: BrokerStore, stored: OpenState, clock: Clock, timers: IReactorTime
    ) -> FarmIdentities | None:
        """Return who is known by key, or None where everybody is trusted who can connect."""
        if not self.configuration.settings.needs_keys:
            return None
        ended: Callable[[str, str], None] = lambda key, why: self._ended(key, why)  # noqa: E731, PLW0108 - it is set later
        life = stored.keys.incarnations.current
        return await open_identities(self.configuration, store, life, clock, timers, stored.threads, ended)

    def _serve(
        self,
        gateway: Gateway,
        identities: FarmIdentities | None,
        services: Sequence[Handlers],
        site: TransferSite,
        keeping: Housekeeping,
        pages: PagesSite,
    ) -> Callable[[Settings], None]:
        """Listen for build servers, requesters, transfers and visitors: by TLS all on one port where keys are needed.

        Return what takes other settings over.
        """
        settings, control, tasks = self._settings(), gateway.factory(*services), list[PeriodicTask]()
        shown = identities.tls if identities is not None else None
        tls = open_tls(self._settings, shown, WallClock(), keeping.timers, self._ceilings.handshake)
        ports = Ports(self.reactor, self._settings, self._closing, tls)
        if settings.transfer_apart:
            ports.listen(Part.TRANSFER, site)
        if self.pages:
            ports.listen(Part.WEB, pages)
        if tls is not None:
            keeping.conditions.sources = (*keeping.conditions.sources, tls.problems)
            keeping.task("the look at certificates", tls.look)
        if identities is None or tls is None:
            ports.listen(Part.CONTROL, control)
        else:
            self._ended = gateway.end_key
            keeping.conditions.sources = (*keeping.conditions.sources, identities.accounts.problems)
            tasks.append(keeping.task("the renewal of the certificate", identities.look))
            ports.listen(Part.CONTROL, tls.listener({CONTROL: control, ANY_HTTP: OneSite(site, pages)}, control.met))
        ports.check_used()

        def take(settings: Settings) -> None:
            for task in tasks:
                task.hasten()
            if tls is not None:
                tls.take(settings)

        return take

    async def _look_after(
        self,
        keeping: Housekeeping,
        stored: OpenState,
        broker: Broker,
        effects: EffectPerformer,
        troubles: BuildProblems,
        servers: BuildServerService,
        admittance: Admittance,
    ) -> None:
        """Finish the logs that an earlier life left, and from now on look after everything that is kept."""

        async def finish_logs() -> None:
            for left in await stored.logs.unfinished():
                if left not in broker.state.attempts:
                    effects.finish_log(*left)

        async def look(_task: PeriodicTask) -> float:
            troubles.look()
            return LOOK_EVERY

        await finish_logs()
        await admittance.settle()
        await end_outdated_builds(self.configuration.settings, broker)
        keeping.conditions.needed = lambda: programs(self.configuration.settings)
        watch = BackupWatch(keeping.directory, lambda: self.configuration.settings.backup_within, WallClock().wall)
        keeping.conditions.backup = watch.look
        keeping.task("the check who holds the state directory", stored.holding.round_)
        keeping.task("the check of open builds", look)
        self._refusals.watch()
        self._closing.add("the watch for refused connections", self._refusals.stop)
        told = self._telling.problems if self._telling is not None else tuple
        own = (stored.holding.problems, broker.problems, told, troubles.problems, servers.problems)
        keeping.begin(broker.store, broker.send, finish_logs, (*own, self._refusals.problems))
        keeping.forget(lambda: self.configuration.settings.keep, stored.logs, broker)
        self._closing.add("the upkeep of files and rows", keeping.stop)

    def _pages(
        self, stored: OpenState, visiting: VisitorService, access: HttpVisitors, corrupt: Callable[[str], object]
    ) -> tuple[PagesSite, Callable[[Settings], None]]:
        """Return the pages, and what makes them anew by other settings."""
        reading = SqliteDatabase.reading(stored.directory / DATABASE, self._pool(1, "reading"))
        self._closing.add("the database of the pages", reading.close)
        artifacts = ReportedArtifacts(stored.artifacts, corrupt)
        files = (stored.logs, artifacts, ArchiveContents(stored.artifacts, self._pool(1, "files of artifacts")))
        shown = OwnPages(reading, files, LocalQuestions(visiting), access, IReactorTime(self.reactor))
        shown.live.start(LocalEvents(self._events))
        self._closing.add("what is live in the pages", shown.live.stop)
        site = shown.site(self._settings())
        return site, lambda settings: site.take(shown.site(settings))

    def _operate(self, operators: OperatorService, people: Handlers, pages: Handlers, timers: IReactorTime) -> None:
        """Serve the operator's socket, and ask the program to stop once a drained farm has nothing left that runs."""
        factory = operator_factory(people, timers, pages, events=self._events)
        port = listen_control(self.reactor, self.configuration.settings.state_dir, factory)
        self._closing.add("the operator's connections", lambda: factory.close("the metaserver stops"))
        self._closing.add("the operator's socket", lambda: maybeDeferred(port.stopListening))

        def look() -> None:
            reason = operators.drained()
            if reason:
                self.ask_stop(reason)

        self._look(look, DRAINED_LOOK, timers, "the check whether it is drained")
        self._look(MemoryTrim().look, MEMORY_LOOK, timers, "the release of free memory")

    def _look(self, look: Callable[[], object], seconds: float, timers: IReactorTime, what: str) -> None:
        looking = LoopingCall(look)
        looking.clock = timers
        looking.start(seconds, now=False)
        self._closing.add(what, looking.stop)

    def _pool(self, size: int, name: str) -> Threads:
        threads = Threads(self.reactor, size, name)

        def stop() -> None:
            if not threads.stop(min(THREADS_GRACE, self._closing.left())):
                log.warn("cut off: threads for {name} are still busy", name=name)

        self._closing.add(f"threads for {name}", stop)
        return threads
