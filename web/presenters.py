"""The front page and the lists, from domain values to what their templates show; ``build_page`` is the page of a build.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from buildtool.concurrency.bounded_cache import remembering, weight
from buildtool.model.records import Build, BuildState
from buildtool.model.servers import Offer, Server
from buildtool.model.text import size_words
from buildtool.ports.pages import BuildLine, Overview, RunningBuild, ServerLine

from . import badges, words
from .urls import Urls, server_anchor
from .views import (
    BuildRow,
    BuildsPage,
    Moment,
    Note,
    OfferLine,
    PageLink,
    Presence,
    ServerCard,
    ServersPage,
    StatusPage,
    Tile,
    Zip,
)

PER_PAGE = 50
"""Builds on one page of their list."""

SERVERS_PER_PAGE = 40
"""Build servers on one page of their list."""

ITEMS_SHOWN = 20
"""Of what a build server announces, so many platforms, projects and properties are shown; the others are counted."""

TEXT_SHOWN = 500
"""Most characters of a text of somebody else's that is one of many on a page."""

ROWS_KEPT = 2 * 1024 * 1024
"""In how many bytes rows of lists of builds are remembered for the lines that they show; these are kept elsewhere."""

_LINE = 2_000
"""Bytes that a line takes besides its texts, about."""


def moment(when: float, now: float) -> Moment:
    """Return a point in time for people and machines."""
    return Moment(*_dated(when), words.age(when, now))


@lru_cache(8_000)
def _dated(when: float) -> tuple[str, str]:
    at = words.instant(when)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S UTC")


def status_page(
    overview: Overview, latest: Sequence[BuildLine], urls: Urls, now: float, *, partly: bool = False
) -> StatusPage:
    """Return the front page: figures, what needs attention, and the latest builds.

    ``partly`` says that there may be builds which are not shown, since the visitor has no right to see them.
    """
    running, queued = (overview.builds.get(state, 0) for state in (BuildState.RUNNING, BuildState.QUEUED))
    ended = {state.value: overview.builds.get(state, 0) for state in BuildState}
    unsuccessful = ended["failed"] + ended["unbuildable"]
    connected = f"{overview.servers_connected:,} of {words.count(overview.servers_known, 'build server')} connected"
    oldest = overview.oldest_queued
    waits = (
        f"oldest {words.duration(now - oldest.created_at)}"
        if oldest
        else "not shown to you"
        if queued
        else "nothing waits"
    )
    tiles = (
        Tile("Running", f"{running:,}", f"{overview.running:,} of {words.count(overview.slots, 'slot')} in use",
             urls.builds(state="running")),
        Tile("Queued", f"{queued:,}", waits, urls.builds(state="queued")),
        Tile("Build servers", f"{overview.servers_connected:,}", f"of {overview.servers_known:,} known",
             urls.servers()),
        Tile("Requests waiting", f"{overview.requests_waiting:,}", _mails(overview.mails_unsent)),
        Tile("Succeeded", f"{ended['succeeded']:,}", f"{unsuccessful:,} not", urls.builds(state="succeeded")),
        Tile("Artifacts", f"{overview.artifacts:,}", size_words(overview.artifact_bytes)),
    )  # fmt: skip
    headline = f"{words.count(running, 'build')} running, {queued:,} queued; {connected}."
    rows = tuple(build_row(line, urls, now) for line in latest)
    unseen = partly and any(overview.builds.values())
    return StatusPage(headline, tuple(_notes(overview, urls, now, unseen=unseen)), tiles, rows, unseen)


def builds_page(
    lines: Sequence[BuildLine], urls: Urls, now: float, *,
    projects: Sequence[str], project: str = "", state: str = "", before: int | None = None,
) -> BuildsPage:  # fmt: skip
    """Return one page of the list of builds; ``lines`` holds one more than a page when there are older ones."""
    rows = tuple(build_row(line, urls, now) for line in lines[:PER_PAGE])
    older = urls.builds(before=rows[-1].id, project=project, state=state) if len(lines) > PER_PAGE else ""
    newest = urls.builds(project=project, state=state) if before is not None else ""
    wanted = [f"in state {state}"] if state else []
    wanted = [f"of project {project}", *wanted] if project else wanted
    wanted = [*wanted, f"older than build {before}"] if before is not None else wanted
    nothing = f"There is no build {' and '.join(wanted)}."
    known = tuple(projects) if not project or project in projects else (*projects, project)
    states = tuple(it.value for it in BuildState)
    return BuildsPage(rows, known, states, project, state, bool(wanted), nothing, newest, older)


def build_row(line: BuildLine, urls: Urls, now: float) -> BuildRow:
    """Return one Build for a list."""
    build = line.build
    when = build.ended_at if build.ended_at is not None else build.started_at if _runs(build) else build.created_at
    when = build.created_at if when is None else when
    return _build_row(_Very(line), urls, when, words.age(when, now), took(build, now))


class _Very:
    """A value that is equal to nothing but itself: comparing a line with another would cost more than showing it.

    A page of builds takes 186 µs of the processor with remembered rows, and 482 µs without (``bench-results/``).
    """

    __slots__ = ("value",)

    def __init__(self, value: BuildLine) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Very) and self.value is other.value

    @property
    def weight(self) -> int:
        """About how many bytes the line takes, which nobody else may hold any more."""
        build, attempt, artifact = self.value.build, self.value.attempt, self.value.artifact
        texts: list[object] = [build.spec.options, build.spec.platform, build.spec.machine, build.reason]
        texts += [attempt.platform, attempt.reason] if attempt is not None else []
        texts += [artifact.platform, artifact.options] if artifact is not None else []
        return _LINE + weight(texts)


@remembering(ROWS_KEPT, lambda row, very, *_: row.weight + very.weight)
def _build_row(very: _Very, urls: Urls, when: float, age: str, took: str) -> BuildRow:
    """Return the row of a line. While nothing about a Build changes, its line remains the very same value."""
    build, attempt, artifact = very.value.build, very.value.attempt, very.value.artifact
    download = None
    if artifact is not None and not artifact.withdrawn:
        download = Zip(urls.artifact(artifact.digest, artifact.name), artifact.name, size_words(artifact.size))
    return BuildRow(
        id=build.id,
        url=urls.build(build.id),
        badge=badges.BUILD[build.state],
        project=build.spec.project,
        revision=build.spec.revision,
        short=words.revision(build.spec.revision),
        platform=words.platform(build.spec.platform),
        server=attempt.server if attempt is not None else "",
        requests=f"{very.value.requests:,}",
        when=Moment(*_dated(when), age),
        took=took,
        zip=download,
    )


def servers_page(
    lines: Sequence[ServerLine], overview: Overview, urls: Urls, now: float, *, at: int = 1, name: str = ""
) -> ServersPage:
    """Return a page of the build servers; ``lines`` holds one more than a page when there are further ones."""
    cards = tuple(server_card(line, urls, now) for line in lines[:SERVERS_PER_PAGE])
    headline = (
        f"{overview.servers_connected:,} of {words.count(overview.servers_known, 'build server')} connected; "
        f"{words.count(overview.running, 'build')} running, {words.count(overview.slots, 'slot')}."
    )
    return ServersPage(
        headline if overview.servers_known else "Machines that build, given by their owners.",
        cards,
        first=urls.servers() if at > 1 or name else "",
        further=urls.servers(at + 1) if len(lines) > SERVERS_PER_PAGE else "",
    )


def server_card(line: ServerLine, urls: Urls, now: float) -> ServerCard:
    """Return one build server. E-mail addresses are masked, except in what says whom to ask about it."""
    server, offered = line.server, line.server.capability
    return ServerCard(
        name=server.name,
        anchor=server_anchor(server.name),
        badge=badges.server(server, len(line.running) + line.hidden, now),
        presence=_presence(server, now),
        trouble=" ".join(_troubles(server, now)),
        tone="bad" if server.quarantined_until > now else "wait",
        load=f"{len(line.running) + line.hidden} of {offered.max_builds} at once",
        running=tuple(_running(it, urls, now) for it in line.running[:ITEMS_SHOWN]),
        offers=tuple(_offer(it) for it in offered.offers[:ITEMS_SHOWN]),
        more_offers=_more(len(offered.offers)),
        projects=_listed([f"{skill.project} (recipe {skill.recipe_version})" for skill in offered.skills]),
        machine=tuple((name, cut(text)) for name, text in words.machine(offered.machine[:ITEMS_SHOWN])),
        host_info=words.without_addresses(cut(offered.host_info)),
        admin=cut(offered.admin),
        software=cut(offered.software),
    )


def _mails(unsent: int) -> str:
    return f"{words.count(unsent, 'mail')} to be sent" if unsent else "all mail is sent"


def _notes(overview: Overview, urls: Urls, now: float, *, unseen: bool) -> list[Note]:
    notes = []
    oldest = overview.oldest_queued
    if overview.servers_connected == 0:
        waiting = (
            "What is queued waits until one connects."
            if overview.builds.get(BuildState.QUEUED)
            else "A request would wait until one connects."
        )
        notes.append(Note("bad", f"No build server is connected. {waiting}", PageLink(urls.servers(), "Build servers")))
    elif oldest is not None and overview.running < overview.slots:
        waited = words.duration(now - oldest.created_at)
        text = f"Slots are free, but a build has waited for {waited}: {_wants(oldest)}."
        notes.append(Note("wait", text, PageLink(urls.build(oldest.id), f"Build {oldest.id}")))
    if overview.mails_refused:
        refused = words.count(overview.mails_refused, "mail was", "mails were")
        notes.append(Note("wait", f"{refused} refused by the mail server for good; the pages of their builds say why."))
    if unseen:
        notes.append(Note("", "The figures count all builds of the farm, also those that are not shown to you."))
    return notes


def _wants(build: Build) -> str:
    needs = [f"{name} at least {text}" for name, text in words.machine(build.spec.machine)]
    return ", ".join([f"{build.spec.project} for {words.platform(build.spec.platform)}", *needs])


def _runs(build: Build) -> bool:
    return build.state is BuildState.RUNNING and build.started_at is not None


def took(build: Build, now: float) -> str:
    """Return how long it built, or builds already; nothing for what never began or waits again."""
    if build.started_at is None or build.state is BuildState.QUEUED:
        return ""
    return words.duration((now if build.ended_at is None else build.ended_at) - build.started_at)


def _presence(server: Server, now: float) -> Presence:
    if server.connected:
        return Presence("Connected", moment(server.since, now))
    if server.missing_since:
        return Presence("Missing since", moment(server.missing_since, now))
    return Presence("Last seen", moment(server.last_seen, now))


def _troubles(server: Server, now: float) -> Iterator[str]:
    """Return, each in a sentence, why a build server is given no builds, or may soon be given none."""
    if server.paused:
        yield _sentence(f"Paused by the operator: {server.paused}")
    if server.draining:
        yield "It finishes what it has and takes nothing more."
    if server.quarantined_until > now:
        why = server.quarantine_reason or "it broke repeatedly"
        yield _sentence(f"Given no builds for another {words.duration(server.quarantined_until - now)}: {why}")
    elif server.strikes:
        yield f"{words.count(server.strikes, 'build')} broke here since one last finished."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def cut(text: str) -> str:
    """Return a text from outside, cut to be one of many on a page."""
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"


def _more(count: int) -> str:
    return f"and {count - ITEMS_SHOWN:,} more" if count > ITEMS_SHOWN else ""


def _listed(names: Sequence[str]) -> str:
    more = [_more(len(names))] if len(names) > ITEMS_SHOWN else []
    return ", ".join([*map(cut, names[:ITEMS_SHOWN]), *more])


def _offer(it: Offer) -> OfferLine:
    compiler = dict(it.tools).get("CC_VERSION", "")[:40]
    how = f"{badges.KIND[it.kind]}, {compiler}" if compiler else badges.KIND[it.kind]
    return OfferLine(cut(words.platform(it.platform, words.HAS)), how)


def _running(it: RunningBuild, urls: Urls, now: float) -> PageLink:
    since = words.duration(now - it.attempt.offered_at)
    spec = it.build.spec
    return PageLink(
        urls.build(it.build.id), f"build {it.build.id}", f"{spec.project} {words.revision(spec.revision)}, for {since}"
    )
