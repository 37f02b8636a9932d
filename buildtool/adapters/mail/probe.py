"""A look at the mail server, for the metaserver's doctor: whether it would take a mail, without one. Blocks.

Tested by tests/programs/doctors/test_metaserver.py.
"""

from __future__ import annotations

import smtplib
import ssl

from buildtool.configuration.mail_settings import MailSettings

WITHIN = 10.0
"""Seconds that each answer of the mail server may take."""


def mail_trouble(settings: MailSettings, within: float = WITHIN) -> str:
    """Return why the mail server takes no mail from here, "" where it does: it greets, logs in and takes the sender.

    Each answer may take ``within`` seconds.
    """
    try:
        with smtplib.SMTP(settings.host, settings.port, timeout=within) as server:
            server.ehlo_or_helo_if_needed()
            if settings.starttls != "never" and (server.has_extn("starttls") or settings.needs_tls):
                context = ssl.create_default_context()
                if not settings.verify:
                    context.check_hostname = False
                    context.verify_mode = ssl.CERT_NONE
                server.starttls(context=context)
            if settings.username:
                server.login(settings.username, settings.password)
            code, said = server.mail(settings.sender)
            return "" if code == 250 else f"{code} {said.decode('ascii', 'replace')}"  # noqa: PLR2004 - RFC 5321
    except smtplib.SMTPResponseException as error:
        words = error.smtp_error
        return f"{error.smtp_code} {words.decode('ascii', 'replace') if isinstance(words, bytes) else words}"
    except (OSError, smtplib.SMTPException) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
