"""What the operator's programs and the running metaserver say to each other over its local socket.

The same rules as for ``messages``: frozen values of plain fields, encoded and checked by ``codec``.
"""

from __future__ import annotations

from attrs import field, frozen

from buildtool.protocol.messages import ReactorTurns

# --- operator -> metaserver ----------------------------------------------------------------------------


@frozen
class AskFarmStatus:
    """A question for the status of the farm."""


@frozen
class PauseServer:
    """An action: give a build server no more builds until it is resumed."""

    server: str = field(metadata={"most": 100})
    reason: str = field(metadata={"kept": "start"})


@frozen
class DrainServer:
    """An action: give a build server nothing more, and say what runs there; or, with ``only_look``, say only that."""

    server: str = field(metadata={"most": 100})
    reason: str = field(default="", metadata={"kept": "start"})
    only_look: bool = False


@frozen
class ResumeServer:
    """An action: give a build server builds again."""

    server: str = field(metadata={"most": 100})


@frozen
class ForgetServer:
    """An action: forget a build server that does not come back, or never was one."""

    server: str = field(metadata={"most": 100})


@frozen
class AbortBuild:
    """An action: end an open Build; the requesters that wait for it are mailed the reason."""

    build_id: int
    reason: str = field(metadata={"kept": "start"})


@frozen
class _Several:
    """What an action ends together: all of one of these projects, platforms and people, where any are named.

    With ``only_count`` nothing is ended. ``until`` is the largest id that it is about, 0 for any, and ``said`` how many
    there were when somebody looked, so that who asks is told how many of these had ended meanwhile.
    """

    projects: tuple[str, ...] = field(default=(), metadata={"most": 80, "members": 100})
    platforms: tuple[str, ...] = field(default=(), metadata={"most": 200, "members": 100})
    people: tuple[str, ...] = field(default=(), metadata={"most": 400, "members": 100})
    reason: str = field(default="", metadata={"kept": "start"})
    only_count: bool = False
    until: int = 0
    said: int = 0


@frozen
class AbortSeveral(_Several):
    """An action: end all open Builds of a project, a platform, or that a person waits for."""


@frozen
class CancelSeveral(_Several):
    """An action: end all Requests of a project, platform or person that wait."""


@frozen
class RaiseRequest:
    """An action: move a Request that waits forward by so many rounds; 0 takes it back."""

    request_id: int
    rounds: int


@frozen
class LowerRequest:
    """An action: move a Request that waits back by so many rounds; ``token`` proves that it is one's own."""

    request_id: int
    rounds: int
    token: str = field(default="", metadata={"most": 100})


@frozen
class RebuildBuild:
    """An action: build again what a Build built, whatever is there; no mail is sent if ``email`` is empty.

    ``client_id`` is new for each action (32 hex digits), so that it is done once however often it is sent.
    """

    build_id: int
    email: str = field(metadata={"most": 400})
    client_id: str = field(metadata={"most": 64})


@frozen
class PurgeArtifact:
    """An action: withdraw an artifact, named by its id or its digest, and delete its file."""

    artifact: str
    reason: str = field(metadata={"kept": "start"})


@frozen
class PurgeBuiltBy:
    """An action: withdraw all artifacts that a build server made, and delete their files."""

    server: str = field(metadata={"most": 100})
    reason: str = field(metadata={"kept": "start"})


@frozen
class ForgetFailure:
    """An action: forget that a Build failed, so that the next request for the same has it built."""

    build_id: int


@frozen
class Drain:
    """An action: start no more builds and end the metaserver once none runs; or, if ``on`` is False, go on as usual."""

    on: bool


@frozen
class ReportBounce:
    """A report that a mail came back; ``tag`` stood in the address that it was sent from."""

    tag: str = field(metadata={"most": 60})
    reason: str = field(metadata={"kept": "start"})


# --- metaserver -> operator ----------------------------------------------------------------------------


@frozen
class ServerStatus:
    """A build server in the farm's status: its state in one word, why if that is a problem, and its slots."""

    server: str = field(metadata={"most": 100, "sent": 100})
    state: str = field(metadata={"most": 40, "sent": 40})
    reason: str = field(metadata={"sent": 600, "kept": "start"})
    running: int
    slots: int


@frozen
class RunningBuildStatus:
    """A Build that runs, for how many ``seconds``, and the state of its Attempt."""

    build_id: int
    epoch: int
    project: str = field(metadata={"most": 80, "sent": 80})
    revision: str = field(metadata={"most": 400, "sent": 100})
    server: str = field(metadata={"most": 100, "sent": 100})
    state: str = field(metadata={"most": 40, "sent": 40})
    seconds: float


@frozen
class WaitingBuildStatus:
    """A Build that waits, how many Requests wait for it, for how many seconds, and why."""

    build_id: int
    project: str = field(metadata={"most": 80, "sent": 80})
    revision: str = field(metadata={"most": 400, "sent": 100})
    requests: int
    seconds: float
    why: tuple[str, ...] = field(metadata={"sent": 300, "kept": "start", "members": 64, "members_sent": 8})


@frozen
class FarmStatus:
    """The status of the farm. The lists are bounded, the counts are exact.

    ``draining`` says that the metaserver ends once nothing runs; ``waiting`` is in the order of the queue. How much
    mail is left is None while the database cannot be read, which ``problems`` says.
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
    stands: tuple[ServerStatus, ...] = field(metadata={"members_sent": 300})
    running: tuple[RunningBuildStatus, ...] = field(metadata={"members_sent": 200})
    waiting: tuple[WaitingBuildStatus, ...] = field(metadata={"members_sent": 20})
    turns: ReactorTurns | None = None


@frozen
class SeveralEnded:
    """The number of things that were ended together, or would be, in lines for people.

    ``left`` were left alone, since the caller may not end them; ``until`` is the largest id of the others. Where there
    are ``more`` the same is to be asked again.
    """

    words: tuple[str, ...] = field(metadata={"sent": 1_000, "kept": "start", "members_sent": 10})
    count: int
    left: int = 0
    until: int = 0
    more: bool = False


@frozen
class ActionResult:
    """The result of an action, in lines for people. ``changed`` is False where it was so already.

    ``build_id`` is the Build that the action led to, ``count`` the number of things that it was about.
    """

    words: tuple[str, ...] = field(metadata={"sent": 1_000, "kept": "start", "members_sent": 100})
    changed: bool = True
    build_id: int | None = None
    count: int = 1
