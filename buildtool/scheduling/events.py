"""Events: facts that reached the broker, and what is asked of it.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

from attrs import frozen

from buildtool.model.options import Canonical
from buildtool.model.records import Artifact, AttemptEnd, Demand, RememberedFailure
from buildtool.model.servers import Capability, Held, OwnerNotice
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.scheduling.allowances import Places

_NO_NOTICE = OwnerNotice()


@frozen
class Older:
    """The older commits of a ref whose Requests a newer one takes the place of: pairs of a ref as typed and a full id.

    ``asker`` is the network address that these must have come from; None where a key proves whose they are.
    """

    commits: frozenset[tuple[str, str]]
    asker: str | None = None


@frozen
class Submitted:
    """A requester asks for a build; the demand is validated, complete, and its revision resolved.

    ``by`` says who did it where that was an operator, as for all that an operator may do: it is written down. ``asker``
    is the network address that it came from. One that is ``held`` waits until its e-mail address is confirmed.
    ``places`` limits how many Requests of its requester may wait; all that are asked for together have the same.
    ``share`` and ``nice`` are as in ``Request``; without a share it is the e-mail address. It takes the place of what
    its requester asked for of ``older`` commits.
    """

    client_id: str
    body_digest: str
    email: str
    demand: Demand
    force: bool = False
    by: str = ""
    asker: str = ""
    held: bool = False
    places: Places | None = None
    share: str = ""
    nice: int = 0
    older: Older | None = None


@frozen
class AddressConfirmed:
    """The e-mail address of a Request that is held was confirmed: it is admitted now. ``demand`` and ``force`` are its.

    It is one event for each Request, so that the reactor turns between them.
    """

    request_id: int
    demand: Demand
    force: bool = False


@frozen
class SubmittedTogether:
    """A requester asks for several builds at once, and wants one mail about all of them."""

    items: tuple[Submitted, ...]


@frozen
class CancelRequested:
    """A requester who proved that the Request is theirs no longer wants it.

    Where it is ended by another caller, ``by`` says who and ``reason`` why; its requester is mailed that.
    """

    request_id: int
    reason: str = ""
    by: str = ""


@frozen
class NiceSet:
    """A Request that waits is moved in the order: by ``nice`` rounds back, or forward where that is negative.

    ``by`` says which operator does it; who asked for it themselves, without a ``by``, only moves it back.
    """

    request_id: int
    nice: int
    by: str = ""


@frozen
class Registered:
    """A build server logs in and says what it can do, and which Attempts it has.

    ``instance``, ``origin`` and ``owner`` are as in ``Server``. ``silent`` is the Session of that name that was asked
    whether it is still there and did not answer; 0 if none was asked. ``notice`` is what its owner wishes.
    """

    server: str
    capability: Capability
    held: tuple[Held, ...] = ()
    instance: str = ""
    origin: str = ""
    silent: int = 0
    owner: str = ""
    notice: OwnerNotice = _NO_NOTICE


@frozen
class SessionEvent:
    """An event of one Session of a build server."""

    server: str
    session: int


@frozen
class HeldReported(SessionEvent):
    """A build server lives, these are all Attempts that it has, and this is what its owner wishes."""

    held: tuple[Held, ...]
    notice: OwnerNotice = _NO_NOTICE


@frozen
class DrainBegun(SessionEvent):
    """A build server finishes what it has and takes nothing more."""

    reason: str


@frozen
class Disconnected(SessionEvent):
    """The connection of this Session ended. ``clean`` when the server said good-bye, ``final`` if it never returns."""

    reason: str
    clean: bool = False
    final: bool = False


@frozen
class AttemptEvent(SessionEvent):
    """An event of one Attempt."""

    build_id: int
    epoch: int


@frozen
class AttemptAccepted(AttemptEvent):
    """A build server took an Attempt and begins."""


@frozen
class ArtifactUnkept(AttemptEvent):
    """A build server has finished an Attempt, and the metaserver has no place for its artifact: it goes on waiting."""

    reason: str


@frozen
class AttemptEnded(AttemptEvent):
    """A build server says how an Attempt ended without an artifact; its processes are gone.

    ``processor`` is the seconds of processors that it used, as far as they were measured.
    """

    end: AttemptEnd
    reason: str
    log_tail: str = ""
    processor: float | None = None


@frozen
class Delivered(AttemptEvent):
    """An Attempt's artifact arrived, ``size`` bytes, was verified, and lies under its digest: publish it.

    ``sandbox`` is the level in which its build server says that it was made, ``processor`` as in AttemptEnded. ``need``
    is what its files need, as that measured them.
    """

    digest: str
    content_digest: str
    size: int
    name: str
    seconds: float
    log_tail: str = ""
    sandbox: SandboxLevel = SandboxLevel.NONE
    processor: float | None = None
    need: Canonical = ()


@frozen
class ArtifactGone:
    """An artifact's file is absent or of another size: it must not be given out any more."""

    artifact: Artifact
    reason: str
    by: str = ""


@frozen
class ExpiryBegun:
    """A choice of what expires begins: what is promised from here on, until the next of these, stays."""


@frozen
class ArtifactExpired:
    """An artifact goes by a rule of what is kept, which ``reason`` says, unless it was promised since it was chosen."""

    artifact: Artifact
    reason: str


@frozen
class Restarted:
    """The metaserver starts: no peer is connected any more, and every Lease gets a fresh full term."""


@frozen
class ClockStepped:
    """A jump of wall time by so many seconds: what waits for a time waits as long as it would have."""

    seconds: float


@frozen
class ServerPaused:
    """The operator lets a build server take nothing more until it is resumed."""

    server: str
    reason: str
    by: str = ""


@frozen
class ServerDrained:
    """The operator lets a build server take nothing more, and wants it written down when what it has is finished."""

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
    """The operator ends an open Build; all who wait for it are mailed the reason."""

    build_id: int
    reason: str
    by: str = ""


@frozen
class FailureForgotten:
    """The operator wants what failed to be built again at the next request for it."""

    failure: RememberedFailure
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
    """A question what a submission would be answered; changes nothing. The other fields are as in ``Submitted``."""

    demand: Demand
    force: bool = False
    share: str = ""
    nice: int = 0
    email: str = ""
    older: Older | None = None


@frozen
class AskedWhy:
    """A question for the state of an open Build and why it waits; changes nothing."""

    build_id: int


@frozen
class Tick:
    """A passing of time: everything that waits for a time is looked at."""


Event = (
    Submitted
    | SubmittedTogether
    | AddressConfirmed
    | CancelRequested
    | NiceSet
    | Registered
    | HeldReported
    | DrainBegun
    | Disconnected
    | AttemptAccepted
    | ArtifactUnkept
    | AttemptEnded
    | Delivered
    | ArtifactGone
    | ExpiryBegun
    | ArtifactExpired
    | Restarted
    | ClockStepped
    | ServerPaused
    | ServerDrained
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
        case Submitted() | Explain() | AddressConfirmed():
            return () if event.force else (event.demand,)
        case SubmittedTogether():
            return tuple(item.demand for item in event.items if not item.force)
        case _:
            return ()
