"""Events in, Effects out: all that the scheduler hears and all that it may ask for."""

from __future__ import annotations

from attrs import frozen

from buildtool.domain.estimates import Estimate
from buildtool.domain.matching import Reason
from buildtool.domain.model import (
    Artifact,
    Attempt,
    AttemptEnd,
    Build,
    Capability,
    Demand,
    FailedHere,
    Held,
    Judged,
    Request,
)

# --- Events: facts that reached the broker ------------------------------------------------------------


@frozen
class Submitted:
    """A requester asks for a build; the demand is validated, complete, and its revision resolved.

    ``by`` says who did it where that was an operator, as for all that an operator may do: it is written down. ``asker``
    is the network address that it came from.
    """

    client_id: str
    body_digest: str
    email: str
    demand: Demand
    force: bool = False
    by: str = ""
    asker: str = ""


@frozen
class SubmittedTogether:
    """A requester asks for several builds at once, and wants one mail about all of them."""

    items: tuple[Submitted, ...]


@frozen
class CancelRequested:
    """A requester who proved that the Request is theirs no longer wants it."""

    request_id: int


@frozen
class Registered:
    """A build server logs in and says what it can do, and which Attempts it has.

    ``instance`` and ``origin`` are as in ``Server``. ``silent`` is the Session of that name that was asked whether it
    is still there and did not answer; 0 if none was asked.
    """

    server: str
    capability: Capability
    held: tuple[Held, ...] = ()
    instance: str = ""
    origin: str = ""
    silent: int = 0


@frozen
class HeldReported:
    """A build server lives, and these are all Attempts that it has."""

    server: str
    session: int
    held: tuple[Held, ...]


@frozen
class DrainBegun:
    """A build server finishes what it has and takes nothing more."""

    server: str
    session: int
    reason: str


@frozen
class Disconnected:
    """The connection of this Session ended. ``clean`` when the server said good-bye."""

    server: str
    session: int
    reason: str
    clean: bool = False


@frozen
class AttemptAccepted:
    """A build server took an Attempt and begins."""

    server: str
    session: int
    build_id: int
    epoch: int


@frozen
class ArtifactUnkept:
    """A build server has finished an Attempt, and the metaserver has no place for its artifact: it goes on waiting."""

    server: str
    session: int
    build_id: int
    epoch: int
    reason: str


@frozen
class AttemptEnded:
    """A build server says how an Attempt ended without an artifact; its processes are gone."""

    server: str
    session: int
    build_id: int
    epoch: int
    end: AttemptEnd
    reason: str
    log_tail: str = ""


@frozen
class Delivered:
    """An Attempt's artifact arrived, was verified, and lies under its digest: publish it."""

    server: str
    session: int
    build_id: int
    epoch: int
    digest: str
    content_digest: str
    size: int
    name: str
    seconds: float
    log_tail: str = ""


@frozen
class ArtifactGone:
    """An artifact's file is absent or of another size: it must not be given out any more."""

    artifact: Artifact
    reason: str
    by: str = ""


@frozen
class Restarted:
    """The metaserver starts: nobody is connected any more, and every Lease gets a fresh full term."""


@frozen
class ClockStepped:
    """Wall time jumped by so many seconds: what waits for a time waits as long as it would have."""

    seconds: float


@frozen
class ServerPaused:
    """The operator lets a build server take nothing more until it is resumed."""

    server: str
    reason: str
    by: str = ""


@frozen
class ServerResumed:
    """The operator lets a build server take builds again."""

    server: str
    by: str = ""


@frozen
class ServerForgotten:
    """The operator knows that a build server does not come back under its name."""

    server: str
    by: str = ""


@frozen
class BuildAborted:
    """The operator ends an open Build; everybody who waits for it is mailed the reason."""

    build_id: int
    reason: str
    by: str = ""


@frozen
class FailureForgotten:
    """The operator wants a remembered failure to be built again when somebody asks."""

    failure: FailedHere
    by: str = ""


@frozen
class DispatchHeld:
    """The operator lets no Build start, or lets them start again."""

    held: bool
    by: str = ""


@frozen
class Reconfigured:
    """The operator's configuration was read again; who can build what may be different now."""


@frozen
class Explain:
    """Somebody wants to know what a submission would be answered; changes nothing."""

    demand: Demand
    force: bool = False


@frozen
class AskedWhy:
    """Somebody wants to know how an open Build stands and why it waits; changes nothing."""

    build_id: int


@frozen
class Tick:
    """Time has passed: look at everything that waits for a time."""


Event = (
    Submitted
    | SubmittedTogether
    | CancelRequested
    | Registered
    | HeldReported
    | DrainBegun
    | Disconnected
    | AttemptAccepted
    | ArtifactUnkept
    | AttemptEnded
    | Delivered
    | ArtifactGone
    | Restarted
    | ClockStepped
    | ServerPaused
    | ServerResumed
    | ServerForgotten
    | BuildAborted
    | FailureForgotten
    | DispatchHeld
    | Reconfigured
    | Tick
    | Explain
    | AskedWhy
)


def submissions(event: Event) -> tuple[Submitted, ...]:
    """Return the submissions that an event makes."""
    match event:
        case Submitted():
            return (event,)
        case SubmittedTogether():
            return event.items
        case _:
            return ()


def hits_wanted(event: Event) -> tuple[Demand, ...]:
    """Return what an event may be answered with an artifact for; what is forced never is."""
    match event:
        case Submitted() | Explain():
            return () if event.force else (event.demand,)
        case SubmittedTogether():
            return tuple(item.demand for item in event.items if not item.force)
        case _:
            return ()


# --- Answers: what the sender of an Event is told, once the decision is committed ------------------------


@frozen
class Hit:
    """A finished artifact satisfies the request."""

    request: Request
    artifact: Artifact


@frozen
class Dispatched:
    """A new Build was given to a build server at once."""

    request: Request
    build: Build
    server: str


@frozen
class JoinedBuild:
    """The request waits for a Build that was open already."""

    request: Request
    build: Build


@frozen
class Queued:
    """No build server can take the new Build now; why not is computed when somebody asks."""

    request: Request
    build: Build


@frozen
class KnownFailure:
    """Exactly this failed before, not long ago; ``force`` would build it again."""

    request: Request
    build_id: int
    reason: str


@frozen
class RepeatedSubmission:
    """The same client request id and body came before; the answer given then stands on the request's row."""

    request_id: int
    answer: str


@frozen
class ConflictingSubmission:
    """The same client request id came before with another body."""

    request_id: int


@frozen
class AnsweredTogether:
    """The answers to submissions that were made together, in their order."""

    answers: tuple[Answer, ...]


@frozen
class Cancelled:
    """The Request has ended, now or before; ``request`` is as it is now. None when no such one is open."""

    request: Request | None


@frozen
class SessionOpened:
    """The number of the Session that a login made, and what is to become of each Attempt that was held."""

    session: int
    verdicts: tuple[Judged, ...] = ()


@frozen
class NameHeld:
    """A login was not taken: its name is somebody else's, or may be.

    With a ``session`` that one is connected, ``kin`` if by the same instance, and has to be asked whether it is still
    there. Without one, the name's holder is away since ``since`` and expected back until ``until``.
    """

    session: int
    origin: str
    since: float
    kin: bool = False
    until: float = 0.0


@frozen
class NoPlace:
    """A login was not taken: so many names are known, and none of them can be forgotten."""

    known: int


@frozen
class HeldJudged:
    """What is to become of those Attempts of a heartbeat that are not simply to go on."""

    verdicts: tuple[Judged, ...] = ()
    stale: bool = False


@frozen
class Noted:
    """The Event was taken in. ``stale`` when it came from an older Session or Attempt and changed nothing."""

    stale: bool = False


@frozen
class ServerReasons:
    """The same reasons why servers do not build something now, and which: at most 20 names, and how many in all."""

    reasons: tuple[Reason, ...]
    servers: tuple[str, ...]
    count: int


@frozen
class Why:
    """Why a Build waits: reasons grouped over the servers, and how many Builds are ahead of it.

    ``halted`` says what keeps it from every server, if no server is to blame.
    """

    groups: tuple[ServerReasons, ...]
    servers: int
    ahead: int
    not_before: float = 0.0
    nearest: str = ""
    estimate: Estimate | None = None
    halted: str = ""


@frozen
class Explained:
    """What a submission would be answered, or how an open Build stands.

    ``verdict`` is ``hit``, ``joined``, ``dispatched``, ``queued`` or ``known-failure``, or an open Build's state;
    ``steps`` how many acceptable revisions are nearer than the artifact's; ``estimate`` how long the Build will take,
    or, for one that runs, in how long it will be done. All None and empty when no such Build is open.
    """

    verdict: str
    artifact: Artifact | None = None
    steps: int = 0
    build: Build | None = None
    build_id: int | None = None
    server: str = ""
    reason: str = ""
    why: Why | None = None
    estimate: Estimate | None = None


Answer = (
    Hit
    | Dispatched
    | JoinedBuild
    | Queued
    | KnownFailure
    | RepeatedSubmission
    | ConflictingSubmission
    | AnsweredTogether
    | Cancelled
    | SessionOpened
    | NameHeld
    | NoPlace
    | HeldJudged
    | Noted
    | Explained
)

# --- Effects: acts asked for, performed only after the commit ---------------------------------------------


@frozen
class Dispatch:
    """Send this Attempt to its build server."""

    attempt: Attempt
    build: Build


@frozen
class Abort:
    """Tell the build server to end an Attempt: TERM, then KILL, for the whole process group."""

    server: str
    session: int
    build_id: int
    epoch: int
    reason: str


@frozen
class Fence:
    """Close the connection of an older Session; a newer one of the same server stands."""

    server: str
    session: int


@frozen
class MailWritten:
    """There is new mail in the outbox."""


@frozen
class RequestMoved:
    """A Request changed in a way that its follower wants to hear of."""

    request: Request
    build_state: str = ""
    epoch: int = 0
    server: str = ""


@frozen
class Happened:
    """One row of the events table: what happened to whom, for live pages, audit and resuming."""

    kind: str
    subject: str
    detail: str = ""


Effect = Dispatch | Abort | Fence | MailWritten | RequestMoved | Happened
