"""What the operator's programs and the running metaserver say to each other over its local socket.

The same rules as for ``protocol``: frozen values of plain fields, encoded and checked by ``wire``.
"""

from __future__ import annotations

from attrs import field, frozen

from buildtool.protocol.messages import ReactorTurns

# --- operator -> metaserver ----------------------------------------------------------------------------


@frozen
class AskStanding:
    """Ask how everything stands."""


@frozen
class PauseServer:
    """Give a build server nothing more until it is resumed."""

    server: str = field(metadata={"most": 100})
    reason: str = field(metadata={"kept": "start"})


@frozen
class ResumeServer:
    """Give a build server builds again."""

    server: str = field(metadata={"most": 100})


@frozen
class ForgetServer:
    """Know a build server no more: it does not come back, or never was one."""

    server: str = field(metadata={"most": 100})


@frozen
class AbortBuild:
    """End an open Build; whoever waits for it is mailed the reason."""

    build_id: int
    reason: str = field(metadata={"kept": "start"})


@frozen
class RebuildBuild:
    """Build again what a Build built, whatever is there; ``email`` may be empty, and then nobody is mailed.

    ``client_id`` is new for each act (32 hex digits), so that it is done once however often it is sent.
    """

    build_id: int
    email: str = field(metadata={"most": 400})
    client_id: str = field(metadata={"most": 64})


@frozen
class PurgeArtifact:
    """Give an artifact out no more, and delete its file; it is named by its id or its digest."""

    artifact: str
    reason: str = field(metadata={"kept": "start"})


@frozen
class PurgeBuiltBy:
    """Do so with everything that a build server made."""

    server: str = field(metadata={"most": 100})
    reason: str = field(metadata={"kept": "start"})


@frozen
class ForgetFailure:
    """Forget that a Build failed, so that who asks for the same has it built."""

    build_id: int


@frozen
class Drain:
    """Start no more builds and end the metaserver once none runs; or, ``on`` being False, go on as usual."""

    on: bool


# --- metaserver -> operator ----------------------------------------------------------------------------


@frozen
class ServerStands:
    """A build server: in one word how it stands, why if that is not as it should be, and its slots."""

    server: str = field(metadata={"most": 100, "sent": 100})
    state: str = field(metadata={"most": 40, "sent": 40})
    reason: str = field(metadata={"sent": 600, "kept": "start"})
    running: int
    slots: int


@frozen
class RunningTold:
    """A Build that runs; ``seconds`` is for how long, ``state`` that of its Attempt."""

    build_id: int
    epoch: int
    project: str = field(metadata={"most": 80, "sent": 80})
    revision: str = field(metadata={"most": 400, "sent": 100})
    server: str = field(metadata={"most": 100, "sent": 100})
    state: str = field(metadata={"most": 40, "sent": 40})
    seconds: float


@frozen
class WaitingTold:
    """A Build that waits, how many Requests wait for it, for how many seconds, and why."""

    build_id: int
    project: str = field(metadata={"most": 80, "sent": 80})
    revision: str = field(metadata={"most": 400, "sent": 100})
    requests: int
    seconds: float
    why: tuple[str, ...] = field(metadata={"sent": 300, "kept": "start", "members": 64, "members_sent": 8})


@frozen
class FarmStatus:
    """How everything stands. The lists are bounded, the counts are exact.

    ``draining`` says that the metaserver ends once nothing runs; ``waiting`` is in the order of the queue. How much
    mail is left is None while the database cannot be read, which ``problems`` says. ``turns`` is how the reactor turns.
    """

    requests: int
    builds_running: int
    builds_waiting: int
    servers_connected: int
    servers_known: int
    mail_unsent: int | None
    mail_refused: int | None
    draining: bool
    problems: tuple[str, ...] = field(metadata={"sent": 1_000, "kept": "start", "members_sent": 51})
    stands: tuple[ServerStands, ...] = field(metadata={"members_sent": 300})
    running: tuple[RunningTold, ...] = field(metadata={"members_sent": 200})
    waiting: tuple[WaitingTold, ...] = field(metadata={"members_sent": 20})
    turns: ReactorTurns | None = None


@frozen
class ActionResult:
    """What came of an act, in lines for people. ``changed`` is False where it was so already.

    ``build_id`` is the Build that an act led to, ``count`` of how many things it was about.
    """

    words: tuple[str, ...] = field(metadata={"sent": 1_000, "kept": "start", "members_sent": 100})
    changed: bool = True
    build_id: int | None = None
    count: int = 1
