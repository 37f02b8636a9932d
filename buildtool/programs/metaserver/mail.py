"""What the mailer is made of, by the configuration; and the test mail of ``bin/metaserver mail-test``."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from attrs import evolve
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.logger import Logger

from buildtool.adapters.mail.codes import render_code
from buildtool.adapters.mail.letter import Letter
from buildtool.adapters.mail.mailer import Mailer, MailerLimits, Render
from buildtool.adapters.mail.message import Deliver, mail_test
from buildtool.adapters.mail.samples import sample_mails
from buildtool.adapters.mail.smtp import SmtpDelivery
from buildtool.adapters.mail.templating import MailTemplates
from buildtool.adapters.mail.text import MailLinks, MailStyle, render
from buildtool.adapters.mail.tls import own_certificate
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.outbox_store import SqlOutboxStore
from buildtool.adapters.sql.telling.subscriptions import SqlSubscriptionStore
from buildtool.configuration.mail_settings import MailSettings
from buildtool.configuration.settings import Settings
from buildtool.errors import BuildToolError, ConfigurationError
from buildtool.metaserver.request_status import PublicUrls
from buildtool.metaserver.telling.subscriptions import Subscriptions
from buildtool.model.access.confirmation import mail_code
from buildtool.model.farm.return_paths import PLACE, ReturnTag
from buildtool.model.incarnations import Keys
from buildtool.model.logs.error_lines import AROUND, Excerpt, shown_line
from buildtool.model.records import RequestState
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import OutgoingMail
from buildtool.ports.pages import LogReader

log = Logger()

PACE = MailerLimits(grace=3.0)
"""Deliveries under way have so many seconds when the metaserver stops; what is not sent by then goes after a start."""


def mailing(
    settings: Settings,
    addresses: PublicUrls,
    reactor: ReactorBase,
    keys: Keys,
    authority: Callable[[], str],
    logs: LogReader,
    unsubscribing: Callable[[OutgoingMail], str],
) -> tuple[MailSettings | None, Render, Deliver]:
    """Return what the mailer needs of a configuration: its mail settings, what writes mails, and what delivers them.

    The codes in mails follow from ``keys``; ``authority`` returns the fingerprint of the farm's authority. The first
    error of a build is looked up in ``logs``. ``unsubscribing`` returns the token of the link that ends mails like one.
    """
    links = MailLinks(addresses.artifact, addresses.page, lambda build_id: f"{addresses.page(build_id)}/log")
    usual = style_of(settings)

    async def rendered(outgoing: OutgoingMail, now: float) -> Letter:
        style = evolve(usual, unsubscribe=f"{settings.public_url}/unsubscribe/{unsubscribing(outgoing)}")
        if outgoing.mail.purpose:
            secret = keys.codes(outgoing.mail.key.partition(":")[0])
            code = mail_code(secret, outgoing.mail.email, outgoing.mail.created_at)
            control = settings.host, settings.pb_port
            return render_code(outgoing.mail, code, settings.public_url, control, authority(), style)
        letter = render(outgoing, links, now, style, await _error_of(outgoing, logs))
        return evolve(letter, returns_to=return_address(settings.mail, outgoing, keys))

    return settings.mail, rendered, _delivery(settings, reactor)


async def subscribing(database: Database, clock: Clock, keys: Keys) -> Subscriptions:
    """Return which mails people have ended. Raises StorageUnavailable."""
    found = Subscriptions(SqlSubscriptionStore(database), clock, keys.secret)
    await found.start()
    return found


def mailer_of(
    database: Database,
    timers: IReactorTime,
    clock: Clock,
    how: tuple[MailSettings | None, Render, Deliver],
    subscriptions: Subscriptions,
) -> Mailer:
    """Return the mailer of a metaserver, ``how`` being what ``mailing`` returns."""
    mailer = Mailer(SqlOutboxStore(database), timers, clock, *how, PACE)
    mailer.withholds = subscriptions.withholds
    return mailer


def style_of(settings: Settings) -> MailStyle:
    """Return how mails are written by a configuration."""
    defaults = {one.name: {it.name: it.default for it in one.options.compile} for one in settings.projects}
    templates = MailTemplates(settings.mail.templates if settings.mail is not None else None)
    places = {one.name: one.place for one in settings.projects}
    return MailStyle(templates, settings.deployment, places, defaults)


def check_mail(settings: Settings) -> list[str]:
    """Try the certificate that the mail server is shown, and the deployment's templates by a mail of every kind.

    Returns a note about each template that is the deployment's own. Raises ConfigurationError.
    """
    if settings.mail is None:
        return []
    own_certificate(settings.mail)
    style = evolve(style_of(settings), strict=True)
    own = style.templates.own()
    if own:
        at = settings.public_url
        links = MailLinks(
            lambda digest, name: f"{settings.transfer_url}/artifacts/{digest}/{name}",
            lambda build_id: f"{at}/build/{build_id}",
            lambda build_id: f"{at}/build/{build_id}/log",
        )
        for sample in sample_mails(links, style):
            if not sample.letter.text.strip():
                raise ConfigurationError(f"mail: templates: the text of a mail is empty: {sample.what}")
    return [f"mails are written by {style.templates.directory}/{name}" for name in own]


def return_address(settings: MailSettings | None, outgoing: OutgoingMail, keys: Keys) -> str:
    """Return the address that a mail comes back to; "" where it tells of no Request, or the configuration has none."""
    ids = outgoing.mail.request_ids
    if settings is None or not settings.bounces or not ids:
        return ""
    tag = ReturnTag.of(keys.request(ids[0]), ids[0], outgoing.mail.email)
    return settings.bounces.replace(PLACE, str(tag))


async def _error_of(outgoing: OutgoingMail, logs: LogReader) -> Excerpt | None:
    """Return the first error in the whole log of a Build that failed; None where it has none, or is not there now."""
    build = outgoing.build
    if build is None or build.deciding_epoch is None or outgoing.mail.outcome is not RequestState.FAILED:
        return None
    key = build.id, build.deciding_epoch
    try:
        found = (await logs.index(*key)).errors.lines
        if not found:
            return None
        first = max(1, found[0].line - AROUND)
        lines = await logs.lines(*key, first, found[0].line + AROUND + 1 - first)
    except BuildToolError as error:
        log.info("the mail about build {id} tells the end of its log only: {error}", id=build.id, error=error)
        return None
    return Excerpt(first, tuple(map(shown_line, lines)), found[0].line - first)


async def send_test_mail(settings: Settings, address: str, reactor: ReactorBase) -> str:
    """Send one mail now and return what the mail server said. Raises BuildToolError."""
    delivery = _delivery(settings, reactor)
    return await mail_test(settings.mail, address, delivery, secrets.token_hex(16), time.time(), style_of(settings))


def _delivery(settings: Settings, reactor: ReactorBase) -> Deliver:
    """Return what gives mails to the configured mail server, or refuses them where there is none."""
    if settings.mail is None:
        return _undeliverable
    return SmtpDelivery(settings.mail, IReactorTCP(reactor), IReactorTime(reactor))


async def _undeliverable(_address: str, _message: bytes, _returns_to: str) -> str:
    raise ConfigurationError("mail = None in config.py: no mail is sent")
