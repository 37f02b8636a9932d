"""What a mail is about, as whoever gets it may end all mails about it, and the token of the link that does so.

A topic is a kind and a name: ``trigger:lua/push main``, ``requests:lua``. A token names an address and topics, and is
signed under the metaserver's secret: who has the mail has the link, and nobody else can make one. It does not
expire, since old mails are where people look for it.

The test is tests/model/telling/test_topics.py.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from buildtool.errors import Unauthorised
from buildtool.model.records import Mail, Request
from buildtool.model.telling.watch import WATCH
from buildtool.model.triggers.trigger import TRIGGER

__all__ = ["CODES", "EVERYTHING", "TOKEN_MOST", "Ended", "Unsubscription", "topics_of", "withheld", "words_of"]

REQUESTS, MACHINE, CODES, EVERYTHING = "requests:", "machine:", "codes", "everything"
"""What topics are, or begin with: of requests that somebody made for a project, of a build server, of codes, of all."""

TOKEN_MOST = 700
"""Most characters of a token: it stands in one line of a mail's head, which cannot be folded."""

_PAYLOAD_MOST = 490
_WRONG = "this is no link of a mail that was sent from here"

Ended = Mapping[tuple[str, str], float]
"""Since when (wall time) an address has no more mails about a topic."""


@frozen
class Unsubscription:
    """The subject of a link in a mail: the address that the mail went to, and the topics that it was about."""

    email: str
    topics: tuple[str, ...]

    def token(self, secret: bytes) -> str:
        """Return what stands for it in a link. What would be too long for that stands for everything."""
        payload = _payload(self.email, self.topics)
        if len(payload) > _PAYLOAD_MOST:
            payload = _payload(self.email, (EVERYTHING,))
        return f"{_text(payload)}.{_text(_mac(payload, secret))}"

    @classmethod
    def read(cls, token: str, secret: bytes) -> Unsubscription:
        """Return what a token stands for. Raises Unauthorised for one that was not made with this secret."""
        said, _, mac = token.partition(".")
        if len(token) > TOKEN_MOST or not token.isascii():
            raise Unauthorised(_WRONG)
        payload = _bytes(said)
        if not payload or not hmac.compare_digest(_bytes(mac), _mac(payload, secret)):
            raise Unauthorised(_WRONG)
        email, *topics = json.loads(payload)  # it is ours, so it is well formed
        return cls(email, tuple(topics))


def topics_of(mail: Mail, requests: Sequence[Request]) -> tuple[str, ...]:
    """Return what a mail is about; ``requests`` are those it tells of. One about what is gone is about everything."""
    if mail.purpose:
        return (CODES,)
    if mail.server:
        return (f"{MACHINE}{mail.server}",)
    if mail.about:
        return (mail.about.partition(" ")[0],)
    return tuple(dict.fromkeys(map(_topic, requests))) or (EVERYTHING,)


def withheld(mail: Mail, requests: Sequence[Request], ended: Ended) -> bool:
    """Return whether a mail is not to be sent, since its address has ended all that it is about.

    Who ends mails about their own requests has ended them for what was asked for by then: what they ask for afterwards
    by themselves they are told.
    """
    if not ended or mail.purpose:
        return False  # a code that is not wanted is not made
    if (everything := ended.get((mail.email, EVERYTHING))) is not None:
        asked = [one.admitted_at for one in requests if not _of_trigger(one)]
        if max(asked, default=everything) <= everything:
            return True
    if not requests:
        return any((mail.email, topic) in ended for topic in topics_of(mail, requests) if topic != EVERYTHING)
    return all(_is_ended(mail.email, one, ended) for one in requests)


def words_of(topic: str) -> str:
    """Return a topic in words, as what stands behind "mails about"."""
    if topic.startswith(TRIGGER):
        project, _, name = topic.removeprefix(TRIGGER).partition("/")
        return f"what {project} builds by itself ({name})"
    if topic.startswith(WATCH):
        return f"the branch that you watch (watch {topic.removeprefix(WATCH)})"
    if topic.startswith(REQUESTS):
        return f"the builds of {topic.removeprefix(REQUESTS)} that were asked for so far"
    if topic.startswith(MACHINE):
        return f"the build server {topic.removeprefix(MACHINE)}"
    return "codes to sign in or to confirm this address" if topic == CODES else "everything so far"


def _topic(request: Request) -> str:
    return request.share if _of_trigger(request) else f"{REQUESTS}{request.demand.spec.project}"


def _of_trigger(request: Request) -> bool:
    return request.share.startswith(TRIGGER)


def _is_ended(email: str, request: Request, ended: Ended) -> bool:
    since = ended.get((email, _topic(request)))
    return since is not None and (_of_trigger(request) or request.admitted_at <= since)


def _payload(email: str, topics: Iterable[str]) -> bytes:
    return json.dumps([email, *topics], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _mac(payload: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, b"unsubscribe\0" + payload, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
