"""What the operator's programs and the running metaserver say to each other over its local socket.

The same rules as for ``protocol``: frozen values of plain fields, encoded and checked by ``wire``.
"""

from __future__ import annotations

from attrs import frozen

from buildtool.protocol import Turns

# --- operator -> metaserver ----------------------------------------------------------------------------


@frozen
class AskStanding:
    """Ask how everything stands."""


@frozen
class PauseServer:
    """Give a build server nothing more until it is resumed."""

    server: str
    reason: str


@frozen
class ResumeServer:
    """Give a build server builds again."""

    server: str


@frozen
class ForgetServer:
    """Know a build server no more: it does not come back, or never was one."""

    server: str


@frozen
class AbortBuild:
    """End an open Build; whoever waits for it is mailed the reason."""

    build_id: int
    reason: str


@frozen
class RebuildBuild:
    """Build again what a Build built, whatever is there; ``email`` may be empty, and then nobody is mailed.

    ``client_id`` is new for each act (32 hex digits), so that it is done once however often it is sent.
    """

    build_id: int
    email: str
    client_id: str


@frozen
class PurgeArtifact:
    """Give an artifact out no more, and delete its file; it is named by its id or its digest."""

    artifact: str
    reason: str


@frozen
class PurgeBuiltBy:
    """Do so with everything that a build server made."""

    server: str
    reason: str


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

    server: str
    state: str
    reason: str
    running: int
    slots: int


@frozen
class RunningTold:
    """A Build that runs; ``seconds`` is for how long, ``state`` that of its Attempt."""

    build_id: int
    epoch: int
    project: str
    revision: str
    server: str
    state: str
    seconds: float


@frozen
class WaitingTold:
    """A Build that waits, how many Requests wait for it, for how many seconds, and why."""

    build_id: int
    project: str
    revision: str
    requests: int
    seconds: float
    why: tuple[str, ...]


@frozen
class Standing:
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
    problems: tuple[str, ...]
    stands: tuple[ServerStands, ...]
    running: tuple[RunningTold, ...]
    waiting: tuple[WaitingTold, ...]
    turns: Turns | None = None


@frozen
class Acted:
    """What came of an act, in lines for people. ``changed`` is False where it was so already.

    ``build_id`` is the Build that an act led to, ``count`` of how many things it was about.
    """

    words: tuple[str, ...]
    changed: bool = True
    build_id: int | None = None
    count: int = 1
