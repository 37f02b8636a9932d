"""The shapes of all messages that cross the wire, as frozen values of plain fields; ``wire`` encodes and checks them.

Everything here is hostile until decoded: lengths are bounded by ``wire.decode``, and meaning is validated by the
metaserver (for requesters and build servers) and by the build server (for orders).
"""

from __future__ import annotations

from attrs import field, frozen

from buildtool.domain.model import ADDED, AttemptEnd, Capability, Held, Judged, OfferKind
from buildtool.domain.options import Canonical
from buildtool.domain.platforms import Value

PROTOCOL_VERSION = 2
"""Raised whenever either side could misunderstand the other; compared in the first message."""

TOGETHER = 64
"""Most builds that are asked for at once."""

SOFTWARE = "buildtool"


@frozen
class Hello:
    """The first message of every connection: who is there (``requester``, ``build server``, ``web``)."""

    protocol: int
    role: str
    software: str


# --- requester -> metaserver ---------------------------------------------------------------------------


@frozen
class Submit:
    """Ask for a build. Only what the requester set is sent; ``local`` is their own machine's artifact properties."""

    client_id: str
    project: str
    email: str
    source: str
    revision: str
    revrange: str
    compile: dict[str, Value]
    system: dict[str, Value]
    local: dict[str, Value]
    force: bool = False
    native: bool = False


@frozen
class SubmitTogether:
    """Ask for several builds at once, by one requester, who gets one mail about all of them."""

    items: tuple[Submit, ...]


@frozen
class Cancel:
    """End a Request; ``token`` proves that it is one's own."""

    request_id: int
    token: str


@frozen
class Follow:
    """Hear of every change of a Request until its end."""

    request_id: int
    token: str


@frozen
class AskStatus:
    """Ask how a Request stands."""

    request_id: int
    token: str


@frozen
class AskExplain:
    """Ask what a submission would be answered, without making it; the fields are those of Submit."""

    project: str
    source: str
    revision: str
    revrange: str
    compile: dict[str, Value]
    system: dict[str, Value]
    local: dict[str, Value]
    force: bool = False
    native: bool = False


@frozen
class AskWhy:
    """Ask why a Request waits."""

    request_id: int
    token: str


@frozen
class AskBuild:
    """Ask how an open Build stands and why it waits; the pages do."""

    build_id: int


# --- metaserver -> requester ---------------------------------------------------------------------------


@frozen
class Found:
    """Where an artifact is: name, URL on the transfer port, size in bytes, digests, and what it was built for."""

    name: str
    url: str
    size: int
    digest: str
    content_digest: str
    revision: str
    platform: Canonical
    kind: OfferKind
    server: str
    build_id: int
    built_at: float


@frozen
class Told:
    """How a Request stands. ``answer`` is ``hit``, ``dispatched``, ``joined``, ``queued`` or ``known-failure``.

    ``state`` is the Request's, ``build_state`` its Build's; ``why`` holds lines for people when it is queued;
    ``log_url`` and ``page_url`` are empty where there is nothing yet.
    """

    request_id: int
    token: str
    answer: str
    state: str
    project: str
    revision: str
    build_id: int | None
    build_state: str
    epoch: int
    server: str
    reason: str
    why: tuple[str, ...]
    artifact: Found | None
    log_url: str
    page_url: str


@frozen
class ToldTogether:
    """How Requests stand that were made together, in the order of their submissions."""

    items: tuple[Told, ...]


@frozen
class WhyLine:
    """One reason for waiting, in words, with the servers it holds for (at most 20 names) and how many they are."""

    words: str
    servers: tuple[str, ...]
    count: int


@frozen
class Explanation:
    """What a submission would be answered, or how a Request or Build stands, and why.

    ``verdict`` is ``hit``, ``joined``, ``dispatched``, ``queued`` or ``known-failure``, or a state. ``steps`` is how
    many acceptable revisions are nearer than the artifact's. For a miss, ``nearest_artifact`` is what comes nearest and
    ``differences`` says in words in what it differs. ``nearest_server`` says what the best server lacks when none could
    ever build it. ``seconds`` is in how long a waiting Build may start, or a running one be done, and ``basis`` says
    what that is based on.
    """

    verdict: str
    project: str
    revision: str
    steps: int
    artifact: Found | None
    nearest_artifact: Found | None
    differences: tuple[str, ...]
    build_id: int | None
    server: str
    reason: str
    reasons: tuple[WhyLine, ...]
    nearest_server: str
    ahead: int
    seconds: float | None
    basis: str
    page_url: str


@frozen
class AskHealth:
    """Ask whether the metaserver can do its work."""


@frozen
class Turns:
    """How long the turns of the metaserver's reactor took in the last five minutes, in milliseconds.

    Half of them ended within ``p50_ms``, 99 of 100 within ``p99_ms``, 999 of 1,000 within ``p999_ms``; the longest took
    ``max_ms``. ``pause_max_ms`` is the longest pause in which Python looked for garbage.
    """

    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    pause_max_ms: float


@frozen
class HealthTold:
    """Whether the metaserver can do its work, and what keeps it from doing so, each in one line; and how it turns."""

    ok: bool
    problems: tuple[str, ...] = ()
    turns: Turns | None = None


@frozen
class Refused:
    """The answer to anything that could not be done: the error's code and its one line."""

    code: str
    message: str


# --- build server -> metaserver ------------------------------------------------------------------------


@frozen
class Register:
    """Log in as a build server. The name is unique: another machine is refused as long as its holder is there.

    ``held`` are all Attempts that it has: those that build, and those whose end nobody has taken yet. ``instance`` is
    the secret name of its build directory, by which a restart is told from another machine.
    """

    server: str
    capability: Capability
    held: tuple[Held, ...] = ()
    instance: str = field(default="", metadata=ADDED, repr=False)


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
    verdicts: tuple[Judged, ...] = ()


@frozen
class Heartbeat:
    """A build server lives, and these are all Attempts that it has: their Leases begin anew."""

    held: tuple[Held, ...] = ()


@frozen
class Heard:
    """The answer to a heartbeat: what is to become of those Attempts that are not simply to go on."""

    verdicts: tuple[Judged, ...] = ()


@frozen
class Draining:
    """A build server finishes what it has and takes no more orders."""

    reason: str


@frozen
class Order:
    """Build this: what, for which platform, and the tickets to send log and artifact with.

    The repository's URL and the commands are *not* here: they come from the build server's own configuration. The
    artifact goes to ``/uploads/<build>/<epoch>`` below the transfer URL of the Session in which it is delivered.
    """

    build_id: int
    epoch: int
    project: str
    source: str
    revision: str
    recipe_version: int
    options: Canonical
    platform: Canonical
    kind: OfferKind
    log_ticket: str
    artifact_ticket: str
    log_url: str


@frozen
class AbortOrder:
    """Stop an Attempt."""

    build_id: int
    epoch: int
    reason: str


@frozen
class Accepted:
    """The build server takes an Attempt and begins."""

    build_id: int
    epoch: int


@frozen
class Ended:
    """How an Attempt ended without an artifact. ``log_tail`` is the end of the log, at most 16 KiB."""

    build_id: int
    epoch: int
    end: AttemptEnd
    reason: str
    log_tail: str


@frozen
class Done:
    """The artifact of an Attempt is uploaded: publish it. ``seconds`` is what the build took."""

    build_id: int
    epoch: int
    digest: str
    content_digest: str
    size: int
    name: str
    seconds: float
    log_tail: str


@frozen
class RenewTickets:
    """Ask for fresh tickets for an Attempt whose old ones have expired; with ``source``, for one for its commit too."""

    build_id: int
    epoch: int
    source: bool = field(default=False, metadata=ADDED)


@frozen
class Tickets:
    """Fresh tickets. ``source_ticket``, if asked for, is for ``/sources/<build>/<epoch>`` below the transfer URL."""

    log_ticket: str
    artifact_ticket: str
    source_ticket: str = field(default="", metadata=ADDED)


@frozen
class Goodbye:
    """A build server leaves of its own will: what follows is no lost connection."""

    reason: str


@frozen
class Ok:
    """Taken in. ``stale`` when it concerns an Attempt that is no longer this Session's, and changed nothing."""

    stale: bool = False


LOG_TAIL_LIMIT = 16 * 1024
"""Most bytes of a log's end that travel in a message and are kept in the database."""
