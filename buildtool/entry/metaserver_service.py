"""The metaserver put together: storage, broker, control port, transfer port, mail, and the pages if asked for."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTCP, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from buildtool.adapters import tenure
from buildtool.adapters.clock import WallClock
from buildtool.adapters.control_socket import listen_control
from buildtool.adapters.database import Database
from buildtool.adapters.descriptors import Refusals
from buildtool.adapters.evidence import check_not_lost
from buildtool.adapters.executors import Threads
from buildtool.adapters.fair_pool import FairPool
from buildtool.adapters.files import ArtifactStore
from buildtool.adapters.keyfile import load_key
from buildtool.adapters.locks import DATABASE, DirectoryLock
from buildtool.adapters.logs import LogStore
from buildtool.adapters.mail import Deliver, Mailer, Pace, Render, mail_test
from buildtool.adapters.mail_smtp import SmtpDelivery
from buildtool.adapters.mail_text import Links, render
from buildtool.adapters.memory import GivingBack
from buildtool.adapters.operator_store import SqlOperatorStore
from buildtool.adapters.outbox_store import SqlOutboxStore
from buildtool.adapters.patrol import Patrol
from buildtool.adapters.pb_operator import operator_factory
from buildtool.adapters.pb_server import Gateway
from buildtool.adapters.queries import SqlPages
from buildtool.adapters.stores import SqlBrokerStore
from buildtool.adapters.transfer import Oversight, TransferSite
from buildtool.adapters.turn_meter import TurnMeter
from buildtool.adapters.vcs import Resolvers
from buildtool.adapters.vcs_bundles import Bundle, Bundles
from buildtool.adapters.vcs_git import GitMirror
from buildtool.adapters.vcs_svn import SvnResolver
from buildtool.adapters.vcs_svn_command import SvnCommand
from buildtool.domain.incarnations import Keys
from buildtool.domain.model import Policy
from buildtool.domain.names import DAY
from buildtool.domain.state import State
from buildtool.entry.closing import Closing
from buildtool.entry.configured import moved_on, programs
from buildtool.entry.holding import Holding
from buildtool.entry.housekeeping import Housekeeping
from buildtool.entry.listening import listen
from buildtool.entry.reloading import Reloading
from buildtool.entry.web_site import web_site
from buildtool.errors import ConfigurationError, NotFound
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.desk import Desk, DeskQuestions, source_url
from buildtool.metaserver.explaining import Explainer
from buildtool.metaserver.operator import OperatorDesk
from buildtool.metaserver.server_desk import Acts, ServerDesk, TicketOffice
from buildtool.metaserver.telling import Addresses, Teller
from buildtool.metaserver.troubles import Troubles
from buildtool.ports import OutgoingMail
from buildtool.protocol import Turns
from buildtool.settings import MailSettings, Settings

log = Logger()

FILE_THREADS = 4
"""Threads that write, sync and hash artifacts and logs."""

VCS_THREADS = 4
"""Threads in which git and svn resolve refs: different repositories at the same time."""


MAIL_GRACE = 3.0
"""Seconds that deliveries under way have when the metaserver stops; what is not sent by then is sent after a start."""

THREADS_GRACE = 1.0
SOURCES_GRACE = 1.0
"""Seconds in which threads have to end what they do when the metaserver stops."""

LOOK_EVERY = 30.0
"""Seconds between two looks through the open builds."""

MEMORY_LOOK = 5.0
"""Seconds between two looks whether memory can be given back to the system."""

DRAINED_LOOK = 1.0
"""Seconds between two looks whether anything still runs while the metaserver drains."""


def _unasked(_reason: str) -> None:
    """Nobody is to be told that the metaserver should stop."""


@frozen
class _Stored:
    """What lies in the state directory, open. ``threads`` write, sync and hash files."""

    directory: Path
    keys: Keys
    database: Database
    artifacts: ArtifactStore
    logs: LogStore
    threads: Threads
    holding: Holding


@frozen
class Beginning:
    """What a start is told of its state directory.

    ``accept_new`` lets it make a database beside files of an earlier one, ``restored`` says that it may be a copy.
    """

    accept_new: bool = False
    restored: bool = False


@define
class Metaserver:
    """A running metaserver. Made by ``start``; ``stop`` ends it in order.

    ``ask_stop`` is called with the reason when the metaserver is to end by itself.
    """

    settings: Settings
    reactor: ReactorBase
    pages: bool = False
    ask_stop: Callable[[str], None] = _unasked
    beginning: Beginning = Beginning()
    _closing: Closing = field(init=False)
    _refusals: Refusals = field(init=False)
    _reloading: Reloading | None = field(default=None, init=False)
    _reload_later: bool = field(default=False, init=False)
    _mail_ends: Deferred[None] | None = field(default=None, init=False)
    _mailer: Mailer | None = field(default=None, init=False)
    _holding: Holding | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        timers = IReactorTime(self.reactor)
        self._closing, self._refusals = Closing(timers), Refusals(timers.seconds)

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
        if self._mailer is not None:
            self._mail_ends = self._mailer.stopService()
        await self._closing.close()

    @property
    def lost(self) -> bool:
        """Whether its state directory was not its own any more when it ended."""
        return self._holding is not None and bool(self._holding.lost or self._holding.database.lost)

    async def reload(self) -> None:
        """Read the configuration again; all of it holds from now on, or nothing of it, and the log says which.

        While the metaserver starts, that waits until it has.
        """
        if self._reloading is None:
            self._reload_later = True
        else:
            await self._reloading.reload()

    async def _start(self) -> None:
        settings, clock, closing = self.settings, WallClock(), self._closing
        timers = IReactorTime(self.reactor)
        stored = await self._open(settings.state_dir)
        store, artifacts, logs = SqlBrokerStore(stored.database), stored.artifacts, stored.logs
        resolvers, bundles = await self._sources(settings.state_dir, timers)
        addresses = Addresses(settings.transfer_url, settings.public_url)
        outbox, pace = SqlOutboxStore(stored.database), Pace(grace=MAIL_GRACE)
        self._mailer = mailer = Mailer(outbox, timers, clock, *mailing(settings, self.reactor), pace)
        closing.add("mail under way", self._mail_ended)

        state = _state(settings, stored.keys.incarnations.current)
        teller = Teller(state, store, addresses, stored.keys, clock.wall)
        tickets = TicketOffice(settings, clock, stored.keys)
        gateway = Gateway(timers, silence=float(settings.lease))
        keeping = Housekeeping(settings.state_dir, stored.database, artifacts, logs, stored.threads, timers)
        shelving = keeping.shelving
        acts = Acts(gateway, gateway, mailer, logs, shelving, teller, tickets, timers)
        broker = Broker(state, store, clock, timers, shelving, acts)
        closing.add("what decisions asked for", acts.settle)
        closing.add("the transaction in flight", broker.stop)
        explainer, turns = Explainer(state, store, teller), self._timed()
        desk = Desk(settings, broker, store, resolvers, teller, explainer, keeping.conditions, turns=turns)
        troubles, history = Troubles(broker, timers), SqlOperatorStore(stored.database)
        server_desk = ServerDesk(settings, broker, shelving, tickets, gateway, troubles.unkept)
        operator_desk = OperatorDesk(settings, broker, store, history, shelving, keeping.conditions, clock, turns)

        def lives(build_id: int, epoch: int) -> bool:
            return (build_id, epoch) in state.attempts

        await broker.start()
        await artifacts.start(keep=state.attempts)

        await self._look_after(keeping, stored, broker, acts, troubles, server_desk)
        closing.add("the connections of the control port", gateway.close)
        oversight = Oversight(lives, keeping.corrupt, packed(desk, bundles), troubles.unkept)
        site = TransferSite(timers, stored.keys, clock, artifacts, logs, oversight)
        closing.add("the connections of the transfer port", site.disconnect)
        self._listen(site, settings.transfer_port, "transfer_port")
        self._listen(gateway.factory(desk, server_desk), settings.pb_port, "pb_port")
        show = self._show(stored, desk) if self.pages else None

        async def take(settings: Settings) -> None:
            self.settings = desk.settings = server_desk.settings = tickets.settings = operator_desk.settings = settings
            addresses.transfer_url, addresses.public_url = settings.transfer_url, settings.public_url
            mailer.configure(*mailing(settings, self.reactor))
            if show is not None:
                show(settings)
            state.names_kept = _names_kept(settings)
            await broker.reconfigure(_policies(settings))
            await moved_on(settings, broker)
            troubles.look()

        self._reloading = Reloading(settings, take, self._pool(1, "the configuration"), timers)
        self._operate(operator_desk, timers)
        mailer.startService()

    async def _look_after(
        self,
        keeping: Housekeeping,
        stored: _Stored,
        broker: Broker,
        acts: Acts,
        troubles: Troubles,
        servers: ServerDesk,
    ) -> None:
        """Finish the logs that an earlier life left, and from now on look after everything that is kept."""

        async def finish_logs() -> None:
            for left in await stored.logs.unfinished():
                if left not in broker.state.attempts:
                    acts.finish_log(*left)

        async def look(_patrol: Patrol) -> float:
            troubles.look()
            return LOOK_EVERY

        await finish_logs()
        await moved_on(self.settings, broker)
        keeping.conditions.needed = lambda: programs(self.settings)
        keeping.patrol("the look whose the state directory is", stored.holding.round_)
        keeping.patrol("the look through the open builds", look)
        self._refusals.watch()
        self._closing.add("the look at descriptors", self._refusals.stop)
        mail = self._mailer.problems if self._mailer is not None else tuple
        own = (stored.holding.problems, broker.problems, mail)
        others = (troubles.problems, servers.problems, self._refusals.problems)
        keeping.begin(broker.store, broker.send, finish_logs, (*own, *others))
        self._closing.add("the look after files and rows", keeping.stop)

    def _timed(self) -> Callable[[], Turns]:
        """Take the time of the reactor's turns; return what tells how long they were."""
        meter = TurnMeter()
        meter.watch(self.reactor)
        self._closing.add("the times of the reactor's turns", meter.stop)
        return meter.told

    async def _open(self, directory: Path) -> _Stored:
        """Take hold of the state directory and open what lies in it."""
        self._closing.add("the lock of the state directory", DirectoryLock(directory, "metaserver").close)
        if not self.beginning.accept_new:
            check_not_lost(directory)
        fresh = not (directory / "key").exists()
        secret = tenure.Secret(load_key(directory / "key"), fresh)
        database_threads, file_threads = self._pool(1, "database"), self._pool(FILE_THREADS, "files")
        database = await Database.open(directory / DATABASE, database_threads)
        self._closing.add("the database", database.close)
        keys, holding = await self._hold(database, secret)
        logs = LogStore(directory, file_threads)
        await logs.start()
        return _Stored(directory, keys, database, ArtifactStore(directory, file_threads), logs, file_threads, holding)

    async def _hold(self, database: Database, secret: tenure.Secret) -> tuple[Keys, Holding]:
        """Take the database for this process; say what the operator should know of how it was found."""
        directory, restored = database.path.parent, self.beginning.restored
        begun = await tenure.begin(database, directory, secret, time.time(), restored=restored)
        self._closing.add("the hold on the database", lambda: tenure.end(database))
        if begun.anew:
            log.warn("tokens and mails of what is asked for from now on are told apart: {why}", why=begun.anew)
        holding = self._holding = Holding(database, IReactorTime(self.reactor), self.ask_stop)
        if begun.rekeyed:
            holding.notice = (
                f"{directory / 'key'} is not the key of the last start: cancel ids and tickets from before it hold no "
                "more; put that key back from a backup, or restart once more to have this one taken for granted"
            )
            log.error("{notice}", notice=holding.notice)
        return Keys(secret.key, begun.incarnations), holding

    async def _sources(self, directory: Path, timers: IReactorTime) -> tuple[Resolvers, Bundles]:
        threads = Threads(self.reactor, VCS_THREADS, "version control")
        turns = FairPool(threads, VCS_THREADS)
        git, svn = GitMirror(directory / "mirrors", turns), SvnCommand(directory / "subversion")
        self._closing.add("version control", lambda: _end_sources(threads, (git, svn)))
        bundles = Bundles(git, directory / "bundles", turns, timers)
        self._closing.add("the packed sources", bundles.stop)
        await bundles.start()
        return Resolvers(git, SvnResolver(svn, turns)), bundles

    def _show(self, stored: _Stored, desk: Desk) -> Callable[[Settings], None]:
        """Serve the pages; return what makes them anew by other settings."""
        reading = Database.reading(stored.directory / DATABASE, self._pool(1, "reading"))
        self._closing.add("the database of the pages", reading.close)
        pages, questions, clock = SqlPages(reading), DeskQuestions(desk), WallClock()
        site = web_site(self.settings, pages, stored.logs, clock, questions, desk)
        self._listen(site, self.settings.web_port, "web_port")

        def show(settings: Settings) -> None:
            site.resource = web_site(settings, pages, stored.logs, clock, questions, desk).resource

        return show

    def _operate(self, desk: OperatorDesk, timers: IReactorTime) -> None:
        """Let the operator in, and end when what they drained has run dry."""
        factory = operator_factory(desk, timers)
        port = listen_control(self.reactor, self.settings.state_dir, factory)
        self._closing.add("the operator's connections", lambda: factory.close("the metaserver stops"))
        self._closing.add("the operator's socket", lambda: maybeDeferred(port.stopListening))

        def look() -> None:
            reason = desk.drained()
            if reason:
                self.ask_stop(reason)

        self._look(look, DRAINED_LOOK, timers, "the look whether it is drained")
        self._look(GivingBack().look, MEMORY_LOOK, timers, "the look after free memory")

    def _look(self, look: Callable[[], object], seconds: float, timers: IReactorTime, what: str) -> None:
        looking = LoopingCall(look)
        looking.clock = timers
        looking.start(seconds, now=False)
        self._closing.add(what, looking.stop)

    def _listen(self, factory: IProtocolFactory, port: int, setting: str) -> None:
        listening = listen(self.reactor, factory, self.settings.bind, port, setting)
        self._closing.add(f"listening on {setting}", lambda: maybeDeferred(listening.stopListening))

    def _pool(self, size: int, name: str) -> Threads:
        threads = Threads(self.reactor, size, name)

        def stop() -> None:
            if not threads.stop(min(THREADS_GRACE, self._closing.left())):
                log.warn("cut off: threads for {name} are still busy", name=name)

        self._closing.add(f"threads for {name}", stop)
        return threads

    async def _mail_ended(self) -> None:
        if self._mail_ends is not None:
            await self._mail_ends


def _policies(settings: Settings) -> dict[str, Policy]:
    return {project.name: project.scheduling() for project in settings.projects}


def _state(settings: Settings, incarnation: str) -> State:
    return State(_policies(settings), float(settings.lease), incarnation, _names_kept(settings))


def _names_kept(settings: Settings) -> float:
    return settings.names_kept * DAY


async def _end_sources(threads: Threads, sources: Sequence[GitMirror | SvnCommand]) -> None:
    """End what asks repositories: TERM, and KILL for what is still there after a moment."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        for source in sources:
            source.close(signum)
        if threads.stop(SOURCES_GRACE):
            return
    log.warn("cut off: threads for version control are still busy")


def packed(desk: Desk, bundles: Bundles) -> Callable[[int], Awaitable[Bundle]]:
    """Return what gives the commit of an open Build as a bundle."""

    async def bundle(build_id: int) -> Bundle:
        build = desk.broker.state.builds.get(build_id)
        if build is None:
            raise NotFound(f"build {build_id} is not open")
        project = desk.settings.project(build.spec.project)
        return await bundles.of(source_url(project, build.spec.source), build.spec.revision)

    return bundle


def mailing(settings: Settings, reactor: ReactorBase) -> tuple[MailSettings | None, Render, Deliver]:
    """Return what the mailer needs of a configuration: its mail settings, what writes mails, and what delivers them."""
    addresses = Addresses(settings.transfer_url, settings.public_url)
    links = Links(addresses.artifact, addresses.page, lambda build_id: f"{settings.public_url}/logs/{build_id}")
    defaults = {one.name: {it.name: it.default for it in one.options.compile} for one in settings.projects}

    def rendered(outgoing: OutgoingMail, now: float) -> tuple[str, str]:
        return render(outgoing, links, now, defaults)

    return settings.mail, rendered, delivery(settings.mail, reactor) if settings.mail is not None else _undeliverable


def delivery(mail: MailSettings, reactor: ReactorBase) -> SmtpDelivery:
    """Return what gives mails to the configured mail server."""
    return SmtpDelivery(mail, IReactorTCP(reactor), IReactorTime(reactor))


async def send_test_mail(settings: Settings, address: str, reactor: ReactorBase) -> str:
    """Send one mail now and return what the mail server said. Raises BuildToolError."""
    deliver: Deliver = delivery(settings.mail, reactor) if settings.mail is not None else _undeliverable
    return await mail_test(settings.mail, address, deliver, secrets.token_hex(16), time.time())


async def _undeliverable(_address: str, _message: bytes) -> str:
    raise ConfigurationError("mail = None in config.py: no mail is sent")
