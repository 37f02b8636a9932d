"""The requests that somebody made, as a table for people: which, when, and how each stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from buildtool.model.text import duration_words
from buildtool.requester.text import clean, request_id_words, waits

if TYPE_CHECKING:
    from buildtool.protocol.messages import RequestStatus

NOTHING = "nothing was asked for by you that something was built for"
"""What is said where the table is empty."""

NONE_HERE = "and this account remembers none that was made from this machine"
"""What is said where neither a key nor what was asked from here says which requests are somebody's."""

_DAYS = 2 * 86_400.0
_YEAR_9999 = 253_402_300_799
_SHOWN = 12
_WHAT = 120


def only_from_here(found: int, asked: int) -> str:
    """Return what a table does not have where no key says who asks: ``found`` of ``asked`` that were remembered."""
    gone = f", and {asked - found} that the farm does not keep any more" if asked > found else ""
    return (
        f"no key says who you are, so the farm cannot list your requests: below is what this account asked for "
        f"from this machine ({found}{gone}); what you asked for elsewhere is not here"
    )


def listed(items: Sequence[RequestStatus], now: float) -> list[str]:
    """Return the lines of a table of Requests, as they stand ``now`` (wall time)."""
    if not items:
        return [NOTHING]
    rows = [("request", "asked", "for", "state", ""), *(_row(one, now) for one in items)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def _row(told: RequestStatus, now: float) -> tuple[str, str, str, str, str]:
    name = request_id_words(told) if told.token else str(told.request_id)
    what = f"{clean(told.project)} {clean(told.ref) or clean(told.revision)[:_SHOWN]}".rstrip()
    state = clean(told.build_state or told.state) if waits(told) else clean(told.state)
    return name, _when(told.asked_at, now), what, state, _what(told)[:_WHAT]


def _when(moment: float, now: float) -> str:
    """Return when something was, in words: how long ago, or the day."""
    if not 0 < moment <= _YEAR_9999:
        return "some time ago"
    passed = now - moment
    if passed < _DAYS:
        return f"{duration_words(max(passed, 0.0))} ago"
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"


def _what(told: RequestStatus) -> str:
    """Return what else is known of a Request: where it is built, why it waits or ended, or what came of it."""
    if told.artifact is not None:
        return clean(told.artifact.name)
    if waits(told) and told.server:
        return f"on {clean(told.server)}"
    return clean(told.reason or "; ".join(line.strip() for line in told.why[:1]))
