"""A mail as it was written, before it is a message: its words, and what its headers are made of.

Tested by tests/adapters/mail/test_text.py and test_mailer.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from urllib.parse import quote

from attrs import frozen

from buildtool.model.farm.deployment import UNNAMED, Deployment, ProjectPlace

UNSUBSCRIBE = "List-Unsubscribe"
"""The header whose lines are folded already: a link cannot be, and is no text to encode."""


@frozen
class Look:
    """The state of a mail as its top shows it: a ``tone`` (ok, bad, wait, quiet), a shape and a word."""

    tone: str
    shape: str
    word: str


@frozen
class Letter:
    """The words of a mail: one printable line as its subject, a whole text, and the same as HTML, "" for none.

    Mails of one ``thread`` belong together. ``topic`` is the project that it is about; ``farm`` is who sends it.
    ``returns_to`` is the address that it comes back to, "" for the sender's. ``unsubscribe`` is the link that ends
    mails like it, "" for none.
    """

    subject: str
    text: str
    html: str = ""
    thread: str = ""
    topic: str = ""
    farm: Deployment = UNNAMED
    returns_to: str = ""
    unsubscribe: str = ""

    def headers(self, sender: str) -> Iterable[tuple[str, str]]:
        """Yield the headers by which mail programs put mails together, and let people get rid of them.

        The first message of a thread was never sent: all that is known of it is its id.
        """
        domain = sender.rpartition("@")[2]
        if self.thread:
            root = f"<{hashlib.sha256(f'thread {self.thread}'.encode()).hexdigest()[:40]}@{domain}>"
            yield "In-Reply-To", root
            yield "References", root
        name = "".join(char if char.isascii() and char.isalnum() else "-" for char in self.topic).strip("-")
        yield "List-Id", f"<{name}.builds.{domain}>" if name else f"<builds.{domain}>"
        contact = self.farm.contact
        asked = contact if "@" in contact and "://" not in contact else sender
        by_mail = f"<mailto:{quote(asked, safe='@')}?subject=unsubscribe>"
        yield UNSUBSCRIBE, f"<{self.unsubscribe}>,\n {by_mail}" if self.unsubscribe else by_mail
        if self.unsubscribe.startswith("https:"):  # by one click, as RFC 8058 has it, which wants HTTPS
            yield "List-Unsubscribe-Post", "List-Unsubscribe=One-Click"
        if self.farm.title_url:
            yield "List-Help", f"<{self.farm.title_url}>"


def farm_words(farm: Deployment, topic: str, place: ProjectPlace) -> dict[str, object]:
    """Return what templates may say at the end of a mail: of the farm, and of the project that is the ``topic``."""
    named = farm.title != UNNAMED.title or bool(farm.title_url)
    lines = [f"{topic}: {place.url}"] if place.url else []
    lines += [f"Questions about {topic}: {place.contact}"] if place.contact else []
    lines += farm.lines if named else farm.lines[1:]
    return {"farm": farm, "farm_named": named, "end_lines": "\n".join(lines), "topic": topic, "place": place}
