"""What the link in a mail does, by which whoever got it ends mails like it, or has them again.

Tested by tests/metaserver/telling/test_subscriptions.py.
"""

from __future__ import annotations

from attrs import field, frozen

TOKEN = 700
"""Most bytes of the token of a link."""

TOPICS = 20
"""Most things that an answer lists of what one mail is about: where there are more, the last says how many."""


@frozen
class AskSubscription:
    """A question what the link of a mail is about, and whether mails about it have been ended."""

    token: str = field(metadata={"most": TOKEN}, repr=False)


@frozen
class EndSubscription:
    """An act: end mails like the one with this link, or, with ``again``, have them again."""

    token: str = field(metadata={"most": TOKEN}, repr=False)
    again: bool = False


@frozen
class SubscriptionStatus:
    """An answer: the address that a mail went to, what it was about, in words, and whether that is ``ended``."""

    email: str = field(metadata={"most": 400, "sent": 400})
    about: tuple[str, ...] = field(metadata={"sent": 400, "members": TOPICS})
    ended: bool
