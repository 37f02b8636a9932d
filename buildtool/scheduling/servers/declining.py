"""What follows from each way in which a machine gives up a Build, and for how long it is not given that Build again.

The tests are tests/scheduling/test_order.py and test_failures.py.
"""

from __future__ import annotations

from attrs import frozen

from buildtool.model.policy import Policy
from buildtool.model.records import AttemptEnd


@frozen
class EndRule:
    """The consequences when an Attempt ends in one way before an artifact is there.

    ``said`` is what the server did, for those who ask why the Build is not there again: the reason follows it.
    ``suspect``: it counts against the Build, if it was building. ``strike``: and against the server. ``remember``: how
    long the Build is not offered to this server again (the name of a Policy field, "" for not at all); that doubles
    each time, up to the Policy field that ``grows`` names. ``delay``: the Build waits a growing time before it is tried
    anywhere, if it had not started.
    """

    said: str
    suspect: bool = False
    strike: bool = False
    remember: str = ""
    grows: str = ""
    delay: bool = False


RULES: dict[AttemptEnd, EndRule] = {
    AttemptEnd.LOST: EndRule("lost it", suspect=True, strike=True, remember="lost_ttl", delay=True),
    AttemptEnd.REFUSED: EndRule("declined", remember="refusal_first", grows="refusal_ttl"),
    AttemptEnd.RETURNED: EndRule("handed it back", remember="lost_ttl", grows="quarantine_most"),
    AttemptEnd.BROKEN: EndRule("broke", suspect=True, strike=True, remember="refusal_ttl"),
    AttemptEnd.LIMITED: EndRule("reached its limit", suspect=True, remember="refusal_ttl", grows="limited_most"),
    AttemptEnd.ABORTED: EndRule("stopped it", remember="lost_ttl"),
}
"""The machine's ends; the project's own two are not in this table.

Who declines is asked less and less often, in whichever of the ways it does: so a machine that takes a Build and gives
it up again and again holds it for a part of the time that shrinks, and one that is free in between has it.
"""


def remembered_for(rule: EndRule, policy: Policy, count: int) -> float:
    """Return for how many seconds a Build is not offered again to a server that ended it so the ``count``-th time."""
    first: float = getattr(policy, rule.remember)
    if not rule.grows:
        return first
    most: float = getattr(policy, rule.grows)
    return min(max(first, most), first * 2.0 ** min(count - 1, 30))


def remembered_at_most(policy: Policy, count: int) -> float:
    """Return for how many seconds the ``count``-th end of a Build on one server is remembered, however it ended."""
    return max(remembered_for(rule, policy, count) for rule in RULES.values() if rule.remember)
