"""One sandbox as its keeper has it: bubblewrap makes it, every command joins it, and all ends with its first process.

Bubblewrap starts ahead of an Attempt and runs nothing but a *holder*, ``cat`` on a pipe of the keeper's. Its own first
process reaps what is left without a parent. The keeper joins all of it but its processes, so that nothing inside sees
or reaches it. When the Attempt comes it mounts what that works in, gives up all rights to change anything, and forks
each command into the sandbox. The first process is told by nobody inside to end; the holder is, by
a build that runs under the same account: then the sandbox is *lost*.

Runs in the keeper, with the standard library alone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from buildtool.adapters.processes import procfs
from buildtool.adapters.processes.beginning.finding import found
from buildtool.adapters.processes.beginning.terminal import take_terminal
from buildtool.adapters.processes.freezer import Freezer
from buildtool.adapters.processes.procfs import SeenProcess, descendants
from buildtool.adapters.processes.sandbox.escapes import tell
from buildtool.adapters.processes.sandbox.shares import bound_memory, limit, share_watches

INSIDE = 1000
"""The account and group of a build within a user namespace of its own."""

PATIENCE = 20.0
"""Seconds that bubblewrap has to make a sandbox."""

_NEW_MOUNTS, _NEW_HOST_NAME, _NEW_IPC, _NEW_USER, _NEW_PIDS, _NEW_NETWORK = (
    0x0002_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000,
)  # fmt: skip
_JOINED = (
    ("ipc", _NEW_IPC), ("uts", _NEW_HOST_NAME), ("net", _NEW_NETWORK), ("pid", _NEW_PIDS), ("mnt", _NEW_MOUNTS),
)  # fmt: skip
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE = 1, 2, 4, 32, 4096, 16384
_DETACH = 2
_SHUT_FLAGS = _REMOUNT | _BIND | _READ_ONLY | _NO_SETUID | _NO_DEVICES
_EMPTY_OPTIONS = b"size=1m,mode=755"

SHOWN, EMPTY, SHUT, COVERED = "shown", "empty", "shut", "covered"
"""The steps of mounting: to show a directory somewhere, to make an empty one, to forbid to write in one, and to show
something that is no program in the place of a file."""

_GET_PARENT = 0xB702
"""``NS_GET_PARENT``, of ``linux/nsfs.h``."""

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTERED = 24, 38, 22, 2
_LAST_CAPABILITY = 63
_CAPABILITIES = 0x2008_0522
"""``_LINUX_CAPABILITY_VERSION_3``."""
_INSTRUCTION = 8
_ERROR_FD = 3
_GIVEN_BACK = (signal.SIGPIPE, signal.SIGXFSZ)
_NOTHING_OF = ("RLIMIT_RTPRIO", "RLIMIT_NICE")
"""What an account may have been granted, and no build is: to go before everything else on the machine."""
_COMPLAINT = 4096


class Box:
    """A sandbox that was started. Its methods are called by its keeper, which has one thread."""

    def __init__(self, said: Mapping[str, object]) -> None:
        """Start a sandbox and wait until it is there. Raises OSError with bubblewrap's own words.

        ``said`` is what ``Sandboxes.order`` returns, in JSON: of that only what is the same for all Attempts of a slot.
        """
        self._user: int | None = said["user"]  # type: ignore[assignment]
        self._filters = [bytes.fromhex(one) for one in said["filters"]]  # type: ignore[attr-defined]
        self._limits: Mapping[str, int] = {}
        self._groups: list[int] = []
        self._freezer: Freezer | None = None
        self._equipped = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._start([word.encode("latin-1") for word in said["argv"]])  # type: ignore[attr-defined]
        try:
            self._join()
        except BaseException:
            self.end()
            raise

    def _start(self, argv: Sequence[bytes]) -> None:
        given, self._hold = os.pipe()
        answer, answered = os.pipe()
        about, info = os.pipe()
        complaint, complained = os.pipe()
        try:
            process = subprocess.Popen(
                [argv[0], b"--info-fd", b"%d" % info, *argv[1:]],
                stdin=given,
                stdout=answered,
                stderr=complained,
                env={},  # it is the environment of the first process, which whoever runs under its account may read
                pass_fds=[info],
            )
        finally:
            for descriptor in (given, answered, info, complained):
                os.close(descriptor)
        process.returncode = 0  # it is waited for by the keeper, with all the others
        self.monitor = process.pid
        try:
            with suppress(BrokenPipeError):  # it has ended, and says why
                os.write(self._hold, b"!")
            poller = select.poll()
            poller.register(answer, select.POLLIN)
            _check(poller.poll(PATIENCE * 1000) and os.read(answer, 1), complaint)
            self.first: int = json.loads(_available(about))["child-pid"]
        except BaseException:
            _kill(self.monitor)
            raise
        finally:
            for descriptor in (answer, about, complaint):
                os.close(descriptor)
        holder = next((seen.pid for seen in descendants(self.first)), 0)
        self.own = frozenset((self.monitor, self.first, holder))
        # A build may kill the holder, upon which all end: then another program may have their numbers.
        self._first_ends, self._holder_ends = os.pidfd_open(self.first), os.pidfd_open(holder)

    def _join(self) -> None:
        """Join the sandbox, but for its processes, of which only the children to come are.

        The machine's own ``/proc`` stays at hand, as the working directory, since it tells of what runs inside; and
        its files, until the sandbox is equipped.
        """
        self._machine = os.open("/", os.O_PATH | os.O_DIRECTORY)
        outside = os.open(procfs.PROC, os.O_RDONLY | os.O_DIRECTORY)
        spaces = [(self._space(name), kind) for name, kind in _JOINED]
        # What is set for the sandbox must not be the machine's, whatever bubblewrap was told.
        memory_apart = not os.path.samestat(os.stat(f"{procfs.PROC}/self/ns/ipc"), os.fstat(spaces[0][0]))  # noqa: PTH116
        if self._user is None:
            # Bubblewrap shuts its user namespace up within another one, in which no further one can be made. All the
            # other namespaces belong to the outer one, so this is the one that gives the right to join them.
            self._inner = self._space("user")
            spaces = [(fcntl.ioctl(self._inner, _GET_PARENT), _NEW_USER), *spaces]
        for descriptor, kind in spaces:
            self._enter_space(descriptor, kind)
        os.fchdir(outside)
        os.close(outside)
        procfs.PROC = "."
        if memory_apart:
            bound_memory()

    def _enter_space(self, descriptor: int, kind: int) -> None:
        _need("join the sandbox", self._libc.setns(descriptor, kind))
        os.close(descriptor)

    def equip(self, said: Mapping[str, object]) -> None:
        """Set up what an Attempt works in, and give up the rights to change anything. Once; raises OSError.

        Of ``said``, ``mounts`` are steps, in their order (``bubblewrap.mounts``), and ``hidden`` are directories of
        which nothing is there when this ends. What is the same for all commands is done once: they inherit it.
        """
        self._limits = said["limits"]  # type: ignore[assignment]
        self._groups = [
            os.open(path.lstrip("/"), os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._machine)
            for path in said["groups"]  # type: ignore[attr-defined]
        ]
        freezer = str(said["freezer"]).lstrip("/")
        self._freezer = Freezer(freezer, self._machine) if freezer else None
        os.close(self._machine)
        os.umask(0o022)
        for step, place, source in said["mounts"]:  # type: ignore[attr-defined]
            self._mount(step, place.encode("latin-1"), source.encode("latin-1"))
        for hidden in said["hidden"]:  # type: ignore[attr-defined]
            _need(f"hide {hidden}", self._libc.umount2(hidden.encode("latin-1"), _DETACH))
        if self._user is None:
            self._enter_space(self._inner, _NEW_USER)
            share_watches()
        self._limit_calls()
        self._equipped = True

    def _mount(self, step: str, place: bytes, source: bytes) -> None:
        """Show a directory at a place, make an empty one there, or forbid to write there. Raises OSError."""
        if step in (SHOWN, EMPTY):
            os.makedirs(place, 0o755, exist_ok=True)  # noqa: PTH103 - it is bytes
        answer = {
            SHOWN: lambda: self._libc.mount(source, place, None, _BIND | _RECURSIVE, None),
            EMPTY: lambda: self._libc.mount(b"tmpfs", place, b"tmpfs", _NO_SETUID | _NO_DEVICES, _EMPTY_OPTIONS),
            SHUT: lambda: self._libc.mount(None, place, None, _SHUT_FLAGS, None),
            COVERED: lambda: self._libc.mount(source, place, None, _BIND, None),
        }[step]()
        _need(f"make {os.fsdecode(place)} {step}", answer)

    def _space(self, name: str) -> int:
        return os.open(f"{procfs.PROC}/{self.first}/ns/{name}", os.O_RDONLY)

    def spawn(
        self,
        argv: Sequence[bytes],
        cwd: bytes,
        environment: Mapping[bytes, bytes],
        outlet: int,
        *,
        umask: int,
        terminal: bool,
    ) -> int:
        """Start a command in the sandbox; return its process id. Raises OSError as the system said it inside.

        With ``terminal`` the outlet is the terminal that it is to have.
        """

        def begin() -> None:
            os.chdir(cwd)
            os.umask(umask)
            os.execve(found(argv[0], cwd, environment), list(argv), dict(environment))  # noqa: S606 - that is what it is for

        return self._fork(outlet, begin, terminal=terminal)

    def prove(self, private: Sequence[str], own: Sequence[str], shared: int, outlet: int) -> int:
        """Start the attempts to escape (``escapes``), which write what they could do; return their process id."""

        def begin() -> None:
            signal.set_wakeup_fd(-1)  # it is the keeper's, and closed
            tell(1, private, own, shared)
            os._exit(0)

        return self._fork(outlet, begin)

    def _fork(self, outlet: int, begin: Callable[[], None], *, terminal: bool = False) -> int:
        """Start a process that begins in the sandbox, without any rights. Raises OSError as the system said it."""
        if not self._equipped:
            raise OSError(errno.EPERM, "the sandbox is not equipped yet, so nothing would be forbidden in it")
        known, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._enter(outlet, told, begin, terminal=terminal)
        os.close(told)
        try:
            said = os.read(known, _COMPLAINT)
        finally:
            os.close(known)
        if said:
            os.waitpid(pid, 0)
            number, _, words = said.partition(b" ")
            raise OSError(int(number), words.decode("utf-8", "replace"))
        return pid

    def _enter(self, outlet: int, told: int, begin: Callable[[], None], *, terminal: bool) -> None:
        """Be the build's account and begin, or tell why not and end. Runs in the child, whose parent is the keeper."""
        try:
            os.chdir("/")
            nothing = outlet if terminal else os.open(os.devnull, os.O_RDONLY)
            told = _hold_only(nothing, outlet, told, keep=self._groups)
            os.setsid()
            if terminal:
                take_terminal()
            self._enter_groups()
            if self._user is not None:
                os.fchown(1, self._user, self._user)  # or /dev/stdout could not be opened
            self._become_user()
            for name, most in {**dict.fromkeys(_NOTHING_OF, 0), **self._limits}.items():
                limit(getattr(resource, name), most)
            for descriptor in self._groups:
                os.close(descriptor)
            for signum in _GIVEN_BACK:
                signal.signal(signum, signal.SIG_DFL)
            begin()
        except OSError as error:
            os.write(told, b"%d %s" % (error.errno or errno.EIO, str(error.strerror).encode("utf-8", "replace")))
        except BaseException as error:  # noqa: BLE001 - it must not go on as a second keeper
            os.write(told, b"%d %s" % (errno.EIO, repr(error).encode("utf-8", "replace")))
        finally:
            os._exit(127)

    def _enter_groups(self) -> None:
        for descriptor in self._groups:
            os.write(descriptor, b"0")  # whoever writes it

    def _become_user(self) -> None:
        """Be the build's account, without a right to change anything: no capability can be had again."""
        user = INSIDE if self._user is None else self._user
        if self._user is not None:
            os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        if self._libc.capset(struct.pack("=Ii", _CAPABILITIES, 0), bytes(24)) != 0:
            raise OSError(ctypes.get_errno(), "cannot give up capabilities")

    def _limit_calls(self) -> None:
        """Forbid gaining rights, and all system calls but those that builds may make."""
        for capability in range(_LAST_CAPABILITY + 1):
            self._libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # EINVAL past the kernel's last one
        if self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot give up gaining rights")
        for one in self._filters:
            text = ctypes.create_string_buffer(one, len(one))
            program = struct.pack("@HP", len(one) // _INSTRUCTION, ctypes.addressof(text))
            if self._libc.prctl(_PR_SET_SECCOMP, _FILTERED, program, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "cannot limit the system calls")

    def left(self) -> list[SeenProcess]:
        """Return what runs in the sandbox, beside what keeps it."""
        return [seen for seen in descendants(os.getpid()) if seen.pid not in self.own]

    def lost(self) -> bool:
        """Return whether the sandbox is gone, or going, though its keeper did not end it."""
        return _has_ended(self._holder_ends)

    def kill(self) -> None:
        """Kill everything in the sandbox at one stroke: the kernel does that once its first process is killed."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first_ends, signal.SIGKILL)

    def freeze(self) -> bool:
        """Stop everything in the sandbox at one stroke; return False where it has no control group that can."""
        return self._freezer is not None and self._freezer.freeze()

    def thaw(self) -> bool:
        """Resume what was frozen so; return False if nothing was."""
        return self._freezer is not None and self._freezer.thaw()

    def end(self) -> None:
        """Kill everything in the sandbox, and wait until the last of it, and any other child of this keeper, is gone.

        The kernel lets the first process go when all others have, and bubblewrap's outer one follows.
        """
        self.kill()
        if self._freezer is not None and self._freezer.frozen:
            for seen in self.left():
                _kill(seen.pid)  # or it would run once more, until the first process has died
            self.thaw()
        with suppress(ChildProcessError):
            while True:
                os.wait()


def _hold_only(nothing: int, outlet: int, told: int, *, keep: Sequence[int]) -> int:
    """Make the standard descriptors what a command has, and close all others but ``keep``; return where to tell."""
    told = fcntl.fcntl(told, fcntl.F_DUPFD_CLOEXEC, _ERROR_FD)
    outlet = fcntl.fcntl(outlet, fcntl.F_DUPFD_CLOEXEC, _ERROR_FD)
    os.dup2(nothing, 0)
    os.dup2(outlet, 1)
    os.dup2(outlet, 2)
    last = _ERROR_FD
    for kept in sorted({*keep, told}):
        os.closerange(last, kept)
        last = kept + 1
    os.closerange(last, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    return told


def _need(what: str, answer: int) -> None:
    """Raise OSError unless a call of the C library has answered that it has done ``what``."""
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")


def _has_ended(descriptor: int) -> bool:
    """Return whether the process has ended that a descriptor of a process (``pidfd``) is of."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _available(descriptor: int) -> bytes:
    """Return what was written by now; the writers have ended, or have said all that they say."""
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, _COMPLAINT)
    except BlockingIOError:
        return b""


def _check(answered: object, complaint: int) -> None:
    """Raise OSError with what bubblewrap complained of, unless the holder has answered."""
    if not answered:
        lines = _available(complaint).decode("utf-8", "replace").strip().splitlines()
        raise OSError(errno.EIO, lines[-1] if lines else "bubblewrap made no sandbox")
