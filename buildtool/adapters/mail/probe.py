"""A look at the mail server, for the metaserver's doctor: whether it would take a mail, without one. Blocks.

Tested by tests/programs/doctors/test_metaserver.py.
"""

from __future__ import annotations

import smtplib
import ssl

from attrs import frozen

from buildtool.configuration.mail_settings import MailSettings

WITHIN = 10.0
"""Seconds that each answer of the mail server may take."""


@frozen
class MailServerLook:
    """The verdict on a mail server: the ``trouble`` that keeps it from taking mail, "" for none.

    ``any_letters`` is whether it takes addresses with letters beyond a to z.
    """

    trouble: str
    any_letters: bool = False


def look_at_mail_server(settings: MailSettings, within: float = WITHIN) -> MailServerLook:
    """Return whether the mail server takes mail from here: it greets, logs in and takes the sender.

    Each answer may take ``within`` seconds.
    """
    try:
        context = _context(settings)
        connected: smtplib.SMTP
        if settings.implicit_tls:
            connected = smtplib.SMTP_SSL(settings.host, settings.port, timeout=within, context=context)
        else:
            connected = smtplib.SMTP(settings.host, settings.port, timeout=within)
        with connected as server:
            server.ehlo_or_helo_if_needed()
            begins = settings.speaks_tls and not settings.implicit_tls
            if begins and (server.has_extn("starttls") or settings.needs_tls):
                server.starttls(context=context)
            if settings.username:
                server.login(settings.username, settings.password)
            code, answer = server.mail(settings.sender, () if settings.sender.isascii() else ("SMTPUTF8",))
            trouble = "" if code == 250 else f"{code} {answer.decode('ascii', 'replace')}"  # noqa: PLR2004 - RFC 5321
            return MailServerLook(trouble, server.has_extn("smtputf8"))
    except smtplib.SMTPResponseException as error:
        words = error.smtp_error
        said = words.decode("ascii", "replace") if isinstance(words, bytes) else words
        return MailServerLook(f"{error.smtp_code} {said}")
    except (OSError, smtplib.SMTPException) as error:
        return MailServerLook(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _context(settings: MailSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate is not None:
        context.load_cert_chain(settings.certificate, settings.key, password="")  # or it would ask for one
    return context
