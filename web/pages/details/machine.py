"""The page of one build server: what it can and does, how what it had a hand in ended, and why it is given nothing.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from buildtool.model.policy import Policy
from buildtool.model.records import BuildState
from buildtool.model.servers import Server
from buildtool.model.text import moment_words
from buildtool.ports.pages import BuildsFound, ServerLine, StateCount

from ...urls import Urls
from .. import badges, words
from ..builds import COUNTED, Viewer, build_row, count_words
from ..common import sentence
from ..machines import ServerCard, server_card
from ..views import Badge, BuildRow
from .work import WorkCard

USUAL = Policy(1, "")
"""The rules where a project says nothing else."""


@frozen
class OutcomeCount:
    """The number of builds that ended so, of those that a build server had a hand in, and where they are listed."""

    badge: Badge
    count: str
    url: str


@frozen
class MachinePage:
    """All about one build server.

    ``yours`` says that the visitor is its owner or an operator, so that its buttons are shown; ``why`` is why it is
    given nothing, or soon may be, and ``rules`` how that comes and ends. ``gone`` says that it is not connected, so
    that it can be forgotten.
    """

    card: ServerCard
    yours: bool
    gone: bool
    success: str
    outcomes: tuple[OutcomeCount, ...]
    why: tuple[str, ...]
    rules: str
    rows: tuple[BuildRow, ...]
    more: str
    work: WorkCard | None = None


def machine_page(
    line: ServerLine,
    found: BuildsFound,
    urls: Urls,
    now: float,
    viewer: Viewer,
    *,
    everything: bool = False,
    work: WorkCard | None = None,
) -> MachinePage:
    """Return all about one build server; ``found`` are the newest builds that it had a hand in, and their counts.

    ``work`` is what it did. ``everything`` says that the visitor may act on all build servers.
    """
    server, search = line.server, f"server:{line.server.name}"
    counts = {state: count for state, count in found.counts.items() if count.number}
    return MachinePage(
        server_card(line, urls, now),
        everything or (bool(server.owner) and server.owner.lower() in viewer.mine),
        not server.connected,
        _success(counts),
        tuple(
            OutcomeCount(badges.BUILD[state], count_words(count), urls.builds(search, state=state.value))
            for state, count in counts.items()
        ),
        tuple(_why(server, now)),
        _RULES,
        tuple(build_row(one, urls, now, viewer) for one in found.lines),
        urls.builds(search) if found.more or found.stopped is not None else "",
        work,
    )


def _success(counts: Mapping[BuildState, StateCount]) -> str:
    """Return how much of what was decided succeeded."""
    good, bad = (
        [counts[one] for one in states if one in counts]
        for states in ((BuildState.SUCCEEDED,), (BuildState.FAILED, BuildState.UNBUILDABLE))
    )
    decided = sum(one.number for one in (*good, *bad))
    if not decided:
        return "Nothing that it had a hand in was decided yet."
    if not all(one.exact and one.number <= COUNTED for one in (*good, *bad)):
        return "Of the builds that it had a hand in, more were decided than are counted."
    share = 100 * sum(one.number for one in good) // decided
    return f"Of {words.count(decided, 'decided build')} that it had a hand in, {share} % succeeded."


def _why(server: Server, now: float) -> Iterator[str]:
    if server.paused:
        why = words.without_addresses(server.paused)
        yield sentence(f"It was paused {why}" if why.startswith("by ") else f"It was paused: {why}")
    if server.draining or server.finishing:
        yield "It finishes what it has and takes nothing more."
    if server.connected and server.closed:
        yield sentence(f"It takes nothing now: {words.without_addresses(server.closed)}")
    away = server.away_until(now)
    if away:
        yield f"Its owner said that it is away, until {moment_words(away)}."
    if server.quarantined_until > now:
        reason = words.without_addresses(server.quarantine_reason) or "it broke repeatedly"
        left = words.duration(server.quarantined_until - now)
        yield sentence(
            f"It is in quarantine, the {_ordinal(server.quarantines)} in a row, for another {left}: {reason}"
        )
    elif server.strikes:
        yield f"It has {words.count(server.strikes, 'strike')}: so many builds broke here, one after the other."
    if not server.connected:
        yield "It is not connected."


def _ordinal(number: int) -> str:
    shown = max(number, 1)
    end = "th" if shown % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(shown % 10, "th")
    return f"{shown:,}{end}"


_RULES = (
    "A build that breaks on a machine, by no fault of its project, is a strike. After "
    f"{USUAL.strikes} strikes in a row a machine is given nothing for {words.duration(USUAL.quarantine_first)}, each "
    f"time twice as long, up to {words.duration(USUAL.quarantine_most)}, unless a project says otherwise. A build that "
    "it finishes takes all of that away."
)
