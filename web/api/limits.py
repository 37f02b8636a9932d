"""How much who asks has left of what is limited, and the headers that say so.

They are those of the IETF's draft-ietf-httpapi-ratelimit-headers, structured fields as of RFC 9651: RateLimit-Policy
has what may be had (``q``) in how many seconds (``w``), RateLimit what is left (``r``), and in how many seconds all of
it is there again (``t``). Tested by tests/web/api/test_limits.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from twisted.web.server import Request

from buildtool.errors import BuildToolError
from buildtool.ports.pages import Questions
from buildtool.protocol.pages.visiting import AskVisitor, LimitLeft, VisitorStatus

from ..access import shown_by

LEFT_HEADER, POLICY_HEADER = "RateLimit", "RateLimit-Policy"


async def left_for(request: Request, questions: Questions | None) -> tuple[LimitLeft, ...]:
    """Return what who sends a request has left; nothing where that is not known.

    The metaserver is asked by the secret that was shown. So it is not known of who shows a key or is named by a proxy.
    """
    shown = shown_by(request)
    if questions is None or (not shown.secret and (shown.by.name or shown.by.owner)):
        return ()
    question = AskVisitor(shown.secret, shown.by.address, shown.by.trusted)
    try:
        return (await questions.tell(question, VisitorStatus)).left
    except BuildToolError:
        return ()  # the answer to what was asked for stands without it


def left_header(left: Iterable[LimitLeft]) -> str:
    """Return the value of RateLimit: what is left of each limit."""
    return ", ".join(f'"{one.name}";r={max(0, one.left)};t={_seconds(one.full)}' for one in left)


def policy_header(left: Iterable[LimitLeft], others: Sequence[str]) -> str:
    """Return the value of RateLimit-Policy: the limits of who asks, and ``others``."""
    told = {f'"{one.name}"': f'"{one.name}";q={one.most:.0f};w={one.seconds:.0f}' for one in left}
    return ", ".join([*told.values(), *(one for one in others if one.partition(";")[0] not in told)])


def _seconds(full: float) -> int:
    return math.ceil(full) if math.isfinite(full) else 10**9
