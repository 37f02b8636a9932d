"""From domain values to what a template shows. Pure: ``now`` is wall time in seconds, links come from ``urls``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from buildtool.concurrency.bounded_cache import remembering, weight
from buildtool.model.records import Artifact, Attempt, Build, BuildState
from buildtool.model.servers import Offer, Server
from buildtool.model.text import duration_words
from buildtool.ports.pages import BuildDetail, BuildLine, Overview, RequestLine, RunningBuild, ServerLine
from buildtool.protocol.messages import Explanation, WhyLine

from . import badges, words
from .timeline import timeline
from .urls import Urls, server_anchor
from .views import (
    ArtifactCard,
    AttemptRow,
    BuildPage,
    BuildRow,
    BuildsPage,
    Fact,
    Moment,
    Note,
    OfferLine,
    PageLink,
    Presence,
    RequestRow,
    ServerCard,
    ServersPage,
    StatusPage,
    Tile,
    WaitCard,
    WaitRow,
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

ATTEMPTS_SHOWN = 60
"""The newest Attempts of a Build that its page shows; a build that no machine takes for days has more."""

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


def status_page(overview: Overview, latest: Sequence[BuildLine], urls: Urls, now: float) -> StatusPage:
    """Return the front page: figures, what needs attention, and the latest builds."""
    running, queued = (overview.builds.get(state, 0) for state in (BuildState.RUNNING, BuildState.QUEUED))
    ended = {state.value: overview.builds.get(state, 0) for state in BuildState}
    unsuccessful = ended["failed"] + ended["unbuildable"]
    connected = f"{overview.servers_connected:,} of {words.count(overview.servers_known, 'build server')} connected"
    oldest = overview.oldest_queued
    waits = f"oldest {words.duration(now - oldest.created_at)}" if oldest else "nothing waits"
    tiles = (
        Tile("RunningBuild", f"{running:,}", f"{overview.running:,} of {words.count(overview.slots, 'slot')} in use",
             urls.builds(state="running")),
        Tile("Queued", f"{queued:,}", waits, urls.builds(state="queued")),
        Tile("Build servers", f"{overview.servers_connected:,}", f"of {overview.servers_known:,} known",
             urls.servers()),
        Tile("Requests waiting", f"{overview.requests_waiting:,}", _mails(overview.mails_unsent)),
        Tile("Succeeded", f"{ended['succeeded']:,}", f"{unsuccessful:,} not", urls.builds(state="succeeded")),
        Tile("Artifacts", f"{overview.artifacts:,}", words.size(overview.artifact_bytes)),
    )  # fmt: skip
    headline = f"{words.count(running, 'build')} running, {queued:,} queued; {connected}."
    rows = tuple(build_row(line, urls, now) for line in latest)
    return StatusPage(headline, tuple(_notes(overview, urls, now)), tiles, rows)


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
    return _build_row(_Very(line), urls, when, words.age(when, now), _took(build, now))


class _Very:
    """A value that is equal to nothing but itself: comparing a line with another would cost more than showing it."""

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
        download = Zip(urls.artifact(artifact.digest, artifact.name), artifact.name, words.size(artifact.size))
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
        badge=badges.server(server, len(line.running), now),
        presence=_presence(server, now),
        trouble=" ".join(_troubles(server, now)),
        tone="bad" if server.quarantined_until > now else "wait",
        load=f"{len(line.running)} of {offered.max_builds} at once",
        running=tuple(_running(it, urls, now) for it in line.running[:ITEMS_SHOWN]),
        offers=tuple(_offer(it) for it in offered.offers[:ITEMS_SHOWN]),
        more_offers=_more(len(offered.offers)),
        projects=_listed([f"{skill.project} (recipe {skill.recipe_version})" for skill in offered.skills]),
        machine=tuple((name, _cut(text)) for name, text in words.machine(offered.machine[:ITEMS_SHOWN])),
        host_info=words.without_addresses(_cut(offered.host_info)),
        admin=_cut(offered.admin),
        software=_cut(offered.software),
    )


def build_page(detail: BuildDetail, urls: Urls, now: float, why: Explanation | None = None) -> BuildPage:
    """Return all about one Build; ``why`` is the metaserver's own explanation of one that waits."""
    build = detail.build
    shown = detail.attempts[-ATTEMPTS_SHOWN:]
    left = shown[0].epoch - 1 if shown else 0  # they are numbered from 1 on, and not all of them may be in detail
    more = detail.request_count - len(detail.requests)
    tail = _telling(build, detail.attempts)
    return BuildPage(
        id=build.id,
        url=urls.build(build.id),
        badge=badges.BUILD[build.state],
        headline=_headline(build, detail, now),
        reason=build.reason,
        facts=tuple(_facts(build)),
        created=moment(build.created_at, now),
        artifact=_artifact(detail.artifact, urls, now) if detail.artifact is not None else None,
        attempts=tuple(_attempt(it, build, urls, now) for it in shown),
        earlier=f"{words.count(left, 'earlier attempt')} not shown." if left else "",
        unstarted=_unstarted(build, now),
        waiting=_waiting(why, urls) if why is not None else None,
        timeline=timeline(build, shown, now),
        tail=tail.log_tail if tail is not None else "",
        tail_log=urls.log(build.id, tail.epoch) if tail is not None else "",
        requests=tuple(_request(it, now) for it in detail.requests),
        more_requests=f"and {words.count(more, 'more request')}." if more > 0 else "",
    )


def deciding_epoch(build: Build) -> int | None:
    """Return the epoch of the Attempt whose log tells how a Build stands: the one that decided it, or the newest."""
    return build.deciding_epoch if build.deciding_epoch is not None else build.epoch or None


# --- the parts of them -------------------------------------------------------------------------------------


def _waiting(why: Explanation, urls: Urls) -> WaitCard:
    notes = []
    if why.nearest_server:
        notes.append(f"No known build server could ever build it. Nearest: {why.nearest_server}.")
    if why.ahead:
        notes.append(f"{words.count(why.ahead, 'build waits', 'builds wait')} before it for the same build servers.")
    if why.seconds is not None:
        notes.append(f"It may start in about {duration_words(why.seconds)} ({why.basis}).")
    return WaitCard(tuple(_wait_row(line, urls) for line in why.reasons), tuple(notes))


def _wait_row(line: WhyLine, urls: Urls) -> WaitRow:
    left = line.count - len(line.servers)
    servers = tuple(PageLink(urls.server(name), name) for name in line.servers)
    return WaitRow(line.words, servers, f"and {left:,} more" if left > 0 else "")


def _mails(unsent: int) -> str:
    return f"{words.count(unsent, 'mail')} to be sent" if unsent else "all mail is sent"


def _notes(overview: Overview, urls: Urls, now: float) -> list[Note]:
    notes = []
    oldest = overview.oldest_queued
    if overview.servers_connected == 0:
        waiting = "What is queued waits until one connects." if oldest else "A request would wait until one connects."
        notes.append(Note("bad", f"No build server is connected. {waiting}", PageLink(urls.servers(), "Build servers")))
    elif oldest is not None and overview.running < overview.slots:
        waited = words.duration(now - oldest.created_at)
        text = f"Slots are free, but a build has waited for {waited}: {_wants(oldest)}."
        notes.append(Note("wait", text, PageLink(urls.build(oldest.id), f"Build {oldest.id}")))
    if overview.mails_refused:
        refused = words.count(overview.mails_refused, "mail was", "mails were")
        notes.append(Note("wait", f"{refused} refused by the mail server for good; the pages of their builds say why."))
    return notes


def _wants(build: Build) -> str:
    needs = [f"{name} at least {text}" for name, text in words.machine(build.spec.machine)]
    return ", ".join([f"{build.spec.project} for {words.platform(build.spec.platform)}", *needs])


def _runs(build: Build) -> bool:
    return build.state is BuildState.RUNNING and build.started_at is not None


def _took(build: Build, now: float) -> str:
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


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"


def _more(count: int) -> str:
    return f"and {count - ITEMS_SHOWN:,} more" if count > ITEMS_SHOWN else ""


def _listed(names: Sequence[str]) -> str:
    more = [_more(len(names))] if len(names) > ITEMS_SHOWN else []
    return ", ".join([*map(_cut, names[:ITEMS_SHOWN]), *more])


def _offer(it: Offer) -> OfferLine:
    compiler = dict(it.tools).get("CC_VERSION", "")[:40]
    how = f"{badges.KIND[it.kind]}, {compiler}" if compiler else badges.KIND[it.kind]
    return OfferLine(_cut(words.platform(it.platform, words.HAS)), how)


def _running(it: RunningBuild, urls: Urls, now: float) -> PageLink:
    since = words.duration(now - it.attempt.offered_at)
    spec = it.build.spec
    return PageLink(
        urls.build(it.build.id), f"build {it.build.id}", f"{spec.project} {words.revision(spec.revision)}, for {since}"
    )


def _headline(build: Build, detail: BuildDetail, now: float) -> str:
    what = f"{build.spec.project} {words.revision(build.spec.revision)} for {words.platform(build.spec.platform)}"
    if build.state is BuildState.QUEUED:
        return f"{what}; waiting for {words.duration(now - build.created_at)}."
    if build.state is BuildState.RUNNING:
        newest = detail.attempts[-1].server if detail.attempts else "a build server"
        return f"{what}; running on {newest} for {_took(build, now) or 'a moment'}."
    took = _took(build, now)
    return f"{what}; it took {took}." if took else f"{what}; never started."


def _facts(build: Build) -> list[Fact]:
    spec = build.spec
    facts = [Fact("Project", spec.project), Fact("Revision", spec.revision, code=True)]
    if spec.source:
        facts.append(Fact("Source", spec.source, code=True))
    facts.append(Fact("Has to run on", words.platform(spec.platform) + (", built natively" if spec.native else "")))
    options = "  ".join(f"{name}={words.value(item).replace(', ', ',')}" for name, item in spec.options)
    facts.append(Fact("Options", options or "none", code=bool(options)))
    if spec.machine:
        needs = ", ".join(f"{name} {text}" for name, text in words.machine(spec.machine))
        facts.append(Fact("Build server needs", needs))
    facts.append(Fact("Recipe", f"version {spec.recipe_version}"))
    if build.forced:
        facts.append(Fact("Forced", "built although there was an artifact or a known failure"))
    if build.failed_on:
        facts.append(Fact("Failed on", ", ".join(build.failed_on)))
    if build.broken_on:
        facts.append(Fact("Broke", ", ".join(build.broken_on)))
    return facts


def _artifact(artifact: Artifact, urls: Urls, now: float) -> ArtifactCard:
    kept = not artifact.withdrawn
    plain = re.fullmatch(r"[\w.+-]+", artifact.name, re.ASCII) and not artifact.name.startswith("-")
    return ArtifactCard(
        name=artifact.name,
        url=urls.artifact(artifact.digest, artifact.name) if kept else "",
        size=words.size(artifact.size),
        digest=artifact.digest,
        content_digest=artifact.content_digest,
        verify=f'echo "{artifact.digest}  {artifact.name}" | sha256sum -c' if kept and plain else "",
        platform=words.platform(artifact.platform, words.RUNS_FROM),
        kind=badges.KIND[artifact.kind],
        server=PageLink(urls.server(artifact.server), artifact.server),
        took=words.duration(artifact.seconds),
        built=moment(artifact.built_at, now),
        withdrawn=artifact.withdrawn,
    )


def _attempt(attempt: Attempt, build: Build, urls: Urls, now: float) -> AttemptRow:
    begun = attempt.accepted_at  # None for one that its build server declined, or did not answer to: no log either
    return AttemptRow(
        epoch=attempt.epoch,
        badge=badges.attempt(attempt),
        server=PageLink(urls.server(attempt.server), attempt.server),
        platform=words.platform(attempt.platform, words.HAS),
        kind=badges.KIND[attempt.kind],
        offered=moment(attempt.offered_at, now),
        took="" if begun is None else words.duration((now if attempt.ended_at is None else attempt.ended_at) - begun),
        reason=_cut(attempt.reason),
        log="" if begun is None else urls.log(build.id, attempt.epoch),
        deciding=attempt.epoch == build.deciding_epoch,
    )


def _unstarted(build: Build, now: float) -> str:
    if build.state is not BuildState.QUEUED:
        return "It ended before a build server began."
    if build.not_before > now:
        return f"No build server has begun; the next try is {words.age(build.not_before, now)}."
    return "It starts as soon as a build server that can build it is free."


def _telling(build: Build, attempts: Sequence[Attempt]) -> Attempt | None:
    """Return the Attempt whose end of the log explains why there is no artifact, or None when there is none."""
    if build.state not in (BuildState.FAILED, BuildState.UNBUILDABLE):
        return None
    with_log = [it for it in attempts if it.log_tail]
    chosen = [it for it in with_log if it.epoch == build.deciding_epoch] or with_log
    return chosen[-1] if chosen else None


def _request(line: RequestLine, now: float) -> RequestRow:
    request = line.request
    ref = request.demand.ref + (f" ± {request.demand.revrange}" if request.demand.revrange.isdigit() else "")
    troubles = [request.reason, f"mail refused: {line.mail_error}" if line.mail_error else ""]
    return RequestRow(
        id=request.id,
        badge=badges.REQUEST[request.state],
        who=words.masked(request.email) if request.email else "the operator",
        ref=request.demand.revrange if ".." in request.demand.revrange else ref,
        joined=badges.JOINED[request.joined],
        when=moment(request.admitted_at, now),
        trouble="; ".join(words.without_addresses(_cut(it)) for it in troubles if it),
    )
