"""Which mails people have ended by the links in them: told, changed, and kept from being sent.

The test is tests/metaserver/telling/test_subscriptions.py.
"""

from __future__ import annotations

from attrs import define, field
from twisted.logger import Logger

from buildtool.model.principal import Principal
from buildtool.model.telling.topics import CODES, Unsubscription, topics_of, withheld, words_of
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import Handlers, OutgoingMail
from buildtool.ports.telling import SubscriptionStore
from buildtool.protocol.pages.subscriptions import TOPICS, AskSubscription, EndSubscription, SubscriptionStatus

__all__ = ["Subscriptions"]

log = Logger()


@define(eq=False)
class Subscriptions:
    """The links in mails, made with the metaserver's ``secret``, and what was ended by them."""

    store: SubscriptionStore
    clock: Clock
    secret: bytes = field(repr=False)
    _ended: dict[tuple[str, str], float] = field(factory=dict, init=False)

    async def start(self) -> None:
        """Take up what people have ended. Raises StorageUnavailable."""
        self._ended = dict(await self.store.ended())

    @property
    def handlers(self) -> Handlers:
        """What may be asked by who has a link."""
        return {AskSubscription: self.told, EndSubscription: self.change}

    async def told(self, _by: Principal, message: AskSubscription) -> SubscriptionStatus:
        """Return what a link is about. Raises Unauthorised for one that is not of this metaserver."""
        return self._status(Unsubscription.read(message.token, self.secret))

    async def change(self, _by: Principal, message: EndSubscription) -> SubscriptionStatus:
        """End mails by their link, or have them again. Raises Unauthorised, StorageUnavailable.

        What is ended already stays so, and what begins again begins once.
        """
        link = Unsubscription.read(message.token, self.secret)
        now = self.clock.wall()
        if message.again:
            topics = [one for one in link.topics if (link.email, one) in self._ended]
            await self.store.resume(link.email, topics)
            for topic in topics:
                self._ended.pop((link.email, topic), None)
        else:
            await self.store.end(link.email, link.topics, now)
            self._ended.update({(link.email, topic): now for topic in link.topics})
        what = "has mails again" if message.again else "has ended mails"
        log.info("{email} {what} about {about}", email=link.email, what=what, about=", ".join(link.topics))
        return self._status(link)

    def _status(self, link: Unsubscription) -> SubscriptionStatus:
        ended = all((link.email, one) in self._ended for one in link.topics)
        about = tuple(map(words_of, link.topics))
        if len(about) > TOPICS:
            about = (*about[: TOPICS - 1], f"{len(about) - TOPICS + 1} others")
        return SubscriptionStatus(link.email, about, ended)

    def wants_codes(self, email: str) -> bool:
        """Return whether an address takes codes."""
        return (email, CODES) not in self._ended

    def has_ended(self, email: str, topic: str) -> bool:
        """Return whether an address has ended mails about a topic."""
        return (email, topic) in self._ended

    async def forget(self, email: str, topic: str) -> None:
        """Forget that mails were ended about what had the name of this topic before. Raises StorageUnavailable."""
        if self._ended.pop((email, topic), None) is not None:
            await self.store.resume(email, (topic,))

    def token(self, outgoing: OutgoingMail) -> str:
        """Return the token of the link in a mail."""
        topics = [topic for one in outgoing.members or (outgoing,) for topic in topics_of(one.mail, one.requests)]
        return Unsubscription(outgoing.mail.email, tuple(dict.fromkeys(topics))).token(self.secret)

    def withholds(self, outgoing: OutgoingMail) -> bool:
        """Return whether a mail is not to be sent, since it is about what its address has ended."""
        return withheld(outgoing.mail, outgoing.requests, self._ended)
