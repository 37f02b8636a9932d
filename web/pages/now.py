"""The front page: what runs, against what is usual, why what waits does, and how the day went.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from buildtool.model.records import BuildState
from buildtool.model.text import about, size_words
from buildtool.ports.pages import BuildLine, Overview, ServerLine
from buildtool.protocol.pages.farm_view import FarmView, RunningView, WaitView

from ..urls import Urls
from . import badges, words
from .charts import SPANS, Chart, ChartSpan
from .machines import MachineLine, machine_line
from .views import Badge, BuildRow, Note, PageLink

OUTCOMES = 30
"""How many builds that ended last are shown as icons."""

SERVERS_NAMED = 3
"""So many build servers are named in a reason for waiting."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_LONGER = 1.25
"""From so many times the usual duration on a build takes longer than usual."""


@frozen
class Tile:
    """One figure of the front page."""

    name: str
    figure: str
    under: str
    url: str = ""


@frozen
class RunningRow:
    """A build that runs: ``percent`` of its usual duration is over; ``longer`` says that it takes longer than usual."""

    row: BuildRow
    usual: str
    percent: int | None
    longer: bool


@frozen
class WaitGroupRow:
    """A number of builds that wait for the same, and what happens next; ``title`` says it without the number beside."""

    count: str
    words: str
    title: str
    servers: tuple[PageLink, ...]
    more: str
    next: str
    builds: PageLink


@frozen
class Outcome:
    """A build that ended, as an icon."""

    url: str
    badge: Badge
    text: str


@frozen
class StatusPage:
    """The front page. ``empty`` says that there is nothing to show, ``unseen`` that there may be more than is shown."""

    title: str
    lead: str
    notes: tuple[Note, ...]
    running: tuple[RunningRow, ...]
    slots: str
    waiting: tuple[WaitGroupRow, ...]
    waiting_title: str
    unseen_waiting: str
    outcomes: tuple[Outcome, ...]
    machines: tuple[MachineLine, ...]
    more_machines: str
    tiles: tuple[Tile, ...]
    chart: Chart
    spans: tuple[ChartSpan, ...]
    empty: bool
    unseen: bool


@frozen
class NowParts:
    """The parts of the front page. ``view`` is None where the metaserver did not say how it stands.

    ``running`` and ``ended`` are builds that run and that ended last, of those that a visitor sees; ``partly`` says
    that there may be others.
    """

    overview: Overview
    view: FarmView | None
    running: Sequence[BuildRow]
    ended: Sequence[BuildLine]
    machines: Sequence[ServerLine]
    chart: Chart
    partly: bool = False


def status_page(parts: NowParts, urls: Urls, now: float) -> StatusPage:
    """Return the front page; ``now`` is wall time in seconds."""
    overview, view = parts.overview, parts.view
    running, queued = (overview.builds.get(state, 0) for state in (BuildState.RUNNING, BuildState.QUEUED))
    unseen = parts.partly and any(overview.builds.values())
    usual = {one.build_id: one for one in view.running} if view is not None else {}
    groups = view.waiting if view is not None else ()
    return StatusPage(
        title=_title(running, queued),
        lead=_lead(overview),
        notes=tuple(_notes(overview, view, urls, now, unseen=unseen)),
        running=tuple(_running(row, usual) for row in parts.running),
        slots=f"{overview.running:,} of {words.count(overview.slots, 'slot')} in use",
        waiting=tuple(wait_group(one, urls) for one in groups),
        waiting_title=f"Why {_number(queued)} {'waits' if queued == 1 else 'wait'}",
        unseen_waiting=_unseen(view.unseen) if view is not None else "",
        outcomes=tuple(_outcome(one, urls) for one in parts.ended[:OUTCOMES]),
        machines=tuple(machine_line(one, urls, now) for one in parts.machines),
        more_machines=f"All {overview.servers_known:,}" if overview.servers_known else "",
        tiles=_tiles(overview, parts.chart, urls),
        chart=parts.chart,
        spans=tuple(SPANS.values()),
        empty=not (parts.running or parts.ended or groups),
        unseen=unseen,
    )


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"


def _title(running: int, queued: int) -> str:
    """Return what goes on, in one sentence: ``Three builds run, nine wait``."""
    if not running and not queued:
        return "Nothing runs and nothing waits"
    runs = f"{_number(running)} {'build runs' if running == 1 else 'builds run'}"
    waits = f"{_number(queued) if queued else 'none'} {'waits' if queued <= 1 else 'wait'}"
    said = f"{runs}, {waits}"
    return said[:1].upper() + said[1:]


def _lead(overview: Overview) -> str:
    if not overview.servers_known:
        return "No build server has ever connected."
    known = words.count(overview.servers_known, "build server")
    free = max(0, overview.slots - overview.running)
    slots = words.count(free, "slot is", "slots are") if free else "no slot is"
    return f"{overview.servers_connected:,} of {known} connected; {slots} free."


def _notes(overview: Overview, view: FarmView | None, urls: Urls, now: float, *, unseen: bool) -> list[Note]:
    notes = []
    queued = overview.builds.get(BuildState.QUEUED, 0)
    oldest = overview.oldest_queued
    if view is not None and view.draining:
        notes.append(Note("wait", "The farm is being drained: what waits is given to no machine until it is resumed."))
    if overview.servers_connected == 0:
        waiting = "What is queued waits until one connects." if queued else "A request would wait until one connects."
        notes.append(Note("bad", f"No build server is connected. {waiting}", PageLink(urls.servers(), "Machines")))
    elif view is None and oldest is not None and overview.running < overview.slots:
        text = f"Slots are free, but a build has waited for {words.duration(now - oldest.created_at)}."
        notes.append(Note("wait", text, PageLink(urls.build(oldest.id), f"Build {oldest.id}")))
    if overview.mails_refused:
        refused = words.count(overview.mails_refused, "mail was", "mails were")
        notes.append(Note("wait", f"{refused} refused by the mail server for good; the pages of their builds say why."))
    if unseen:
        notes.append(Note("", "The figures count all builds of the farm, also those that are not shown to you."))
    return notes


def _running(row: BuildRow, views: Mapping[int, RunningView]) -> RunningRow:
    view = views.get(row.id)
    if view is None or view.usual is None or view.usual <= 0:
        return RunningRow(row, "", None, longer=False)
    part = view.seconds / view.usual
    longer = part >= _LONGER
    usual = f"{'usually' if longer else 'of about'} {words.duration(view.usual)}"
    return RunningRow(row, usual, min(100, round(100 * part)), longer)


def wait_group(one: WaitView, urls: Urls) -> WaitGroupRow:
    """Return what so many builds wait for, and what happens next."""
    named = one.servers[:SERVERS_NAMED]
    left = one.server_count - len(named)
    then = one.then
    if one.seconds is not None:
        then = f"the first of them may start in {about(one.seconds)} ({one.basis})"
    link = PageLink(urls.queue(), words.count(one.count, "build"))
    if one.count == 1 and one.builds:
        link = PageLink(urls.build(one.builds[0]), f"#{one.builds[0]}")
    builds = words.count(one.count, "build")
    waits = f"{'waits' if one.count == 1 else 'wait'} for {one.words}"
    return WaitGroupRow(
        f"{one.count:,}",
        waits if one.cause in _FOR else one.words,
        f"{builds} {waits}" if one.cause in _FOR else f"{builds}: {one.words}",
        tuple(PageLink(urls.server(name), name) for name in named),
        f"and {left:,} more" if left > 0 and named else "",
        then,
        link,
    )


_FOR = frozenset(("busy", "offline", "delayed"))
"""The causes whose words say what is waited for; those of the others are sentences of their own."""


def _unseen(count: int) -> str:
    return f"Why {words.count(count, 'further build waits', 'further builds wait')} is not told here." if count else ""


def _outcome(line: BuildLine, urls: Urls) -> Outcome:
    badge = badges.BUILD[line.state]
    return Outcome(urls.build(line.id), badge, f"#{line.id} {line.project}: {badge.text}")


def _tiles(overview: Overview, chart: Chart, urls: Urls) -> tuple[Tile, ...]:
    ended = {state.value: overview.builds.get(state, 0) for state in BuildState}
    unsuccessful = ended["failed"] + ended["unbuildable"]
    last = f"in the last {chart.span.text}"
    return (
        Tile("Answered at once", chart.hits or "none", last if chart.hits else f"nothing was asked for {last}"),
        Tile("Time saved", chart.saved or "none", f"{last}, by what was built before"),
        Tile("Requests waiting", f"{overview.requests_waiting:,}", _mails(overview.mails_unsent)),
        Tile("Succeeded", f"{ended['succeeded']:,}", f"{unsuccessful:,} did not", urls.builds()),
        Tile("Artifacts", f"{overview.artifacts:,}", size_words(overview.artifact_bytes)),
    )


def _mails(unsent: int) -> str:
    return f"{words.count(unsent, 'mail')} to be sent" if unsent else "all mail is sent"
