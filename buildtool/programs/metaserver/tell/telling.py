"""Who is told, put together by the configuration: each target with its secret, its way of being told, and its pace.

Tested by tests/programs/metaserver/tell/test_telling.py and tests/e2e/test_telling.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from attrs import define, field, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock as TimerClock

from buildtool.adapters.http.client import HttpClient, HttpTimeouts
from buildtool.adapters.mail.mailer import Mailer, Render
from buildtool.adapters.mail.message import Deliver
from buildtool.adapters.notices.courier import CourierPace
from buildtool.adapters.notices.forges import ForgeTeller
from buildtool.adapters.notices.http import CallHttp, HttpCall, calling
from buildtool.adapters.notices.irc import IrcSecrets, IrcTeller
from buildtool.adapters.notices.teller import TIDY_EVERY, NoticeTeller
from buildtool.adapters.notices.webhooks import WebhookTeller
from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.sql.notices.store import SqlNoticeStore
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.mail_settings import MailSettings
from buildtool.configuration.places import read_directory
from buildtool.configuration.secret_file import read_secret
from buildtool.configuration.settings import Settings
from buildtool.errors import InternalError
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.request_status import PublicUrls
from buildtool.metaserver.telling.subscriptions import Subscriptions
from buildtool.metaserver.telling.targets import TargetService, Try
from buildtool.model.notices.notice import Notice
from buildtool.model.notices.outcome import HttpReply
from buildtool.model.notices.targets import ForgeTarget, IrcTarget, StatusApi, Target, WebhookTarget
from buildtool.ports.common import Clock
from buildtool.ports.notices import Tell
from buildtool.programs.common.shutdown import ShutdownList
from buildtool.programs.metaserver.mail import mailer_of, mailing
from buildtool.programs.metaserver.state_directory import OpenState

PATIENCE = HttpTimeouts(connect=10.0, stall=10.0, answer=15.0)
"""Whoever does not answer in this time is tried again; the first retry comes after it has surely ended there."""

GITHUB_GAP = 1.0
"""Seconds between two writes that GitHub asks for."""


IRC_GAP = 2.0
"""Seconds between two lines in a channel, which servers take for no flood."""

Teller = ForgeTeller | WebhookTeller | IrcTeller


@frozen
class ToldTarget:
    """A target of the configuration: its name on the farm, what tells it, and at which pace."""

    name: str
    teller: Teller
    pace: CourierPace

    @property
    def tell(self) -> Tell:
        """What tells it."""
        return self.teller.tell


def told_by(settings: Settings, call: CallHttp, wall: Clock, reactor: IReactorTime) -> list[ToldTarget]:
    """Return who is told by a configuration. Raises ConfigurationError for a secret that cannot be read."""
    found = []
    for project in settings.projects:
        for target in project.tell:
            what = f"project {project.name}: {target.name}"

            def secret(file: str, what: str = what) -> str:
                return read_secret(read_directory(settings.path, f"{what}: its secret", file), what) if file else ""

            page = page_of(settings)
            teller: Teller
            match target:
                case WebhookTarget():
                    teller = WebhookTeller(target.url, secret(target.secret_file), call, page, wall)
                case IrcTarget():
                    secrets = IrcSecrets(secret(target.password_file), secret(target.key_file))
                    teller = IrcTeller(target, secrets, reactor, page)
                case ForgeTarget():
                    teller = ForgeTeller(target, secret(target.token_file), call, page, wall)
            found.append(ToldTarget(f"{project.name}/{target.name}", teller, pace_of(target)))
    return found


def check_told(settings: Settings) -> None:
    """Read the secrets of all targets. Raises ConfigurationError for one that cannot be read."""

    async def never(_call: HttpCall) -> HttpReply:
        raise InternalError("nothing is told while a configuration is checked")

    told_by(settings, never, WallClock(), TimerClock())


@define(eq=False)
class Telling:
    """All ways in which what was decided is told: mail, and the targets of projects. A ``ports.Notifier``.

    ``mails`` and ``targets`` return what each of the two needs of a configuration.
    """

    mailer: Mailer
    teller: NoticeTeller
    mails: Callable[[Settings], tuple[MailSettings | None, Render, Deliver]]
    targets: Callable[[Settings], Sequence[ToldTarget]]
    told: Sequence[ToldTarget] = field(default=(), init=False)
    _ends: Deferred[None] | None = field(default=None, init=False)

    def take(self, settings: Settings) -> None:
        """Use other settings from now on."""
        self.mailer.configure(*self.mails(settings))
        self.target(settings)

    def start(self) -> None:
        """Start telling what waits."""
        self.mailer.startService()
        self.teller.start()

    def target(self, settings: Settings) -> None:
        """Use the targets of these settings from now on."""
        before, self.told = self.told, self.targets(settings)
        self.teller.configure({one.name: (one.tell, one.pace) for one in self.told})
        _close(before)

    def end(self) -> None:
        """Stop sending mail; what is under way has a moment to finish, which ``ended`` waits for."""
        self._ends = self.mailer.stopService()

    async def ended(self) -> None:
        """Return once nothing is told any more."""
        if self._ends is not None:
            await self._ends
        await self.teller.stop()
        _close(self.told)

    def nudge(self, targets: Collection[str] = ()) -> None:
        """Wake what tells these targets, or the mailer where none is named."""
        if targets:
            self.teller.nudge(targets)
        else:
            self.mailer.nudge()

    def service(self, permissions: Permissions) -> TargetService:
        """Return what shows who is told."""
        tries: Callable[[], Mapping[str, Try]] = lambda: {one.name: one.teller.look for one in self.told}  # noqa: E731
        return TargetService(self.teller.store, permissions, tries, self.teller.away)

    def problems(self) -> tuple[str, ...]:
        return (*self.mailer.problems(), *self.teller.problems())


def open_telling(
    settings: Settings,
    addresses: PublicUrls,
    reactor: ReactorBase,
    stored: OpenState,
    authority: Callable[[], str],
    subscriptions: Subscriptions,
    closing: ShutdownList,
) -> Telling:
    """Return what tells by a configuration, once ``start`` of it is called; ``closing`` ends it.

    ``authority`` returns the fingerprint of the farm's. Raises ConfigurationError for a secret that cannot be read.
    """
    timers, wall, database = IReactorTime(reactor), WallClock(), stored.database
    mails = partial(
        mailing, addresses=addresses, reactor=reactor, keys=stored.keys, authority=authority, logs=stored.logs,
        unsubscribing=subscriptions.token,
    )  # fmt: skip
    mailer = mailer_of(database, timers, wall, mails(settings), subscriptions)
    client = HttpClient(timers, PATIENCE)
    teller = NoticeTeller(SqlNoticeStore(database), timers, wall)
    telling = Telling(mailer, teller, mails, partial(told_by, call=calling(client), wall=wall, reactor=timers))
    telling.target(settings)
    tidying = PeriodicTask("the removal of old notices", timers, teller.tidy)
    closing.add("what targets are told by", client.close)
    closing.add("what is being told", telling.ended)
    closing.add("the removal of old notices", tidying.stop)
    tidying.start(TIDY_EVERY)
    return telling


def _close(told: Sequence[ToldTarget]) -> None:
    """Leave the servers of channels."""
    for one in told:
        if isinstance(one.teller, IrcTeller):
            one.teller.close()


def page_of(settings: Settings) -> Callable[[Notice], str]:
    """Return what returns the page that a notice leads to: that of its build, where it has one."""

    def page(notice: Notice) -> str:
        return settings.public_url if notice.build_id is None else f"{settings.public_url}/build/{notice.build_id}"

    return page


def pace_of(target: Target) -> CourierPace:
    """Return at which pace a target is told."""
    if isinstance(target, IrcTarget):
        return CourierPace(gap=IRC_GAP)
    if isinstance(target, WebhookTarget):
        return CourierPace()
    hub = target.kind in (StatusApi.GITHUB_STATUS, StatusApi.GITHUB_CHECKS)
    return CourierPace(gap=GITHUB_GAP if hub and target.base == "https://api.github.com" else 0.0)
