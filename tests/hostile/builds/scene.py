"""A machine that is lent, below one directory: a build server's real parts, its secrets, and what a build could harm.

What is there to be harmed stands in for the donor's own: a key, a home, another slot, a program beside.
"""

import ctypes
import hashlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.pollreactor import PollReactor
from twisted.python.failure import Failure

from buildtool.adapters.host.build_slots import BuildSlots
from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.host.recipe_commands import BuildBounds, RecipeCommands
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.process_group import mark_for
from buildtool.adapters.processes.procfs import all_pids, descendants
from buildtool.adapters.processes.runner import Processes
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.storage.spool import Spool
from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from buildtool.buildserver.attempt import AttemptTools
from buildtool.buildserver.delivery import DeliveryQueue
from buildtool.buildserver.order_check import ServerOffer
from buildtool.buildserver.server import BuildServer
from buildtool.model.guest.limits import MIB, BuildLimits
from buildtool.model.options import canonical
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Offer, OfferKind
from buildtool.project.definition import Project
from buildtool.project.recipe import Command, Plan, Recipe, Wanted
from buildtool.protocol.messages import Done, Ended, Order, Welcome
from tests.fakes_build import BASE, FakeLink, FakeUploads
from tests.support.packages import require
from tests.test_testproject import git

PROGRAM = Path(__file__).with_name("program.py")
PLATFORM = canonical({"os": "linux", "arch": "x86_64"})
PYTHON = "/usr/bin/python3"
PATIENCE = 300.0
"""Seconds that all builds of a scene may take together on a machine that has much else to do."""

HONEST = """\
find . -path ./.git -prune -o -type f ! -name listing -print0 | sort -z | xargs -0 sha256sum > listing
find . ! -path './.git/objects/*' ! -name listing -printf '%M %p\\n' | sort >> listing
cat .git/HEAD .git/config >> listing
ls -A "$HOME" "$TMPDIR" >> listing
"""
"""What an honest build says of all that it finds: the same each time, whatever was built before it."""

LIMITS = BuildLimits(memory=64 * MIB, disk=24 * MIB, processes=40, files=300, file_size=8 * MIB)
"""The limits of builds that try to have more than they may."""

MOST = {"memory": 256 * MIB, "disk": 56 * MIB, "processes": 200, "files": 3000, "file_size": 16 * MIB}
"""What they are content with, which harms no machine that runs tests."""

T = TypeVar("T")


@attrs.frozen
class Ran:
    """How a build ended, its whole log, the digest of what it delivered, "" for nothing, and how long that took."""

    end: AttemptEnd
    reason: str
    log: str
    digest: str = ""
    seconds: float = 0.0


@attrs.frozen
class Asked:
    """A build that is asked for: its commands, what it delivers, and its project's limits."""

    commands: Sequence[Sequence[str]]
    deliverables: Sequence[str] = ("main.c",)
    time_limit: float = PATIENCE
    silence_limit: float = PATIENCE
    log_limit: int = 1_000_000

    def plan(self, _: Wanted) -> Plan:
        """Answer as a recipe."""
        commands = [Command(words, name=f"step {number}") for number, words in enumerate(self.commands)]
        return Plan(commands, self.deliverables)


class _Uploads(FakeUploads):
    """Keeps what is uploaded, as it is deleted afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.content: list[bytes] = []

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        self.content.append(Path(path).read_bytes())
        assert len(self.content[-1]) == size


class Scene:
    """The machine. ``sandboxed`` says whether builds run in a sandbox; ``bounds`` are their limits, None for none."""

    def __init__(self, top: Path, closing: ExitStack, *, sandboxed: bool, bounds: BuildBounds | None = None) -> None:
        self.top = top
        self.secret = secrets.token_hex(16)
        self.token = f"hostile-{secrets.token_hex(8)}"
        self.sandboxed = sandboxed
        self.offer = Offer(PLATFORM)
        self.groups = ControlGroups() if bounds is None else bounds.groups
        self._closing = closing
        self._make_files()
        self.reactor = PollReactor()
        self.reactor.startRunning(installSignalHandlers=False)
        closing.callback(self._stop)
        self.pool = Threads(self.reactor, 4, "scene")
        closing.callback(self.pool.stop)
        keepers = Keepers(mark_for(top / "slots"))
        closing.callback(keepers.close)
        sandboxes = Sandboxes(keepers, require("bwrap", "bubblewrap"), top / "sandbox") if sandboxed else None
        self.mirror = GitMirror(top / "mirrors", self.pool)
        self.uploads, self.link = _Uploads(), FakeLink()
        clock = IReactorTime(self.reactor)
        self.tools = AttemptTools(
            sources=Worktrees(self.mirror, top / "sources", self.pool),
            commands=RecipeCommands(Processes(self.reactor, keepers), self.pool, clock, sandboxes, bounds),
            workshop=BuildSlots(top / "slots", self.pool, {}),
            uploads=self.uploads,
            clock=clock,
            environment={"PATH": "/usr/bin:/bin"},
        )
        self._numbers = iter(range(1, 1_000_000))
        self._make_targets()
        self.reference = self.honest().digest
        assert self.reference
        self._before = self._state()
        self.nursery = {seen.pid for seen in descendants(os.getpid()) if seen.parent == os.getpid()}

    # --- what there is to be harmed -----------------------------------------------------------------------

    def _make_files(self) -> None:
        top = self.top
        for name in ("keys", "home/.ssh", "spool/1", "slots/slot-7/home", "sources/other/slot-7", "outside", "origin"):
            (top / name).mkdir(parents=True)
        self.secrets = [
            top / name
            for name in (
                "keys/key",
                "home/.ssh/id",
                "spool/1/artifact",
                "slots/slot-7/home/netrc",
                "sources/other/slot-7/main.c",
            )
        ]
        for path in self.secrets:
            path.write_text(f"{self.secret}\n")
            path.chmod(0o600)
        origin = top / "origin"
        (origin / "hostile.py").write_bytes(PROGRAM.read_bytes())
        (origin / "main.c").write_text("int main(void) { return 0; }\n")
        # Sources that look as if they had packs of git's, which lead to all that there is.
        (origin / ".gitmodules").touch()
        (origin / "objects").mkdir()
        (origin / "objects" / "pack").symlink_to("../../../..")
        git("init", "-q", cwd=origin)
        git("add", "-A", cwd=origin)
        git("commit", "-q", "-m", "hostile", cwd=origin)
        self.commit = git("rev-parse", "HEAD", cwd=origin)

    def _make_targets(self) -> None:
        self.victim = subprocess.Popen(["/bin/sleep", "100000"], start_new_session=True)
        self._closing.callback(self.victim.wait)
        self._closing.callback(self.victim.kill)
        self.door = self._listening(socket.socket(), ("127.0.0.1", 0))
        self.hidden_door = self._listening(socket.socket(socket.AF_UNIX), f"\0{self.token}")
        self.plain_door = self._listening(socket.socket(socket.AF_UNIX), str(self.top / "door"))
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.free_port: int = one.getsockname()[1]
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.shmat.restype = ctypes.c_void_p
        self.memory_key = secrets.randbelow(2**31 - 2) + 1
        segment = self._libc.shmget(self.memory_key, 4096, 0o1666)
        assert segment != -1
        self._closing.callback(self._libc.shmctl, segment, 0, None)
        place = self._libc.shmat(segment, None, 0)
        self._closing.callback(self._libc.shmdt, ctypes.c_void_p(place))
        self.memory = (ctypes.c_char * 16).from_address(place)

    def _listening(self, one: socket.socket, address: str | tuple[str, int]) -> socket.socket:
        self._closing.callback(one.close)
        one.bind(address)
        one.listen()
        one.setblocking(False)
        return one

    def about(self) -> Mapping[str, object]:
        """Return what an attack is told of the machine, as if it had guessed everything right."""
        return {
            "token": self.token,
            "secrets": [str(path) for path in self.secrets],
            "outside": str(self.top / "outside"),
            "mirrors": str(self.top / "mirrors"),
            "other": [str(self.secrets[-2].parent), str(self.secrets[-1].parent)],
            "server": os.getpid(),
            "victim": self.victim.pid,
            "keepers": sorted(self.nursery),
            "port": self.door.getsockname()[1],
            "door": str(self.top / "door"),
            "free_port": self.free_port,
            "memory_key": self.memory_key,
            "sandboxed": self.sandboxed,
            "most": MOST,
        }

    # --- what was harmed ----------------------------------------------------------------------------------

    def harm(self) -> str:
        """Return what was harmed on the machine, nothing if nothing was; what was planted is taken away."""
        planted = [*(self.top / "outside").iterdir(), *Path("/tmp").glob(f"{self.token}*")]
        planted += [*Path("/dev/shm").glob(f"{self.token}*"), *Path("/usr").glob(f"{self.token}*")]
        for path in planted:
            remove_tree(path)
        said = [f"{path} was planted" for path in planted]
        if self.secret in self.uploads.log.decode(errors="replace"):
            said.append("a secret is in the log")
        if any(self.secret.encode() in one for one in self.uploads.content):
            said.append("a secret was delivered")
        said += [f"somebody came in by {name}" for name, one in self._doors().items() if _came(one)]
        if self.victim.poll() is not None:
            said.append("another program was killed")
        if self.memory.raw.strip(b"\0"):
            self.memory.raw = bytes(16)
            said.append("shared memory was written")
        return "; ".join([*said, *self._changes()])

    def _doors(self) -> Mapping[str, socket.socket]:
        return {"the network": self.door, "an abstract socket": self.hidden_door, "a socket": self.plain_door}

    def _changes(self) -> Iterator[str]:
        now = self._state()
        yield from (f"{name} is another" for name in self._before if now[name] != self._before[name])

    def _state(self) -> dict[str, object]:
        mounts = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return {
            "the mirror": digest_below(self.top / "mirrors"),
            "a secret": [(path.read_text(), path.stat()[:7]) for path in self.secrets],
            "another slot": [sorted(path.parent.iterdir()) for path in self.secrets],
            "a mount": sorted(place for place in mounts if str(self.top) in place),
            "a process": [pid for pid in all_pids() if self.token in _words(pid)],
        }

    # --- builds -------------------------------------------------------------------------------------------

    def honest(self) -> Ran:
        """Run an honest build in the slot."""
        return self.build(Asked([["sh", "-c", HONEST]], ["listing"]))

    def build(self, asked: "Asked", meanwhile: Callable[[], None] = lambda: None) -> Ran:
        """Run a build in slot 0, from the order to what the metaserver is told."""
        (ran,) = self.builds([asked], meanwhile)
        return ran

    def builds(self, all_asked: Sequence["Asked"], meanwhile: Callable[[], None] = lambda: None) -> list[Ran]:
        """Run builds beside each other, the first in slot 0."""
        projects = {f"project-{number}": self._project(number, asked) for number, asked in enumerate(all_asked)}
        spool = Spool(self.top / "deliveries", self.pool)
        deliveries = DeliveryQueue(spool, self.link, self.uploads, self.tools.clock)
        offered = ServerOffer(projects, [self.offer], len(projects))
        server = BuildServer(offered, self.tools, self.link, deliveries, self.pool)
        server.connected(Welcome(1, BASE, 10**9, 10**7, 60.0))
        orders = [self._order(project) for project in projects.values()]

        async def through() -> None:
            for order in orders:
                await server.build(order)
            await server.drain("that was all")

        self.run(through(), meanwhile)
        ended = {one.build_id: one for one in self.link.told}
        self.link.told.clear()
        return [self._ran(ended[order.build_id], order) for order in orders]

    def _project(self, number: int, asked: "Asked") -> Project:
        return Project(
            name=f"project-{number}", options=ProjectOptions(system=standard("os", "arch"), compile=()),
            recipe=Recipe(1, asked.plan), path_to_url=lambda _: str(self.top / "origin"),
            time_limit=asked.time_limit, silence_limit=asked.silence_limit, log_limit=asked.log_limit,
            artifact_limit=10**7,
        )  # fmt: skip

    def _order(self, project: Project) -> Order:
        number = next(self._numbers)
        return Order(
            number, 1, project.name, "", self.commit, 1, project.options.compile_values({}), PLATFORM,
            OfferKind.NATIVE, "t", "t", f"{BASE}/{number}",
        )  # fmt: skip

    def _ran(self, told: Done | Ended, order: Order) -> Ran:
        log = bytes(self.uploads.logs.get(order.log_url, b"")).decode(errors="replace")
        if isinstance(told, Done):
            return Ran(AttemptEnd.SUCCEEDED, "", log, told.content_digest, told.seconds)
        return Ran(told.end, told.reason, log)

    def run(self, coroutine: Coroutine[Deferred[object], object, T], meanwhile: Callable[[], None]) -> T:
        """Run the reactor until a coroutine is done, and return what it returns."""
        done: list[T | Failure] = []
        Deferred.fromCoroutine(coroutine).addBoth(done.append)
        timer = self.reactor.callLater(PATIENCE, done.append, Failure(TimeoutError("the build has not ended")))
        while not done:
            meanwhile()
            self.reactor.iterate(0.05)
        if timer.active():
            timer.cancel()
        if isinstance(done[0], Failure):
            done[0].raiseException()
        return done[0]

    def _stop(self) -> None:
        self.reactor.fireSystemEvent("shutdown")
        self.reactor.iterate(0)
        for reader in self.reactor.removeAll():
            with suppress(AttributeError):
                reader.connectionLost(Failure(ConnectionError("the scene ends")))


def _came(door: socket.socket) -> bool:
    try:
        door.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def digest_below(top: Path) -> str:
    """Return one digest of all that is below a directory: names, modes, owners and what files hold."""
    digest = hashlib.sha256()
    for path in sorted(top.rglob("*")):
        found = path.lstat()
        # A pack has another name, or one less, for each tree that it is linked into.
        digest.update(f"{path} {found.st_mode} {found.st_uid} ".encode())
        if path.is_file() and not path.is_symlink() and path.name != "FETCH_HEAD":
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def scene(top: Path, *, sandboxed: bool = True, bounds: BuildBounds | None = None) -> Iterator[Scene]:
    """Give a machine below a directory, which is as it was in the end."""
    require("git", "git")
    require("python3", "python3")
    with ExitStack() as closing:
        yield Scene(top.resolve(), closing, sandboxed=sandboxed, bounds=bounds)


assert sys.platform == "linux"
