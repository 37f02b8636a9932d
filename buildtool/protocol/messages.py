"""The shapes of all messages that cross the wire, as frozen values of plain fields with their ``limits``.

They are hostile until decoded: ``codec.decode`` bounds lengths; metaserver and build server validate what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import AttrsInstance, field, frozen

from buildtool.model.lifecycle import AttemptEnd
from buildtool.model.options import Canonical
from buildtool.model.platforms import Value
from buildtool.model.servers import Capability, Held, HeldVerdict, OfferKind, OwnerNotice
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol.hello import AskProjects, AskRefs, AskRequests
from buildtool.protocol.limits import NEED_SENT, PLATFORM_SENT, TOGETHER
from buildtool.protocol.pages.farm_view import WhyLine

LOG_TAIL_LIMIT = 16 * 1024
"""Most bytes of a log's end that travel in a message and are kept in the database."""


@frozen
class Submit:
    """A submission: asks for a build by what the requester set; ``local`` is their machine's artifact properties.

    ``sandbox`` is the least level that they accept; what the project demands counts where it is stricter. ``nice`` is
    by how many rounds it stands back; with ``supersede`` it takes the place of theirs for older commits of its ref.
    """

    client_id: str = field(metadata={"most": 64})
    project: str = field(metadata={"most": 80})
    email: str = field(metadata={"most": 400})
    source: str = field(metadata={"most": 400})
    revision: str = field(metadata={"most": 400})
    revrange: str = field(metadata={"most": 800})
    compile: dict[str, Value] = field(metadata={"members": 200})
    system: dict[str, Value] = field(metadata={"members": 100})
    local: dict[str, Value] = field(metadata={"members": 100})
    force: bool = False
    native: bool = False
    sandbox: SandboxLevel = SandboxLevel.NONE
    nice: int = 0
    supersede: bool = False


@frozen
class SubmitTogether:
    """Several submissions at once by one requester, who gets one mail about all of them."""

    items: tuple[Submit, ...] = field(metadata={"members": TOGETHER})


@frozen
class _OwnRequest:
    """Something about a Request; ``token`` proves that it is one's own."""

    request_id: int
    token: str = field(metadata={"most": 100})


@frozen
class Cancel(_OwnRequest):
    """A cancellation: ends a Request; ``token`` proves that it is one's own."""


@frozen
class Follow(_OwnRequest):
    """A subscription to every change of a Request until its end."""


@frozen
class AskStatus(_OwnRequest):
    """A question for the status of a Request."""


@frozen
class AskExplain:
    """A question what a submission would be answered, without making it; the fields are those of Submit."""

    project: str = field(metadata={"most": 80})
    source: str = field(metadata={"most": 400})
    revision: str = field(metadata={"most": 400})
    revrange: str = field(metadata={"most": 800})
    compile: dict[str, Value] = field(metadata={"members": 200})
    system: dict[str, Value] = field(metadata={"members": 100})
    local: dict[str, Value] = field(metadata={"members": 100})
    force: bool = False
    native: bool = False
    sandbox: SandboxLevel = SandboxLevel.NONE
    nice: int = 0
    supersede: bool = False


@frozen
class AskWhy(_OwnRequest):
    """A question why a Request waits."""


@frozen
class AskBuild:
    """A question of the pages for the state of an open Build, and why it waits."""

    build_id: int


@frozen
class FoundArtifact:
    """An artifact: name, URL, size in bytes, digests, what it was built for, in which sandbox, and what it needs."""

    name: str = field(metadata={"most": 255, "sent": 255})
    url: str = field(metadata={"sent": 700})
    size: int
    digest: str = field(metadata={"most": 64, "sent": 64})
    content_digest: str = field(metadata={"most": 64, "sent": 64})
    revision: str = field(metadata={"most": 400, "sent": 100})
    platform: Canonical = field(metadata={"members": 100, "whole": PLATFORM_SENT})
    kind: OfferKind
    server: str = field(metadata={"most": 100, "sent": 100})
    build_id: int
    built_at: float
    sandbox: SandboxLevel = SandboxLevel.NONE
    need: Canonical = field(default=(), metadata={"members": 8, "whole": NEED_SENT})


@frozen
class RequestStatus:
    """The status of a Request. ``answer`` is ``hit``, ``dispatched``, ``joined``, ``queued`` or ``known-failure``.

    ``state`` is the Request's, ``build_state`` its Build's; ``why`` holds lines for people when it is queued;
    ``log_url`` and ``page_url`` are empty where there is nothing yet. ``asked_at`` is when it was asked for, by the
    revision ``ref``. One that has not ended waits, or is built, ``since`` then (both wall time); ``usual`` is how many
    seconds such builds took on that build server, None where there were none. ``sandbox`` is the least level that does,
    ``kind`` how ``server`` makes it.
    """

    request_id: int
    token: str = field(metadata={"most": 100, "sent": 100})
    answer: str = field(metadata={"most": 40, "sent": 40})
    state: str = field(metadata={"most": 40, "sent": 40})
    project: str = field(metadata={"most": 80, "sent": 80})
    revision: str = field(metadata={"most": 400, "sent": 100})
    build_id: int | None
    build_state: str = field(metadata={"most": 40, "sent": 40})
    epoch: int
    server: str = field(metadata={"most": 100, "sent": 100})
    reason: str = field(metadata={"sent": 730, "kept": "start"})
    why: tuple[str, ...] = field(metadata={"sent": 200, "kept": "start", "members": 64, "members_sent": 8})
    artifact: FoundArtifact | None
    log_url: str = field(metadata={"sent": 500})
    page_url: str = field(metadata={"sent": 500})
    asked_at: float = 0.0
    ref: str = field(default="", metadata={"most": 400, "sent": 100, "kept": "start"})
    since: float = 0.0
    usual: float | None = None
    sandbox: SandboxLevel = SandboxLevel.NONE
    kind: str = field(default="", metadata={"most": 40, "sent": 20})


@frozen
class RequestStatuses:
    """The statuses of Requests: of those that were made together in the order of their submissions."""

    items: tuple[RequestStatus, ...] = field(metadata={"members": TOGETHER})


@frozen
class Explanation:
    """The answer that a submission would get, or the state of a Request or Build, and why.

    ``verdict`` is ``hit``, ``joined``, ``dispatched``, ``queued`` or ``known-failure``, or a state. ``steps`` is how
    many acceptable revisions are nearer than the artifact's. For a miss, ``nearest_artifact`` is what comes nearest and
    ``differences`` says in words in what it differs. ``nearest_server`` says what the best server lacks when none could
    ever build it. ``seconds`` is in how long a waiting Build may start, or a running one be done, and ``basis`` says
    what that is based on. Of the Builds ``ahead``, ``ahead_own`` are their own, the rest ``ahead_shares`` others'.
    """

    verdict: str
    project: str = field(metadata={"most": 80})
    revision: str = field(metadata={"most": 400})
    steps: int
    artifact: FoundArtifact | None
    nearest_artifact: FoundArtifact | None
    differences: tuple[str, ...] = field(metadata={"sent": 500, "kept": "start", "members": 64})
    build_id: int | None
    server: str = field(metadata={"most": 100})
    reason: str = field(metadata={"kept": "start"})
    reasons: tuple[WhyLine, ...] = field(metadata={"members": 64})
    nearest_server: str = field(metadata={"kept": "start"})
    ahead: int
    seconds: float | None
    basis: str = field(metadata={"kept": "start"})
    page_url: str = field(metadata={"sent": 500})
    ahead_own: int = 0
    ahead_shares: int = 0


@frozen
class AskHealth:
    """A question whether the metaserver can do its work."""


@frozen
class ReactorTurns:
    """The milliseconds of the reactor's turns in 5 minutes: half within ``p50_ms``; ``pause_max_ms`` was garbage's."""

    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    pause_max_ms: float


@frozen
class HealthStatus:
    """The metaserver's health: problems, a line each, how its reactor turns, ``backup_age`` in seconds, if known."""

    ok: bool
    problems: tuple[str, ...] = field(default=(), metadata={"sent": 1_000, "kept": "start", "members_sent": 50})
    turns: ReactorTurns | None = None
    backup_age: float | None = None


@frozen
class Refused:
    """The answer to anything that could not be done: the error's code and its one line."""

    code: str = field(metadata={"most": 60})
    message: str = field(metadata={"kept": "start"})


@frozen
class Register:
    """A login of a build server. The name is unique: another machine is refused as long as its holder is there.

    ``held`` are all Attempts that it has: those that build, and those whose end was not taken yet. ``instance`` is the
    secret name of its build directory, by which a restart is told from another machine.
    """

    server: str = field(metadata={"most": 100})
    capability: Capability
    held: tuple[Held, ...] = ()
    instance: str = field(default="", repr=False)
    notice: OwnerNotice = OwnerNotice()  # noqa: RUF009 - it never changes


@frozen
class Welcome:
    """The number of the Session, the metaserver's base URL for transfers, and limits in bytes.

    ``lease`` is for how many seconds an Attempt is believed alive after it was heard of; ``verdicts`` says what is to
    become of each Attempt that was held.
    """

    session: int
    transfer_url: str
    artifact_limit: int
    log_limit: int
    lease: float
    verdicts: tuple[HeldVerdict, ...] = ()


@frozen
class Heartbeat:
    """A sign of life of a build server, with all Attempts that it has, whose Leases begin anew, and a notice."""

    held: tuple[Held, ...] = ()
    notice: OwnerNotice = OwnerNotice()  # noqa: RUF009 - it never changes


@frozen
class HeartbeatAnswer:
    """The answer to a heartbeat: what is to become of those Attempts that are not simply to go on."""

    verdicts: tuple[HeldVerdict, ...] = ()


@frozen
class Draining:
    """A notice that a build server finishes what it has and takes no more orders."""

    reason: str = field(metadata={"kept": "start"})


@frozen
class _OfAttempt:
    """Something about one Attempt."""

    build_id: int
    epoch: int


@frozen
class Order(_OfAttempt):
    """An order to build: what, for which platform, and the tickets to send log and artifact with.

    The repository's URL and the commands are *not* here: they come from the build server's own configuration. The
    artifact goes to ``/uploads/<build>/<epoch>`` below the transfer URL of the Session in which it is delivered.
    ``request`` is the first that asked for it, or 0; ``sandbox`` is the least level to build it in.
    """

    project: str = field(metadata={"most": 80})
    source: str = field(metadata={"most": 400})
    revision: str = field(metadata={"most": 400})
    recipe_version: int
    options: Canonical = field(metadata={"members": 200, "whole": 120_000})
    platform: Canonical = field(metadata={"members": 100, "whole": 66_000})
    kind: OfferKind
    log_ticket: str = field(metadata={"most": 400})
    artifact_ticket: str = field(metadata={"most": 400})
    log_url: str
    request: int = 0
    sandbox: SandboxLevel = SandboxLevel.NONE


@frozen
class AbortOrder(_OfAttempt):
    """An order to stop an Attempt."""

    reason: str = field(metadata={"kept": "start"})


@frozen
class Accepted(_OfAttempt):
    """The answer to an order that the build server takes: the Attempt begins."""


@frozen
class Ended(_OfAttempt):
    """The end of an Attempt without an artifact, the last 16 KiB of its log, and the processor seconds it used."""

    end: AttemptEnd
    reason: str = field(metadata={"kept": "start"})
    log_tail: str = field(metadata={"most": LOG_TAIL_LIMIT, "kept": "end"})
    processor: float | None = None


@frozen
class Done(_OfAttempt):
    """The end of an Attempt with its artifact of ``size`` bytes: what it took, its sandbox, and what its files need."""

    digest: str = field(metadata={"most": 64})
    content_digest: str = field(metadata={"most": 64})
    size: int
    name: str = field(metadata={"most": 255})
    seconds: float
    log_tail: str = field(metadata={"most": LOG_TAIL_LIMIT, "kept": "end"})
    sandbox: SandboxLevel = SandboxLevel.NONE
    processor: float | None = None
    need: Canonical = field(default=(), metadata={"members": 8, "whole": 1_000})


@frozen
class RenewTickets(_OfAttempt):
    """A question for fresh tickets once the old ones have expired; with ``source``, for one for the commit too."""

    source: bool = False


@frozen
class Tickets:
    """A set of tickets; ``source_ticket``, if asked for, is for ``/sources/<build>/<epoch>`` below the transfer URL."""

    log_ticket: str = field(metadata={"most": 400})
    artifact_ticket: str = field(metadata={"most": 400})
    source_ticket: str = field(default="", metadata={"most": 400})


@frozen
class Goodbye:
    """A notice that a build server leaves of its own will: what follows is no lost connection."""

    reason: str = field(metadata={"kept": "start"})


@frozen
class Ok:
    """The answer to a message taken in; ``stale`` when its Attempt is no longer this Session's, and nothing changed."""

    stale: bool = False


# --- what each is called as -----------------------------------------------------------------------------

Calls = Mapping[str, type[AttrsInstance]]

REQUESTER: Calls = {
    "submit": Submit, "cancel": Cancel, "status": AskStatus, "follow": Follow, "together": SubmitTogether,
    "explain": AskExplain, "why": AskWhy, "build": AskBuild, "health": AskHealth, "projects": AskProjects,
    "requests": AskRequests, "refs": AskRefs,
}  # fmt: skip
"""What a requester may call at the metaserver."""

NEWS: Calls = {"moved": RequestStatus}
"""What the metaserver may call at whoever follows a Request."""
