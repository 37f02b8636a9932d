"""Answers: what the sender of an event is told, once the decision is committed.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

from attrs import frozen

from buildtool.model.matching.reasons import Reason
from buildtool.model.records import Artifact, Build, Request
from buildtool.model.servers import HeldVerdict
from buildtool.scheduling.state.estimates import Estimate

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
    """No build server can take the new Build now; why not is computed when it is asked."""

    request: Request
    build: Build


@frozen
class KnownFailure:
    """The answer to a Request of which exactly the same failed not long ago; ``force`` would build it again."""

    request: Request
    build_id: int
    reason: str


@frozen
class Unconfirmed:
    """The request waits until its e-mail address is confirmed."""

    request: Request


@frozen
class NoPlace:
    """No Request was made, since more would wait than may; ``said`` is which limit that is, for people."""

    said: str


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
class Moved:
    """A Request as it stands in the order now, None where none waits, and the Build that it waits for.

    It was moved only if it is ``changed``; ``ahead`` is how many Builds stand before it then.
    """

    request: Request | None
    build: Build | None = None
    ahead: int | None = None
    changed: bool = False


@frozen
class SessionOpened:
    """The number of the Session that a login made, and what is to become of each Attempt that was held."""

    session: int
    verdicts: tuple[HeldVerdict, ...] = ()


@frozen
class NameHeld:
    """A login was not taken: its name is another build server's, or may be.

    With a ``session`` that one is connected, ``kin`` if by the same instance, and has to be asked whether it is still
    there. Without one, the name's holder is away since ``since`` and expected back until ``until`` (wall time).
    """

    session: int
    origin: str
    since: float
    kin: bool = False
    until: float = 0.0


@frozen
class NameLimitReached:
    """A login was not taken: so many names are known, and none of them can be forgotten."""

    known: int


@frozen
class HeldVerdicts:
    """The verdicts on those Attempts of a heartbeat that are not simply to go on."""

    verdicts: tuple[HeldVerdict, ...] = ()
    stale: bool = False


@frozen
class Acknowledged:
    """The Event was taken in. ``stale`` when it came from an older Session or Attempt and changed nothing."""

    stale: bool = False


@frozen
class ServerReasons:
    """The same reasons why servers do not build something now, and which: at most 20 names, and how many in all."""

    reasons: tuple[Reason, ...]
    servers: tuple[str, ...]
    count: int


@frozen
class WaitReasons:
    """The reasons why a Build waits, grouped over the servers, and how many Builds are ahead of it.

    ``ahead_own`` of them are of the same share, the others of ``ahead_shares``, as far as they were looked at.
    ``halted`` says what keeps it from every server, if no server is to blame; ``not_before`` is wall time.
    """

    groups: tuple[ServerReasons, ...]
    servers: int
    ahead: int
    not_before: float = 0.0
    nearest: str = ""
    estimate: Estimate | None = None
    halted: str = ""
    ahead_own: int = 0
    ahead_shares: int = 0


@frozen
class ExplainedAnswer:
    """The answer that a submission would get, or the state of an open Build.

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
    why: WaitReasons | None = None
    estimate: Estimate | None = None


Admitted = Hit | Dispatched | JoinedBuild | Queued | KnownFailure
"""What a new Request is answered."""

Answer = (
    Admitted
    | Unconfirmed
    | NoPlace
    | RepeatedSubmission
    | ConflictingSubmission
    | AnsweredTogether
    | Cancelled
    | Moved
    | SessionOpened
    | NameHeld
    | NameLimitReached
    | HeldVerdicts
    | Acknowledged
    | ExplainedAnswer
)
