"""What a try to tell something came to, and when it is tried again.

The test is tests/model/notices/test_outcome.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from attrs import frozen

from buildtool.model.text import one_line

WAIT_MOST = 2 * 3_600.0
"""The longest that a target may ask to be left alone, in seconds."""

SAID_LIMIT = 200
"""Most characters of what a target says that are repeated."""

_OK = range(200, 300)
_ELSEWHERE = range(300, 400)
_SERVER_ERROR = range(500, 600)
_BAD, _NO_TOKEN, _FORBIDDEN, _NOT_FOUND, _TIMEOUT, _CONFLICT, _TOO_MANY = 400, 401, 403, 404, 408, 409, 429
_DIGITS = 11
"""Most digits of a number of seconds, or of a time in seconds."""
_DATE = "%a, %d %b %Y %H:%M:%S GMT"
_MADE_ALREADY = "Cannot transition status via :"
"""How GitLab refuses to begin what is begun: whoever is told twice is told so."""


@frozen
class TellOutcome:
    """The outcome of one try: ``told``, or why not.

    ``final`` is what no other try would change. With ``whole`` nothing else goes to that target now either. ``wait`` is
    for how many seconds, where the target says so.
    """

    told: bool
    reason: str = ""
    final: bool = False
    whole: bool = False
    wait: float | None = None


@frozen
class HttpReply:
    """An answer by HTTP: its code, its headers by names in lower case, and the beginning of its body."""

    code: int
    headers: Mapping[str, str]
    text: str = ""


def outcome_of(reply: HttpReply, now: float) -> TellOutcome:
    """Return what an answer at ``now`` (wall time in seconds) comes to.

    A target that says how long it wants to be left alone is. Whatever may be mended without us is tried again: a token
    that was refused, a repository that is not there, a commit that the forge does not have yet.
    """
    wait = wait_of(reply.headers, now)
    if reply.code in _OK:
        return TellOutcome(told=True, wait=wait)
    said = one_line(f"it answers {reply.code}: {reply.text.strip() or 'without a reason'}", SAID_LIMIT)
    if reply.code in (_BAD, _CONFLICT) and _MADE_ALREADY in reply.text:
        return TellOutcome(told=True, wait=wait)
    limited = reply.code == _FORBIDDEN and (wait is not None or "rate limit" in reply.text.lower())
    if limited or reply.code == _TOO_MANY:
        return TellOutcome(told=False, reason=said, whole=True, wait=wait)
    if reply.code in _ELSEWHERE:
        where = one_line(reply.headers.get("location", "elsewhere"), SAID_LIMIT)
        said = f"it answers {reply.code}, which is not followed with a secret: {where}"
    later = reply.code in (_NOT_FOUND, _TIMEOUT, _CONFLICT) or "No commit found" in reply.text
    whole = reply.code in (_NO_TOKEN, _FORBIDDEN, *_SERVER_ERROR, *_ELSEWHERE)
    if whole and not later:
        return TellOutcome(told=False, reason=said, whole=True, wait=wait)
    return TellOutcome(told=False, reason=said, final=not later, wait=None)


def wait_of(headers: Mapping[str, str], now: float) -> float | None:
    """Return for how many seconds a target wants to be left alone, from ``now`` (wall time in seconds), if it does."""
    found: float | None = _seconds(headers.get("retry-after", ""), now)
    if found is None and headers.get("x-ratelimit-remaining", headers.get("ratelimit-remaining")) == "0":
        reset = headers.get("x-ratelimit-reset", headers.get("ratelimit-reset", ""))
        found = float(reset) - now if reset.isdecimal() and len(reset) <= _DIGITS else None
    return None if found is None else min(max(found, 1.0), WAIT_MOST)


def _seconds(said: str, now: float) -> float | None:
    """Return the seconds of a Retry-After, which is a number of them or a time."""
    if said.isdecimal() and len(said) <= _DIGITS:
        return float(said)
    try:
        return dt.datetime.strptime(said, _DATE).replace(tzinfo=dt.UTC).timestamp() - now
    except ValueError:
        return None
