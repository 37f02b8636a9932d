"""What the page of a build shows: what it makes, why it waits, its Attempts along the time, its artifact and Requests.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from buildtool.model.addresses import masked
from buildtool.model.farm.deployment import NO_PLACE, ProjectPlace
from buildtool.model.logs.index import LogIndex
from buildtool.model.project_options import ProjectOptions
from buildtool.model.records import Attempt, Build, BuildSpec, BuildState, Request, RequestState
from buildtool.model.search.commits import CommitNote
from buildtool.model.telling.watch import WATCH
from buildtool.model.text import about, ahead_words
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.pages import BuildDetail, RequestLine
from buildtool.protocol.messages import Explanation
from buildtool.protocol.pages.farm_view import WhyLine

from ..urls import Urls
from . import badges, words
from .asking import wish
from .common import cut, moment, took
from .details.command import command
from .details.comparison import ComparedRow, compared
from .details.contents import ArtifactCard, FilesCard, artifact_card
from .details.phases import PhaseRow, phases
from .details.timeline import Timeline, timeline
from .log import LogCard
from .views import Badge, GoesOn, Moment, PageLink

SOMEBODY = "you@example.org"
"""Who is told in a command line of somebody whose address is not known."""


@frozen
class RevisionCard:
    """The revision that is built: ``url`` is empty where no page shows it, ``subject`` where nothing is known of it."""

    id: str
    url: str
    subject: str
    author: str
    when: Moment | None


@frozen
class Fact:
    """One line of what a Build makes; ``code`` when it is an identifier and not words, ``url`` where it leads."""

    name: str
    text: str
    code: bool = False
    url: str = ""


@frozen
class AttemptRow:
    """One Attempt in its table."""

    epoch: int
    badge: Badge
    server: PageLink
    platform: str
    kind: str
    offered: Moment
    took: str
    reason: str
    log: str
    deciding: bool


@frozen
class RequestRow:
    """One Request in its table; ``who`` is masked, ``trouble`` says why it or its mail failed.

    ``mine`` says that it waits and is the visitor's own, ``ends`` that it waits and the visitor may end it.
    """

    id: int
    mine: bool
    ends: bool
    badge: Badge
    who: str
    ref: str
    joined: str
    moved: str
    when: Moment
    trouble: str


@frozen
class WaitRow:
    """One reason for waiting, and the build servers that it holds for."""

    words: str
    servers: tuple[PageLink, ...]
    more: str


@frozen
class WaitCard:
    """The reasons why a Build waits, what the best machine lacks, its place, and when it may start."""

    rows: tuple[WaitRow, ...]
    notes: tuple[str, ...]


@frozen
class Known:
    """The knowledge besides the rows of a build: its project's, the log's and who looks at it.

    ``options`` are None where the project is not configured, ``index`` is that of the log which explains the build,
    None where the visitor may not see it. ``mine`` are the addresses under which the visitor asks, ``all`` is whether
    they may end all requests, ``address`` is where mail about what they ask for goes, "" where that is not known.
    """

    place: ProjectPlace = NO_PLACE
    options: ProjectOptions | None = None
    index: LogIndex | None = None
    mine: tuple[str, ...] = ()
    all: bool = False
    address: str = ""


NOTHING_KNOWN = Known()
"""A build of a project that is not configured, for a visitor of whom nothing is known."""


@frozen
class BuildPage:
    """All about one Build.

    ``command`` asks for the same on a command line, ``changed`` is the form that does, filled in; ``again`` says that
    the visitor would be told. ``phases`` are those of the Attempt that explains the Build.
    """

    id: int
    url: str
    badge: Badge
    open: bool
    failed: bool
    headline: str
    going: GoesOn | None
    reason: str
    revision: RevisionCard
    facts: tuple[Fact, ...]
    created: Moment
    artifact: ArtifactCard | None
    attempts: tuple[AttemptRow, ...]
    earlier: str
    unstarted: str
    waiting: WaitCard | None
    timeline: Timeline
    tail: str
    tail_log: str
    log: LogCard | None
    requests: tuple[RequestRow, ...]
    more_requests: str
    phases: tuple[PhaseRow, ...]
    compared: tuple[ComparedRow, ...]
    command: str
    changed: str
    again: bool
    files: FilesCard | None = None


def build_page(
    detail: BuildDetail,
    urls: Urls,
    now: float,
    why: Explanation | None = None,
    log: LogCard | None = None,
    known: Known = NOTHING_KNOWN,
) -> BuildPage:
    """Return all about one Build; ``why`` is the metaserver's own explanation of one that waits."""
    build = detail.build
    shown = detail.attempts
    left = shown[0].epoch - 1 if shown else 0  # they are numbered from 1 on, and not all of them may be in detail
    more = detail.request_count - len(detail.requests)
    tail = _telling(build, shown)
    return BuildPage(
        id=build.id,
        url=urls.build(build.id),
        badge=badges.BUILD[build.state],
        open=build.state in (BuildState.QUEUED, BuildState.RUNNING),
        failed=build.state in (BuildState.FAILED, BuildState.UNBUILDABLE),
        headline=_headline(build, detail, now),
        going=_going(build, detail, now),
        reason=build.reason,
        revision=_revision(build.spec.revision, detail.commit, known.place, now),
        facts=tuple(_facts(build, known.place)),
        created=moment(build.created_at, now),
        artifact=artifact_card(detail.artifact, urls, now) if detail.artifact is not None else None,
        attempts=tuple(_attempt(it, build, urls, now) for it in shown),
        earlier=f"{words.count(left, 'earlier attempt')} not shown." if left else "",
        unstarted=_unstarted(build, now),
        waiting=_waiting(why, urls) if why is not None else None,
        timeline=timeline(build, shown, now),
        tail=tail.log_tail if tail is not None else "",
        tail_log=urls.log_page(build.id, tail.epoch) if tail is not None else "",
        log=log if log is not None and not log.absent else None,
        requests=tuple(_request(it, known, now) for it in detail.requests),
        more_requests=f"and {words.count(more, 'more request')}." if more > 0 else "",
        phases=phases(build, shown, deciding_epoch(build), known.index, urls, now),
        compared=_compared(detail, known.options),
        command=command(build.spec, known.options, known.address or SOMEBODY) if known.options else "",
        changed=_changed(build.spec, known.options, urls) if known.options is not None else "",
        again=build.ended_at is not None and bool(known.address),
    )


def _compared(detail: BuildDetail, options: ProjectOptions | None) -> tuple[ComparedRow, ...]:
    demands = [it.request.demand for it in detail.requests]
    refs = [it.revrange if ".." in it.revrange else it.ref for it in demands]
    comparisons = options.comparisons() if options is not None else {}
    defaults = options.defaults if options is not None else None
    return compared(detail.build.spec, detail.artifact, refs, comparisons, defaults)


def _changed(spec: BuildSpec, options: ProjectOptions, urls: Urls) -> str:
    """Return the form that asks for the same, as far as there still are such options, to be changed."""
    fields = wish.fields_of_build(spec.project, spec.source, spec.revision, spec.options, spec.platform, options)
    fields += [(wish.NATIVE, "yes")] if spec.native else []
    fields += [(wish.SANDBOX, spec.policy.sandbox.value)] if spec.policy.sandbox is not SandboxLevel.NONE else []
    return urls.ask(fields)


def deciding_epoch(build: Build) -> int | None:
    """Return the epoch of the Attempt whose log explains a Build's state: the one that decided it, or the newest."""
    return build.deciding_epoch if build.deciding_epoch is not None else build.epoch or None


def _waiting(why: Explanation, urls: Urls) -> WaitCard:
    notes = [f"{why.reason[:1].upper()}{why.reason[1:]}."] if why.reason and not why.reasons else []
    if why.nearest_server:
        notes.append(f"No known build server could ever build it. Nearest: {why.nearest_server}.")
    if why.ahead:
        notes.append(f"{ahead_words(why.ahead, why.ahead_own, why.ahead_shares)}, for the same build servers.")
    if why.seconds is not None:
        notes.append(f"It may start in {about(why.seconds)} ({why.basis}).")
    return WaitCard(tuple(wait_row(line, urls) for line in why.reasons), tuple(notes))


def wait_row(line: WhyLine, urls: Urls) -> WaitRow:
    """Return one reason for waiting, with links to the build servers that it holds for."""
    left = line.count - len(line.servers)
    servers = tuple(PageLink(urls.server(name), name) for name in line.servers)
    return WaitRow(line.words, servers, f"and {left:,} more" if left > 0 else "")


def _headline(build: Build, detail: BuildDetail, now: float) -> str:
    going = _going(build, detail, now)
    if going is not None:
        return f"{going.text} {going.took}."
    lasted = took(build, now)
    return f"{_what(build)}; it took {lasted}." if lasted else f"{_what(build)}; never started."


def _going(build: Build, detail: BuildDetail, now: float) -> GoesOn | None:
    """Return since when an open build waits or runs."""
    if build.state is BuildState.QUEUED:
        text, since = f"{_what(build)}; waiting for", build.created_at
    elif build.state is BuildState.RUNNING:
        newest = detail.attempts[-1] if detail.attempts else None
        on = f"{newest.server} ({newest.kind.words})" if newest is not None else "a build server"
        text = f"{_what(build)}; running on {on} for"
        since = build.started_at or build.created_at
        if newest is not None:  # one that was moved runs there since then
            since = newest.offered_at if newest.accepted_at is None else newest.accepted_at
    else:
        return None
    return GoesOn(text, words.duration(now - since), f"{since:.3f}")


def _what(build: Build) -> str:
    spec = build.spec
    return f"{spec.project} {words.revision(spec.revision)} for {words.platform(spec.platform)}"


def _revision(revision: str, note: CommitNote | None, place: ProjectPlace, now: float) -> RevisionCard:
    if note is None:
        return RevisionCard(revision, place.revision(revision), "", "", None)
    return RevisionCard(
        revision,
        place.revision(revision),
        words.without_addresses(note.subject),
        words.without_addresses(note.author),
        moment(note.at, now) if note.at > 0 else None,
    )


def _facts(build: Build, place: ProjectPlace) -> list[Fact]:
    spec = build.spec
    facts = [Fact("Project", spec.project, url=place.url)]
    if spec.policy.source.words:
        facts.append(Fact("Commit", f"{spec.policy.source.words}: given only to who asks for this very commit"))
    if place.contact:
        facts.append(Fact("Questions to", place.contact, url=place.contact_url))
    if spec.source:
        facts.append(Fact("Source", spec.source, code=True))
    facts.append(Fact("Has to run on", words.platform(spec.platform) + (", built natively" if spec.native else "")))
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


def _attempt(attempt: Attempt, build: Build, urls: Urls, now: float) -> AttemptRow:
    begun = attempt.accepted_at  # None for one that its build server declined, or did not answer to: no log either
    return AttemptRow(
        epoch=attempt.epoch,
        badge=badges.attempt(attempt),
        server=PageLink(urls.server(attempt.server), attempt.server),
        platform=words.platform(attempt.platform, words.HAS),
        kind=badges.made(attempt.kind, attempt.evidence),
        offered=moment(attempt.offered_at, now),
        took="" if begun is None else words.duration((now if attempt.ended_at is None else attempt.ended_at) - begun),
        reason=cut(attempt.reason),
        log="" if begun is None else urls.log_page(build.id, attempt.epoch),
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


def _moved(nice: int) -> str:
    rounds = "1 round" if abs(nice) == 1 else f"{abs(nice)} rounds"
    if not nice:
        return ""
    return f"lets {rounds} of others go first" if nice > 0 else f"moved {rounds} forward"


def _who(request: Request) -> str:
    """Return who asked, masked; what asks by itself is named as the order has it."""
    if request.email:
        return masked(request.email)
    if request.share.startswith(WATCH):
        return f"a watch of {masked(request.share.removeprefix(WATCH))}"
    return request.share if request.share.startswith("trigger:") else "the operator"


def _mail_trouble(error: str) -> str:
    return error if not error or error.startswith("not sent: ") else f"mail refused: {error}"


def _request(line: RequestLine, known: Known, now: float) -> RequestRow:
    request = line.request
    waits = request.state is RequestState.WAITING
    mine = waits and bool(request.email) and request.email.lower() in known.mine
    ref = request.demand.ref + (f" ± {request.demand.revrange}" if request.demand.revrange.isdigit() else "")
    troubles = [request.reason, _mail_trouble(line.mail_error)]
    return RequestRow(
        id=request.id,
        mine=mine,
        ends=mine or (waits and known.all),
        badge=badges.REQUEST[request.state],
        who=_who(request),
        ref=request.demand.revrange if ".." in request.demand.revrange else ref,
        joined=badges.JOINED[request.joined],
        moved=_moved(request.nice) if waits else "",
        when=moment(request.admitted_at, now),
        trouble="; ".join(words.without_addresses(cut(it)) for it in troubles if it),
    )
