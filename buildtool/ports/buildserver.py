"""What a build server needs from outside: the metaserver, sources, commands, and a disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import attrs
from attrs import frozen

from buildtool.model.binaries.judging import MeasuredFile
from buildtool.model.guest.following import FollowedTip
from buildtool.model.guest.history import DoneWork
from buildtool.model.guest.limits import ExceededLimit
from buildtool.model.guest.stance import Observed, OwnerWishes
from buildtool.model.logs.marks import LogMark
from buildtool.model.platforms import Value
from buildtool.model.servers import Held, HeldVerdict, OwnerNotice
from buildtool.project.fetching import Download, NamedHost
from buildtool.protocol.messages import AbortOrder, Accepted, Done, Ended, Ok, Order, Welcome
from buildtool.protocol.source_parts import WHOLE, SourcePart

T = TypeVar("T", bound=attrs.AttrsInstance)

# --- the build server's shell and what it talks through ------------------------------------------------


class Orders(Protocol):
    """The metaserver's orders and verdicts, as a build server takes them."""

    async def build(self, order: Order) -> Accepted:
        """Start an Attempt, which then goes on by itself. Raises BuildToolError (the refusal's reason)."""

    async def abort(self, order: AbortOrder) -> Ok:
        """Stop an Attempt; its end is reported when its processes are gone."""

    def held(self) -> tuple[Held, ...]:
        """Return every Attempt that is here, also those whose end was not taken yet."""

    def notice(self) -> OwnerNotice:
        """Return what the machine's owner wishes now, as the metaserver is told it."""

    def connected(self, welcome: Welcome) -> None:
        """Record that a Session is open, and apply its ``verdicts`` to what was held."""

    def judged(self, verdicts: Sequence[HeldVerdict]) -> None:
        """Apply the verdicts that a heartbeat was answered with."""

    def disconnected(self, reason: str) -> None:
        """Record that the Session ended; another login will be tried, and what is held goes on."""


class MetaserverLink(Protocol):
    """A build server's connection to the metaserver, which is told Ended, Done, RenewTickets and Draining."""

    async def tell(self, message: attrs.AttrsInstance, expected: type[T]) -> T:
        """Send a message and return its answer. Raises Unavailable while there is no connection."""


class Uploads(Protocol):
    """A build server's way to send bytes to the transfer port."""

    async def append_log(self, url: str, ticket: str, offset: int, data: bytes, marks: Sequence[LogMark] = ()) -> int:
        """Append ``data`` at byte ``offset``, with marks; return the log's new length.

        Raises Unavailable, BadTicket, BadUpload.
        """

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        """Send a file of ``size`` bytes, resuming an earlier try. Raises Unavailable, BadTicket, BadUpload."""


@frozen
class Spooled:
    """The end of an Attempt, kept on disk until the metaserver has taken it; ``artifact`` is a Done's file."""

    end: Done | Ended
    artifact: Path | None = None


class SpoolFiles(Protocol):
    """The ends of Attempts on disk, one a Build and epoch: they outlive this program, and a loss of power."""

    async def keep(self, end: Done | Ended, artifact: Path | None = None) -> Spooled:
        """Keep an end durably, in the place of an earlier one of that Attempt; ``artifact`` is moved there.

        Raises MachineFault when the disk does not let it; then everything is as it was.
        """

    async def entries(self) -> Sequence[Spooled]:
        """Return all that is kept, oldest first; what is not whole is deleted. Raises MachineFault."""

    async def drop(self, build_id: int, epoch: int) -> None:
        """Forget an end and delete its file; that there is none does not matter. Raises MachineFault."""


class SourceCopy(Protocol):
    """A way to what the metaserver has of an Attempt's sources."""

    async def __call__(self, path: Path, part: SourcePart = WHOLE, /) -> None:
        """Write a part to ``path``. Raises NotFound when it has nothing, saying why; Unavailable."""


CommitCopy = Callable[[Path], Awaitable[None]]
"""Writes what the metaserver has of one commit to a path. Raises what ``SourceCopy`` does."""


class SourceCopies(Protocol):
    """The commits that the metaserver keeps, from its transfer port."""

    async def fetch_copy(self, url: str, ticket: str, path: Path) -> int:
        """Write a copy to ``path`` and return its bytes.

        Raises NotFound where there is none, Unavailable, BadTicket, StorageUnavailable.
        """


class Sources(Protocol):
    """The version control from which a build server checks out."""

    async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
        """Return a directory that holds exactly ``commit``; one ``slot`` has one, used by one build at a time.

        Where the repository does not give the commit out, ``copy`` is what the metaserver has of it. Raises UnknownRef,
        CommitGone, RepositoryUnreachable, MachineFault, Unavailable.
        """


@frozen
class Obstacle:
    """The reason why a command was not started: the system's ``errno``, 0 where it gave none.

    ``where`` is the directory or program that could not be used; of a program that is not there, all places where it
    was looked for. It is empty where it was neither.
    """

    errno: int
    where: tuple[Path, ...] = ()


class WorkRecords(Protocol):
    """A record of what this machine did, for its owner."""

    def add(self, project: str, work: DoneWork) -> None:
        """Add work that was done for a project now; "" is one that is not known any more."""


class OwnerProbe(Protocol):
    """A look at the machine, whether its owner is there."""

    async def look(self, wishes: OwnerWishes) -> Observed:
        """Return what is seen now of that which the wishes ask for."""

    async def bound(self, memory: int | None) -> None:
        """Limit builds to so many bytes of memory together, without killing any; None for no more than usual."""


class CommandEnd(Protocol):
    """The end of a command; its process group is gone. ``CommandResult`` in adapters/processes has the fields."""

    @property
    def code(self) -> int | None: ...

    @property
    def cause(self) -> str: ...

    @property
    def seconds(self) -> float: ...

    @property
    def processor(self) -> float | None: ...

    @property
    def detail(self) -> str: ...

    @property
    def succeeded(self) -> bool: ...

    @property
    def killed_from_outside(self) -> bool: ...

    @property
    def obstacle(self) -> Obstacle | None: ...


class RunningCommand(Protocol):
    """A command that was started; ``ended`` is awaited for its end."""

    @property
    def ended(self) -> Awaitable[CommandEnd]: ...

    def stop(self, reason: str) -> None:
        """Stop the command: TERM to the whole group, then KILL; at once KILL to one that is frozen. May be repeated."""

    def freeze(self) -> None:
        """Stop the command where it is, with all that it started; its limits stand still. May be repeated."""

    def thaw(self) -> None:
        """Resume what was frozen, and its limits with it. May be repeated."""


class OpenNetwork(Protocol):
    """A way to some hosts, for a while."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which programs find the way."""

    async def close(self) -> tuple[int, int]:
        """End the way and all that goes over it; return how many bytes came and went. Raises MachineFault."""


class DeclaredDownloads(Protocol):
    """The files that recipes declare, kept for the next build."""

    async def put(self, download: Download, tree: Path, note: Callable[[str], None]) -> int:
        """Put a declared file where it belongs below ``tree``, verified; ``note`` is told when it is fetched.

        Return how many bytes were fetched, 0 for what was kept. Raises MachineFault where it cannot be had now, and
        BuildFailed where it is another than was declared.
        """


class EnclosedCommands(Protocol):
    """The runner of one Attempt's commands, each a process of its own, all within one enclosure."""

    def start(
        self,
        argv: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        on_output: Callable[[bytes], Awaitable[None]],
        time_limit: float,
        silence_limit: float,
        terminal: bool = False,
    ) -> RunningCommand:
        """Start a command whose whole environment is given; limits are in seconds.

        With ``terminal`` it has a terminal of its own, at which no person sits.
        """

    async def open_network(self, hosts: Sequence[NamedHost], note: Callable[[str], None]) -> OpenNetwork:
        """Open a way to ``hosts`` for the commands that follow; ``note`` is told of each use and refusal.

        Raises MachineFault.
        """

    def exceeded(self, ended: CommandEnd) -> ExceededLimit | None:
        """Return the limit by which a command ended, if it was one of memory, disk, processes or files."""

    async def end(self) -> None:
        """End what the commands left behind, all of it. Raises MachineFault where it cannot be ended."""


class Commands(Protocol):
    """The means to run commands."""

    async def enclose(self, slot: int, tree: Path, place: SlotPlace, root: str = "") -> EnclosedCommands:
        """Return a runner whose commands may write in ``tree`` and ``place`` alone, as far as this machine can help it.

        ``root`` is the name of another system, in whose files they run. Raises MachineFault.
        """


class PackedFile(Protocol):
    """An archive that was written: its size in bytes and its digests, in hex."""

    @property
    def size(self) -> int: ...

    @property
    def digest(self) -> str: ...

    @property
    def content_digest(self) -> str: ...


class Halted(Exception):
    """The end of work in a thread that was asked to end."""


class Halt:
    """A request to end work in a thread: made in the reactor's thread, looked at between small steps."""

    def __init__(self) -> None:
        self.reason = ""

    def ask(self, reason: str) -> None:
        """Stop the work at its next step. May be repeated; the first reason counts."""
        self.reason = self.reason or reason or "stopped"

    def check(self) -> None:
        """Raise Halted once the end was asked for."""
        if self.reason:
            raise Halted(self.reason)


@frozen
class SlotPlace:
    """The directories that one build has besides its sources: home, temporary space, room for the archive."""

    home: Path
    temporary: Path
    output: Path


class SlotFiles(Protocol):
    """The build server's own files. Every method raises MachineFault when the disk does not let it.

    Those that get a Halt end soon after it was asked for, and raise Halted.
    """

    async def prepare(self, slot: int, halt: Halt, tools: Mapping[str, str] | None = None) -> SlotPlace:
        """Return fresh directories for ``slot``, with nothing but what the caches of ``tools`` begin with."""

    async def measure(self, archive: Path, halt: Halt) -> tuple[MeasuredFile, ...]:
        """Return what the files in an archive need, of those that are for a platform at all, by their names' order."""

    async def pack(self, root: Path, names: Sequence[str], output: Path, limit: int, halt: Halt) -> PackedFile:
        """Pack what a recipe delivers, at most ``limit`` bytes. Raises BuildFailed too."""

    async def clear(self, slot: int, halt: Halt) -> None:
        """Delete what a build left in its directories."""

    async def machine(self) -> Mapping[str, Value]:
        """Return the machine's properties as they are now: free disk and memory among them, in MiB."""


# --- a configuration that is followed -------------------------------------------------------------------


@frozen
class FollowLook:
    """The finds of one look at a followed repository: its newest commit, and in words what it says and changes."""

    tip: FollowedTip
    about: str = ""


class FollowedConfiguration(Protocol):
    """The repository that a build server's configuration follows."""

    async def look(self, holds: str) -> FollowLook:
        """Fetch, and return what is newest, seen from the commit that ``holds``.

        Raises RepositoryUnreachable, ConfigurationError for the keys, MachineFault.
        """

    async def attempt(self, commit: str) -> str:
        """Load a commit, whose signature was found right, in a process of its own; return why it will not do, or ""."""
