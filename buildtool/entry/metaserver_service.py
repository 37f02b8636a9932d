"""The metaserver put together: storage, broker, control port, transfer port, mail, and the pages if asked for."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.base import ReactorBase
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTCP, IReactorTime
from twisted.logger import Logger

from buildtool.adapters.clock import WallClock
from buildtool.adapters.database import Database
from buildtool.adapters.executors import Threads
from buildtool.adapters.files import ArtifactStore
from buildtool.adapters.keyfile import load_key
from buildtool.adapters.locks import DirectoryLock
from buildtool.adapters.logs import LogStore
from buildtool.adapters.mail import Deliver, Mailer, mail_test
from buildtool.adapters.mail_smtp import SmtpDelivery
from buildtool.adapters.mail_text import Links, render
from buildtool.adapters.outbox_store import SqlOutboxStore
from buildtool.adapters.pb_server import Gateway
from buildtool.adapters.queries import SqlPages
from buildtool.adapters.stores import SqlBrokerStore
from buildtool.adapters.transfer import Oversight, TransferSite
from buildtool.adapters.vcs import Resolvers
from buildtool.adapters.vcs_git import GitMirror
from buildtool.adapters.vcs_svn import SvnResolver
from buildtool.adapters.vcs_svn_command import SvnCommand
from buildtool.domain.state import State
from buildtool.entry.housekeeping import Housekeeping
from buildtool.entry.listening import listen
from buildtool.entry.web_site import web_site
from buildtool.errors import ConfigurationError
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.desk import Desk, DeskQuestions
from buildtool.metaserver.explaining import Explainer
from buildtool.metaserver.server_desk import Acts, ServerDesk, TicketOffice
from buildtool.metaserver.telling import Addresses, Teller
from buildtool.settings import MailSettings, Settings

log = Logger()

FILE_THREADS = 4
"""Threads that write, sync and hash artifacts and logs."""

VCS_THREADS = 4
"""Threads in which git and svn resolve refs: different repositories at the same time."""


@define
class Metaserver:
    """A running metaserver. Made by ``start``; ``stop`` ends it in order."""

    settings: Settings
    reactor: ReactorBase
    pages: bool = False
    _closers: list[Callable[[], Awaitable[object] | object]] = field(factory=list, init=False)

    async def start(self) -> None:
        """Open the state directory, take up what was open, and listen. Raises BuildToolError; then nothing runs."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Listen no more, finish what is in flight, let go of the state directory: what was made last goes first."""
        while self._closers:
            closing = self._closers.pop()()
            if isinstance(closing, Awaitable):
                await closing

    async def _start(self) -> None:
        settings, clock = self.settings, WallClock()
        timers = IReactorTime(self.reactor)
        directory = settings.state_dir
        self._closers.append(DirectoryLock(directory, "metaserver").close)
        key = load_key(directory / "key")
        database_threads = self._pool(1, "database")
        file_threads = self._pool(FILE_THREADS, "files")
        database = await Database.open(directory / "buildtool.sqlite", database_threads)
        self._closers.append(database.close)
        store = SqlBrokerStore(database)
        artifacts = ArtifactStore(directory, file_threads)
        logs = LogStore(directory, file_threads)
        await logs.start()
        vcs_threads = self._pool(VCS_THREADS, "version control")
        git, svn = GitMirror(directory / "mirrors", vcs_threads), SvnCommand(directory / "subversion")
        self._closers += [git.close, svn.close]
        resolvers = Resolvers(git, SvnResolver(svn, vcs_threads))
        mailer = self._make_mailer(SqlOutboxStore(database), timers, clock)

        state = State({project.name: project.scheduling() for project in settings.projects}, float(settings.lease))
        addresses = Addresses(settings.transfer_url, settings.public_url)
        teller = Teller(state, store, addresses, key, clock.wall)
        tickets = TicketOffice(settings, clock, key)
        gateway = Gateway(timers, silence=float(settings.lease))
        keeping = Housekeeping(directory, database, artifacts, logs, file_threads, timers)
        shelving = keeping.shelving
        acts = Acts(gateway, gateway, mailer, logs, shelving, teller, tickets)
        broker = Broker(state, store, clock, timers, shelving, acts)
        self._closers += [acts.settle, broker.stop]
        desk = Desk(settings, broker, store, resolvers, teller, Explainer(state, store, teller), keeping.conditions)
        server_desk = ServerDesk(settings, broker, shelving, tickets)

        def lives(build_id: int, epoch: int) -> bool:
            return (build_id, epoch) in state.attempts

        await broker.start()
        await artifacts.start(keep=state.attempts)
        for left in await logs.unfinished():
            if not lives(*left):
                acts.finish_log(*left)
        keeping.begin(store, broker.send, (broker.problems, mailer.problems))
        self._closers += [keeping.stop, gateway.close]
        site = TransferSite(timers, key, clock, artifacts, logs, Oversight(lives, keeping.corrupt))
        self._closers.append(site.disconnect)
        self._listen(site, settings.transfer_port, "transfer_port")
        self._listen(gateway.factory(desk, server_desk), settings.pb_port, "pb_port")
        if self.pages:
            reading = Database.reading(directory / "buildtool.sqlite", self._pool(1, "reading"))
            self._closers.append(reading.close)
            self._listen(
                web_site(settings, SqlPages(reading), logs, clock, DeskQuestions(desk), desk),
                settings.web_port,
                "web_port",
            )
        mailer.startService()
        self._closers.append(mailer.stopService)

    def _listen(self, factory: IProtocolFactory, port: int, setting: str) -> None:
        listening = listen(self.reactor, factory, self.settings.bind, port, setting)
        self._closers.append(lambda: maybeDeferred(listening.stopListening))

    def _pool(self, size: int, name: str) -> Threads:
        threads = Threads(self.reactor, size, name)
        self._closers.append(threads.stop)
        return threads

    def _make_mailer(self, outbox: SqlOutboxStore, timers: IReactorTime, clock: WallClock) -> Mailer:
        settings = self.settings
        addresses = Addresses(settings.transfer_url, settings.public_url)
        links = Links(addresses.artifact, addresses.page, lambda build_id: f"{settings.public_url}/logs/{build_id}")

        defaults = {one.name: {it.name: it.default for it in one.options.compile} for one in settings.projects}

        def rendered(outgoing: object, now: float) -> tuple[str, str]:
            return render(outgoing, links, now, defaults)  # type: ignore[arg-type]

        deliver = delivery(settings.mail, self.reactor) if settings.mail is not None else _undeliverable
        return Mailer(outbox, timers, clock, settings.mail, rendered, deliver)


def delivery(mail: MailSettings, reactor: ReactorBase) -> SmtpDelivery:
    """Return what gives mails to the configured mail server."""
    return SmtpDelivery(mail, IReactorTCP(reactor), IReactorTime(reactor))


async def send_test_mail(settings: Settings, address: str, reactor: ReactorBase) -> str:
    """Send one mail now and return what the mail server said. Raises BuildToolError."""
    deliver: Deliver = delivery(settings.mail, reactor) if settings.mail is not None else _undeliverable
    return await mail_test(settings.mail, address, deliver, secrets.token_hex(16), time.time())


async def _undeliverable(_address: str, _message: bytes) -> str:
    raise ConfigurationError("mail = None in config.py: no mail is sent")
