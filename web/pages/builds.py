"""The list of builds, from domain values to what its template shows.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from attrs import evolve, field, frozen

from buildtool.concurrency.bounded_cache import remembering, weight
from buildtool.model.addresses import masked
from buildtool.model.options import Canonical, shown
from buildtool.model.records import BuildState
from buildtool.model.search.build_query import BuildQuery
from buildtool.model.servers import OfferKind
from buildtool.model.text import size_words
from buildtool.ports.pages import BuildLine, BuildsAsked, BuildsFound, StateCount

from ..urls import Urls
from . import badges, words
from .common import dated
from .views import Badge, BuildRow, Moment, Zip

PER_PAGE = 50
"""Builds on one page of their list."""

COUNTED = 1_000
"""How far builds of one state are counted."""

TEXT_SHOWN = 120
"""Most characters of a text of somebody else's in a row."""

DEFAULTS = "default options"

NO_DEFAULTS: Mapping[str, Canonical] = {}


@frozen
class Viewer:
    """A person who looks at lists: their own addresses; and each project's default options."""

    mine: Collection[str] = ()
    defaults: Mapping[str, Canonical] = field(default=NO_DEFAULTS)


NOBODY = Viewer()


@frozen
class Chip:
    """One state with its count, and what is searched for with it."""

    url: str
    text: str
    current: bool
    badge: Badge | None = None


@frozen
class BuildsPage:
    """One page of the list of builds; ``newer``, ``older`` and ``newest`` are empty where there is nowhere to go.

    ``wrong`` says what of the search was not understood, ``stopped`` how far was searched. ``formats`` are links to the
    same list for programs. ``unseen`` says that there may be builds which are not shown.
    """

    query: str
    rows: tuple[BuildRow, ...]
    chips: tuple[Chip, ...]
    projects: tuple[str, ...]
    platforms: tuple[str, ...]
    formats: tuple[tuple[str, str], ...]
    newest: str = ""
    newer: str = ""
    older: str = ""
    stopped: str = ""
    wrong: str = ""
    nothing: str = ""
    unseen: bool = False


def builds_page(
    found: BuildsFound,
    asked: BuildsAsked,
    urls: Urls,
    now: float,
    projects: Sequence[str] = (),
    viewer: Viewer = NOBODY,
) -> BuildsPage:
    """Return one page of the list of builds, of those that a search has found."""
    query, before, after = asked.query, asked.before, asked.after
    line = str(query)
    rows = tuple(build_row(it, urls, now, viewer) for it in found.lines)
    backwards = after is not None and before is None
    more, back = found.more, before is not None or after is not None
    first, last = (found.lines[0].id, found.lines[-1].id) if rows else (0, 0)
    older = urls.builds(line, before=last) if rows and (backwards or more) else ""
    newer = urls.builds(line, after=first) if rows and (more if backwards else before is not None) else ""
    stopped = ""
    if found.stopped is not None:
        stopped = f"Only builds {'up to' if backwards else 'from'} #{found.stopped} on were searched."
        if backwards:
            newer = urls.builds(line, after=found.stopped)
        else:
            older = urls.builds(line, before=found.stopped)
    return BuildsPage(
        line, rows, tuple(_chips(found.counts, query, urls, mine=bool(viewer.mine))), tuple(projects), found.platforms,
        formats_of(line, urls), urls.builds(line) if back else "", newer, older, stopped,
        nothing=_nothing(line, before, after, stopped=bool(stopped)),
    )  # fmt: skip


def not_understood(line: str, wrong: str, urls: Urls, projects: Sequence[str]) -> BuildsPage:
    """Return the page for a search that is none."""
    return BuildsPage(line, (), (), tuple(projects), (), (), newest=urls.builds(), wrong=wrong)


def formats_of(line: str, urls: Urls) -> tuple[tuple[str, str], ...]:
    """Return the same list in the forms for programs, each with its name."""
    return tuple(
        (name, urls.builds(line, form=form)) for name, form in (("CSV", "csv"), ("JSON", "json"), ("Feed", "atom"))
    )


def _nothing(line: str, before: int | None, after: int | None, *, stopped: bool) -> str:
    wanted = [f"with {line}"] if line else []
    wanted += [f"older than build {before}"] if before is not None else []
    wanted += [f"newer than build {after}"] if after is not None else []
    if not wanted:
        return ""
    return f"No build {' and '.join(wanted)} was found {'so far' if stopped else ''}".strip() + "."


def _chips(counts: Mapping[BuildState, StateCount], query: BuildQuery, urls: Urls, *, mine: bool) -> list[Chip]:
    if not counts:
        return []
    whole = StateCount(sum(it.number for it in counts.values()), all(it.exact for it in counts.values()))
    every = query.having("state")
    chips = [Chip(urls.builds(str(every)), f"all {count_words(whole)}", not query.state)]
    for state, count in counts.items():
        chosen = query.state == (state,)
        if count.number or chosen:
            url = urls.builds(str(every if chosen else query.having("state", state)))
            badge = badges.BUILD[state]
            chips.append(Chip(url, f"{badge.text} {count_words(count)}", chosen, badge))
    if mine:
        url = urls.builds(str(evolve(query, by=() if query.by else ("me",))))
        chips.append(Chip(url, "mine", bool(query.by)))
    return chips


def count_words(count: StateCount) -> str:
    """Return how many builds there are: ``12``, or ``1,000+`` where they were not counted further."""
    if count.exact and count.number <= COUNTED:
        return f"{count.number:,}"
    return f"{min(count.number, COUNTED):,}+"


def build_row(line: BuildLine, urls: Urls, now: float, viewer: Viewer = NOBODY) -> BuildRow:
    """Return one Build for a list."""
    iso, full = dated(line.created_at)
    short = words.revision(line.revision)
    return BuildRow(
        line.id,
        urls.build(line.id),
        badges.BUILD[line.state],
        line.project,
        options_words(line.options, viewer.defaults.get(line.project)),
        _short(words.without_addresses(line.subject)) or short,
        line.revision,
        short,
        _asked_by(line),
        words.platform(line.platform),
        under(line, now),
        words.duration(seconds) if (seconds := took_seconds(line, now)) is not None else "",
        Moment(iso, full, words.age(line.created_at, now)),
        who(line, viewer.mine),
        _zip(line, urls) if line.digest else None,
        _since(line),
    )


def _asked_by(line: BuildLine) -> str:
    """Return by what a build was asked for where that is not its revision, and that it is of an untrusted ref."""
    typed = _short(line.revrange if ".." in line.revrange else line.ref if line.ref != line.revision else "")
    return ", ".join(filter(None, (typed, line.trust.words)))


def options_words(options: Canonical, defaults: Canonical | None) -> str:
    """Return the options that differ from the defaults, all where these are not known."""
    if options == defaults or not options:
        return DEFAULTS
    # Equal is not the same here: True is 1, but not in words.
    return _options_words(options, tuple([type(value) for _, value in options]), defaults)


@remembering(512 * 1024, lambda text, *asked: weight(text) + weight(asked[0]))
def _options_words(options: Canonical, _types: tuple[type, ...], defaults: Canonical | None) -> str:
    usual = dict(defaults or ())
    differing = tuple((name, value) for name, value in options if name not in usual or usual[name] != value)
    return _short(shown(differing)) or DEFAULTS


def under(line: BuildLine, now: float) -> str:
    """Return on which machine a build is or was, or else why it waits or ended."""
    tries = f", attempt {line.epoch}" if line.epoch > 1 else ""
    runs = line.state is BuildState.RUNNING
    kind = f" ({line.kind.words})" if line.kind and (runs or line.kind is not OfferKind.NATIVE) else ""
    match line.state:
        case BuildState.QUEUED:
            again = f"waits again after {line.server}" if line.server else "waits for a machine"
            return f"{again}, next try {words.age(line.not_before, now)}" if line.not_before > now else again
        case BuildState.RUNNING | BuildState.SUCCEEDED:
            return f"{line.server}{kind}{tries}"
        case BuildState.FAILED | BuildState.UNBUILDABLE:
            why = line.reason or line.attempt_reason
            return ": ".join(filter(None, (line.server, _short(words.without_addresses(why)))))
        case _:
            return _short(words.without_addresses(line.reason))


def took_seconds(line: BuildLine, now: float) -> float | None:
    """Return how long the attempt took that decided, or takes that is there now; None where none is or was."""
    begun = _begun(line)
    if begun is None or line.state is BuildState.QUEUED:
        return None
    over = line.attempt_ended_at if line.attempt_ended_at is not None else line.ended_at
    return max(0.0, (now if over is None else over) - begun)


def _since(line: BuildLine) -> str:
    begun = _begun(line)
    goes_on = line.state is BuildState.RUNNING and line.attempt_ended_at is None
    return f"{begun:.3f}" if goes_on and begun is not None else ""


def _begun(line: BuildLine) -> float | None:
    return line.offered_at if line.accepted_at is None else line.accepted_at


def who(line: BuildLine, mine: Collection[str] = ()) -> str:
    """Return who asked first, masked, and how many others; two people never look the same."""
    if not line.requests:
        return ""
    if line.email.lower() in mine and line.email:
        first = "you"
    else:
        first = f"{masked(line.email)} ·{line.person}" if line.email else "the farm itself"
    return f"{first} and {line.requests - 1:,} more" if line.requests > 1 else first


def _zip(line: BuildLine, urls: Urls) -> Zip:
    return Zip(urls.artifact(line.digest, line.name), line.name, size_words(line.size))


def _short(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"
