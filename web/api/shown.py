"""What the API tells of what is in the database: rows to the values of ``protocol.api.answers``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildtool.model.farm.deployment import ProjectPlace
from buildtool.model.options import Canonical, Option, flag_of
from buildtool.model.project_options import TOOL_OPTIONS, ProjectOptions
from buildtool.model.records import Artifact as ArtifactRecord
from buildtool.model.records import Attempt, Build
from buildtool.model.text import one_line
from buildtool.model.trust.evidence import SandboxLevel, SourceTrust
from buildtool.ports.artifacts import FileKind, FilesFound
from buildtool.ports.pages import BuildDetail, BuildLine, BuildsFound, EventLine, ServerLine
from buildtool.protocol.api.answers import (
    ArtifactSummary,
    AttemptSummary,
    AuditLine,
    AuditLines,
    BuildList,
    BuildReport,
    BuildSummary,
    ConsequenceReport,
    FileList,
    FileSummary,
    MachineSummary,
    Matrix,
    MatrixCell,
    MatrixRow,
    OptionReport,
    ProjectReport,
)

from ..pages import badges, words
from ..urls import Urls, file_of

TEXT_SHOWN = 500
"""Most characters of what owners say of their machines."""


def artifact_of(one: ArtifactRecord | None, urls: Urls) -> ArtifactSummary | None:
    """Return what is told of an artifact; None for none, and for one that is given out no more."""
    if one is None or one.withdrawn:
        return None
    url = urls.artifact(one.digest, one.name)
    return ArtifactSummary(
        one.name, url, one.size, one.digest, one.content_digest, dict(one.platform), one.server, one.built_at,
        one.evidence.sandbox, dict(one.need), one.evidence.source is SourceTrust.UNTRUSTED,
    )  # fmt: skip


def files_of(build_id: int, found: FilesFound, skip: int, urls: Urls) -> FileList:
    """Return what is told of files in an artifact, of which the first ``skip`` are left out."""
    files = tuple(
        FileSummary(
            one.name, one.size, one.kind.value,
            urls.absolute(file_of(urls, build_id, one.name)) if one.kind is not FileKind.LINK else "",
        )
        for one in found.files
    )  # fmt: skip
    after = skip + len(files)
    return FileList(found.count, files, after if files and after < found.count else None)


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
        urls.absolute(urls.build(build.id)), log_url, spec.policy.source is SourceTrust.UNTRUSTED,
    )  # fmt: skip


def line_of(line: BuildLine, urls: Urls) -> BuildSummary:
    """Return what is told of a build in a list."""
    made, untrusted = None, line.trust is SourceTrust.UNTRUSTED
    if line.digest:
        made = ArtifactSummary(
            line.name, urls.artifact(line.digest, line.name), line.size, line.digest, line.content_digest,
            dict(line.runs_on), line.maker, line.built_at, line.sandbox, untrusted=untrusted,
        )  # fmt: skip
    return BuildSummary(
        line.id, line.project, line.source, line.revision, dict(line.options), dict(line.platform), line.state.value,
        line.reason, line.created_at, line.started_at, line.ended_at, line.epoch, line.server, line.requests, made,
        urls.absolute(urls.build(line.id)),
        urls.absolute(urls.log(line.id, line.attempt)) if line.attempt is not None else "", untrusted,
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
            urls.absolute(urls.log(build.id, one.epoch)), one.evidence.sandbox,
        )
        for one in detail.attempts
    )  # fmt: skip
    summary = build_of(build, decided, detail.artifact, detail.request_count, urls)
    return BuildReport(summary, attempts, build.spec.policy.sandbox)


def machine_of(line: ServerLine, urls: Urls, now: float) -> MachineSummary:
    """Return what is told of a build server at ``now``, wall time in seconds."""
    it, can = line.server, line.server.capability
    count = len(line.running) + line.hidden
    reason = it.paused or (it.quarantine_reason if it.quarantined_until > now else "")
    return MachineSummary(
        it.name, badges.server(it, count, now).text, reason, it.connected, it.since, it.last_seen, can.max_builds,
        tuple(one.build.id for one in line.running), tuple(dict(one.platform) for one in can.offers[:100]),
        tuple(one.project for one in can.skills[:1_000]), it.strikes, urls.absolute(urls.server(it.name)),
        can.sandbox, tuple(map(words.without_addresses, can.sandbox_notes)),
        one_line(can.admin, TEXT_SHOWN), words.without_addresses(one_line(can.host_info, TEXT_SHOWN)),
        one_line(can.access_uri, TEXT_SHOWN),
    )  # fmt: skip


def project_of(
    name: str, options: ProjectOptions, description: str, place: ProjectPlace, sandbox: SandboxLevel
) -> ProjectReport:
    """Return what is told of a project."""
    return ProjectReport(
        name, description, place.url, place.contact,
        tuple(option_of(one) for one in options.compile),
        tuple(option_of(one.option, one.role.value, one.comparison.value) for one in options.system),
        tuple(map(option_of, TOOL_OPTIONS)), sandbox,
    )  # fmt: skip


def option_of(one: Option, role: str = "", comparison: str = "") -> OptionReport:
    """Return what is told of an option, or of a property, which has a role and a comparison."""
    needed = tuple(ConsequenceReport(name, value, None, suggested=False) for name, value in one.requires)
    others = tuple(ConsequenceReport(it.name, it.value, it.at, it.suggested) for it in one.consequences)
    return OptionReport(
        one.name, one.path or one.name, flag_of(one.name), one.kind.value, one.help, one.default, one.choices,
        one.minimum, one.maximum, one.shape, (*needed, *others), role, comparison,
    )  # fmt: skip


def matrix_of(project: str, lines: Iterable[BuildLine], later: int | None) -> Matrix:
    """Return the matrix of a project's builds, given the newest first, of which each cell has the first that fits it.

    The next page has the revisions below the build ``later``.
    """
    rows: dict[str, dict[tuple[str, Canonical], MatrixCell]] = {}
    for line in lines:
        platform = platform_word(line.platform)
        cell = MatrixCell(platform, line.id, line.state.value, dict(line.options))
        rows.setdefault(line.revision, {}).setdefault((platform, line.options), cell)
    shown = tuple(MatrixRow(name, tuple(cells.values())) for name, cells in rows.items())
    return Matrix(project, tuple(sorted({it.platform for row in shown for it in row.cells})), shown, later)


def platform_word(platform: Canonical) -> str:
    """Return a platform as one word, such as ``linux-ppc``."""
    said = dict(platform)
    return "-".join(str(said[name]) for name in ("os", "arch") if name in said) or "any"


def audit_of(lines: Sequence[EventLine], after: int) -> AuditLines:
    """Return what happened after an event."""
    found = tuple(AuditLine(one.seq, one.at, one.kind, one.subject, one.detail) for one in lines)
    return AuditLines(found, found[-1].seq if found else after)
