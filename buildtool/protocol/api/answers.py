"""What the API tells of what is in the database: frozen values, of which the answers and their schemas are made.

Tested by tests/web/api/test_section.py.
"""

from __future__ import annotations

from attrs import field, frozen

from buildtool.model.platforms import Value
from buildtool.model.servers import NOTE_LIMIT, NOTES_MOST
from buildtool.model.trust.evidence import SandboxLevel

PER_PAGE = 50
"""How many of a list one answer has, unless fewer are asked for."""


@frozen
class Bytes:
    """The bytes of a log or an artifact, as they are: what stands for them in a table of answers."""


@frozen
class ArtifactSummary:
    """An artifact: where its bytes are, their digests (SHA-256, in hex), and in which ``sandbox`` it was made.

    ``platform`` is what it was made for, ``need`` what its files need, as far as that was measured. ``untrusted`` if
    what it was made of was on no ref that the project trusts.
    """

    name: str
    url: str
    size: int
    digest: str
    content_digest: str
    platform: dict[str, Value] = field(metadata={"members": 100})
    server: str
    built_at: float
    sandbox: SandboxLevel = SandboxLevel.NONE
    need: dict[str, Value] = field(default={}, metadata={"members": 8})  # nothing writes into an answer
    untrusted: bool = False


FILES_LISTED = 500
"""How many files of an artifact one answer has, unless fewer are asked for."""


@frozen
class FileSummary:
    """A file in an artifact: its name there, its bytes (unpacked), and ``file``, ``program`` or ``link``.

    ``url`` is where it is had alone, empty for a link.
    """

    name: str
    size: int
    kind: str
    url: str


@frozen
class FileList:
    """A list of files in an artifact, which has ``count``; ``next`` is the next page's ``skip``, null on the last."""

    count: int
    files: tuple[FileSummary, ...] = field(metadata={"members": FILES_LISTED})
    next: int | None


@frozen
class BuildSummary:
    """A build: what it makes, and how it stands. Times are seconds since 1970; null is not yet.

    ``untrusted`` if its revision was on no ref that the project trusts when it was asked for.
    """

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
    untrusted: bool = False


@frozen
class BuildList:
    """A list of builds, the newest first; ``next`` is the ``before`` of the next page, null on the last."""

    builds: tuple[BuildSummary, ...] = field(metadata={"members": PER_PAGE})
    next: int | None


@frozen
class AttemptSummary:
    """One execution of a build; ``end`` is empty while it goes on. Times are seconds since 1970, null for not yet.

    ``sandbox`` is the most that is believed of it.
    """

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
    sandbox: SandboxLevel = SandboxLevel.NONE


@frozen
class BuildReport:
    """A build with its newest attempts, the oldest of these first; ``sandbox`` is the least level to make it in."""

    build: BuildSummary
    attempts: tuple[AttemptSummary, ...] = field(metadata={"members": 100})
    sandbox: SandboxLevel = SandboxLevel.NONE


@frozen
class MachineSummary:
    """A build server: its state in a word, why, what it offers, and the builds that run there.

    ``sandbox`` is the level that it announces, ``sandbox_notes`` what keeps it from a higher one. ``admin`` is whom
    to ask, ``host_info`` what it is; ``access_uri`` how it is reached, empty for who may not know.
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
    sandbox: SandboxLevel = SandboxLevel.NONE
    sandbox_notes: tuple[str, ...] = field(default=(), metadata={"members": NOTES_MOST, "most": NOTE_LIMIT})
    admin: str = ""
    host_info: str = ""
    access_uri: str = ""


@frozen
class MachineList:
    """A list of build servers, the connected ones first; ``next`` is the number of the next page, null on the last."""

    machines: tuple[MachineSummary, ...] = field(metadata={"members": PER_PAGE})
    next: int | None


@frozen
class MatrixCell:
    """The newest build of a revision for a platform with these compile options, by its id, and its state."""

    platform: str
    build: int
    state: str
    options: dict[str, Value] = field(metadata={"members": 200})


@frozen
class MatrixRow:
    """A revision, and its newest build for each platform with a set of options that there is one for."""

    revision: str
    cells: tuple[MatrixCell, ...] = field(metadata={"members": 500})


@frozen
class Matrix:
    """The newest builds of a project by revision, platform and options, the newest revision first.

    ``next`` is the ``before`` of the page that follows, null where none does.
    """

    project: str
    platforms: tuple[str, ...] = field(metadata={"members": 500})
    rows: tuple[MatrixRow, ...] = field(metadata={"members": 500})
    next: int | None = None


@frozen
class ProjectList:
    """The names of the projects that builds can be asked of."""

    projects: tuple[str, ...] = field(metadata={"members": 1_000})


@frozen
class ConsequenceReport:
    """A value of another option that one needs, or suggests: at the value ``at``, null for each but its default."""

    name: str
    value: Value
    at: Value | None
    suggested: bool


@frozen
class OptionReport:
    """An option: what it accepts, in words and by its bounds, its default, and what it asks of other options.

    ``kind`` is choice, bool, int, string or set; ``flag`` is what the command line calls it. Of a property of systems
    ``role`` and ``comparison`` say what it is for and how two compare; they are empty for other options.
    """

    name: str
    path: str
    flag: str
    kind: str
    help: str
    default: Value | None
    choices: tuple[str, ...] = field(metadata={"members": 1_000})
    minimum: int | None
    maximum: int | None
    shape: str
    asks: tuple[ConsequenceReport, ...] = field(metadata={"members": 1_000})
    role: str
    comparison: str


@frozen
class ProjectReport:
    """A project: what it says of itself, its compile options, and the properties of the systems that it is built for.

    ``tool`` are the options that every project has: which source, which revision, and how near will do. ``sandbox`` is
    the least level that it demands. What it did not say is empty.
    """

    name: str
    description: str
    url: str
    contact: str
    compile: tuple[OptionReport, ...] = field(metadata={"members": 300})
    system: tuple[OptionReport, ...] = field(metadata={"members": 300})
    tool: tuple[OptionReport, ...] = field(metadata={"members": 20})
    sandbox: SandboxLevel = SandboxLevel.NONE


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
