"""What the mailer is made of, by the configuration; and the test mail of ``bin/metaserver mail-test``."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTCP, IReactorTime

from buildtool.adapters.mail.codes import render_code
from buildtool.adapters.mail.mailer import Render
from buildtool.adapters.mail.message import Deliver, mail_test
from buildtool.adapters.mail.smtp import SmtpDelivery
from buildtool.adapters.mail.text import MailLinks, render
from buildtool.configuration.mail_settings import MailSettings
from buildtool.configuration.settings import Settings
from buildtool.errors import ConfigurationError
from buildtool.metaserver.request_status import PublicUrls
from buildtool.model.access.confirmation import mail_code
from buildtool.model.incarnations import Keys
from buildtool.ports.metaserver import OutgoingMail


def mailing(
    settings: Settings, addresses: PublicUrls, reactor: ReactorBase, keys: Keys, authority: Callable[[], str]
) -> tuple[MailSettings | None, Render, Deliver]:
    """Return what the mailer needs of a configuration: its mail settings, what writes mails, and what delivers them.

    The codes in mails follow from ``keys``; ``authority`` returns the fingerprint of the farm's authority.
    """
    links = MailLinks(addresses.artifact, addresses.page, lambda build_id: f"{settings.public_url}/logs/{build_id}")
    defaults = {one.name: {it.name: it.default for it in one.options.compile} for one in settings.projects}

    def rendered(outgoing: OutgoingMail, now: float) -> tuple[str, str]:
        if outgoing.mail.purpose:
            secret = keys.codes(outgoing.mail.key.partition(":")[0])
            code = mail_code(secret, outgoing.mail.email, outgoing.mail.created_at)
            control = settings.host, settings.pb_port
            return render_code(outgoing.mail, code, settings.public_url, control, authority())
        return render(outgoing, links, now, defaults)

    return settings.mail, rendered, _delivery(settings, reactor)


async def send_test_mail(settings: Settings, address: str, reactor: ReactorBase) -> str:
    """Send one mail now and return what the mail server said. Raises BuildToolError."""
    delivery = _delivery(settings, reactor)
    return await mail_test(settings.mail, address, delivery, secrets.token_hex(16), time.time())


def _delivery(settings: Settings, reactor: ReactorBase) -> Deliver:
    """Return what gives mails to the configured mail server, or refuses them where there is none."""
    if settings.mail is None:
        return _undeliverable
    return SmtpDelivery(settings.mail, IReactorTCP(reactor), IReactorTime(reactor))


async def _undeliverable(_address: str, _message: bytes) -> str:
    raise ConfigurationError("mail = None in config.py: no mail is sent")
