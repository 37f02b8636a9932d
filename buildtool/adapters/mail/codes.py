"""What a mail with a code says.

Tested by tests/adapters/mail/test_text.py.
"""

from __future__ import annotations

import shlex

from buildtool.adapters.mail.letter import Letter, Look
from buildtool.adapters.mail.plain_text import at_time, link, plain
from buildtool.adapters.mail.text import USUAL_STYLE, MailStyle
from buildtool.model.access.confirmation import LIVES
from buildtool.model.records import Mail

DEFAULT_PORT = 23432
"""The control port of a metaserver that has no other."""


def render_code(
    mail: Mail, code: str, pages: str, control: tuple[str, int], authority: str, style: MailStyle = USUAL_STYLE
) -> Letter:
    """Return the mail that tells a code; ``pages`` is the URL of the pages.

    ``control`` is the host and port to log in at, and ``authority`` the fingerprint of the farm's authority, "" for
    none. A peer that listens in between cannot change a mail, so that this is better than what is shown there.
    """
    host, port = control
    address = plain(mail.email)
    where = "" if port == DEFAULT_PORT else f" --port {port}"
    pin = f" --fingerprint sha256:{authority}" if authority else ""
    confirm = mail.purpose == "confirm"
    asked = "Is this your address?" if confirm else "Your code to log in"
    words = {
        "headline": asked,
        "address": address,
        "code": code,
        "until": at_time(mail.created_at + LIVES[mail.purpose]),
        "asker": plain(mail.asker) or "the metaserver's own machine",
        "confirm": confirm,
        "page": link(f"{pages}/confirm/{code}"),
        "sign_in": link(f"{pages}/sign-in/{code}"),
        "command": f"bin/startcompile.py login {shlex.quote(address)} --host {host}{where} --code {code}{pin}",
        "checks": bool(pin),
    }
    return style.letter("code", f"[{style.farm_name}] {asked}", Look("wait", "?", "Your answer is waited for"), words)
