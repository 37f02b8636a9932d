"""What the API tells of what is in the database: frozen values, of which the answers and their schemas are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from buildtool.model.options import Canonical
from buildtool.model.platforms import Value
from buildtool.model.records import Artifact as ArtifactRecord
from buildtool.model.records import Attempt, Build
from buildtool.ports.pages import BuildDetail, BuildLine, BuildsFound, EventLine, ServerLine

from ..pages import badges
from ..urls import Urls

PER_PAGE = 50
"""How many of a list one answer has, unless fewer are asked for."""


@frozen
class ArtifactSummary:
    """An artifact: where its bytes are, and their digests (SHA-256, in hex)."""

    name: str
    url: str
    size: int
    digest: str
    content_digest: str
    platform: dict[str, Value] = field(metadata={"members": 100})
    server: str
    built_at: float


@frozen
class BuildSummary:
    """A build: what it makes, and how it stands. Times are seconds since 1970; null is not yet."""

    id: int
    project: str
    source: str
    revision: str
    options: dict[str, Value] = field(metadata={"members": 200})
    platform: dict[str, Value] = field(metadata={"members": 100})
    state: str
    reason: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    attempts: int
    server: str
    requests: int
    artifact: ArtifactSummary | None
    page_url: str
    log_url: str


@frozen
class BuildList:
    """A list of builds, the newest first; ``next`` is the ``before`` of the next page, null on the last."""

    builds: tuple[BuildSummary, ...] = field(metadata={"members": PER_PAGE})
    next: int | None


@frozen
class AttemptSummary:
    """One execution of a build; ``end`` is empty while it goes on. Times are seconds since 1970, null for not yet."""

    epoch: int
    server: str
    kind: str
    state: str
    end: str
    reason: str
    offered_at: float
    accepted_at: float | None
    ended_at: float | None
    log_url: str


@frozen
class BuildReport:
    """A build with its newest attempts, the oldest of these first."""

    build: BuildSummary
    attempts: tuple[AttemptSummary, ...] = field(metadata={"members": 100})


@frozen
class MachineSummary:
    """A build server: its state in a word, why, what it offers, and the builds that run there.

    Times are seconds since 1970.
    """

    name: str
    state: str
    reason: str
    connected: bool
    since: float
    last_seen: float
    slots: int
    running: tuple[int, ...] = field(metadata={"members": 1_000})
    platforms: tuple[dict[str, Value], ...] = field(metadata={"members": 100})
    projects: tuple[str, ...] = field(metadata={"members": 1_000})
    strikes: int
    page_url: str


@frozen
class MachineList:
    """A list of build servers, the connected ones first; ``next`` is the number of the next page, null on the last."""

    machines: tuple[MachineSummary, ...] = field(metadata={"members": PER_PAGE})
    next: int | None


@frozen
class MatrixCell:
    """The newest build of a revision for a platform, by its id, and its state."""

    platform: str
    build: int
    state: str


@frozen
class MatrixRow:
    """A revision, and its newest build for each platform that there is one for."""

    revision: str
    cells: tuple[MatrixCell, ...] = field(metadata={"members": 500})


@frozen
class Matrix:
    """The newest builds of a project by revision and platform, the newest first."""

    project: str
    platforms: tuple[str, ...] = field(metadata={"members": 500})
    rows: tuple[MatrixRow, ...] = field(metadata={"members": 500})


@frozen
class ProjectList:
    """The names of the projects that builds can be asked of."""

    projects: tuple[str, ...] = field(metadata={"members": 1_000})


@frozen
class AuditLine:
    """One thing that happened. ``seq`` rises, and is never given twice; ``at`` is in seconds since 1970."""

    seq: int
    at: float
    kind: str
    subject: str
    detail: str


@frozen
class AuditLines:
    """A list of what happened, the oldest first; ``next`` is the ``after`` that goes on from there."""

    events: tuple[AuditLine, ...] = field(metadata={"members": 500})
    next: int


def artifact_of(one: ArtifactRecord | None, urls: Urls) -> ArtifactSummary | None:
    """Return what is told of an artifact; None for none, and for one that is given out no more."""
    if one is None or one.withdrawn:
        return None
    url = urls.artifact(one.digest, one.name)
    return ArtifactSummary(
        one.name, url, one.size, one.digest, one.content_digest, dict(one.platform), one.server, one.built_at
    )


def build_of(
    build: Build, attempt: Attempt | None, artifact: ArtifactRecord | None, requests: int, urls: Urls
) -> BuildSummary:
    """Return what is told of a build; ``attempt`` is the one that decided it, or else the newest."""
    spec = build.spec
    log_url = urls.absolute(urls.log(build.id, attempt.epoch)) if attempt is not None else ""
    return BuildSummary(
        build.id, spec.project, spec.source, spec.revision, dict(spec.options), dict(spec.platform), build.state.value,
        build.reason, build.created_at, build.started_at, build.ended_at, build.epoch,
        attempt.server if attempt is not None else "", requests, artifact_of(artifact, urls),
        urls.absolute(urls.build(build.id)), log_url,
    )  # fmt: skip


def line_of(line: BuildLine, urls: Urls) -> BuildSummary:
    """Return what is told of a build in a list."""
    made = None
    if line.digest:
        made = ArtifactSummary(
            line.name, urls.artifact(line.digest, line.name), line.size, line.digest, line.content_digest,
            dict(line.runs_on), line.maker, line.built_at,
        )  # fmt: skip
    return BuildSummary(
        line.id, line.project, line.source, line.revision, dict(line.options), dict(line.platform), line.state.value,
        line.reason, line.created_at, line.started_at, line.ended_at, line.epoch, line.server, line.requests, made,
        urls.absolute(urls.build(line.id)),
        urls.absolute(urls.log(line.id, line.attempt)) if line.attempt is not None else "",
    )  # fmt: skip


def builds_of(found: BuildsFound, urls: Urls) -> BuildList:
    """Return a page of builds, and where the next one begins."""
    further = found.lines[-1].id if found.more else found.stopped
    return BuildList(tuple(line_of(one, urls) for one in found.lines), further)


def report_of(detail: BuildDetail, urls: Urls) -> BuildReport:
    """Return all about a build."""
    build = detail.build
    wanted = build.deciding_epoch or build.epoch
    decided = next((one for one in detail.attempts if one.epoch == wanted), None)
    attempts = tuple(
        AttemptSummary(
            one.epoch, one.server, one.kind.value, one.state.value, one.end.value if one.end is not None else "",
            one.reason, one.offered_at, one.accepted_at, one.ended_at,
            urls.absolute(urls.log(build.id, one.epoch)),
        )
        for one in detail.attempts
    )  # fmt: skip
    return BuildReport(build_of(build, decided, detail.artifact, detail.request_count, urls), attempts)


def machine_of(line: ServerLine, urls: Urls, now: float) -> MachineSummary:
    """Return what is told of a build server at ``now``, wall time in seconds."""
    it, can = line.server, line.server.capability
    count = len(line.running) + line.hidden
    reason = it.paused or (it.quarantine_reason if it.quarantined_until > now else "")
    return MachineSummary(
        it.name, badges.server(it, count, now).text, reason, it.connected, it.since, it.last_seen, can.max_builds,
        tuple(one.build.id for one in line.running), tuple(dict(one.platform) for one in can.offers[:100]),
        tuple(one.project for one in can.skills[:1_000]), it.strikes, urls.absolute(urls.server(it.name)),
    )  # fmt: skip


def matrix_of(project: str, lines: Iterable[BuildLine]) -> Matrix:
    """Return the matrix of a project's builds, given the newest first: of each revision and platform that one."""
    rows: dict[str, dict[str, MatrixCell]] = {}
    for line in lines:
        platform = platform_word(line.platform)
        cell = MatrixCell(platform, line.id, line.state.value)
        rows.setdefault(line.revision, {}).setdefault(platform, cell)
    platforms = sorted({name for cells in rows.values() for name in cells})
    return Matrix(
        project, tuple(platforms), tuple(MatrixRow(name, tuple(cells.values())) for name, cells in rows.items())
    )


def platform_word(platform: Canonical) -> str:
    """Return a platform as one word, such as ``linux-ppc``."""
    said = dict(platform)
    return "-".join(str(said[name]) for name in ("os", "arch") if name in said) or "any"


def audit_of(lines: Sequence[EventLine], after: int) -> AuditLines:
    """Return what happened after an event."""
    found = tuple(AuditLine(one.seq, one.at, one.kind, one.subject, one.detail) for one in lines)
    return AuditLines(found, found[-1].seq if found else after)
