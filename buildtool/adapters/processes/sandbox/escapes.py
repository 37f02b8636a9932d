"""What a build must not be able to do, tried from within its sandbox at every start of a build server.

Each attempt returns what it could do, or nothing when it was kept from it. Runs in a child of a keeper that has joined
a sandbox and given up its rights as a command does, with the standard library alone, all of it loaded before:
there may be no Python where it runs.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import re
import signal
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress

_NEW_USER = 0x1000_0000
_CHILD_ENDS = 17
_TIOCSTI = 0x5412
_SET_UP_RING = 425
"""The number of ``io_uring_setup``, the same on all architectures."""

_UNSHARE_32, _SOCKET_32, _SOCKETCALL_32, _VSOCK = 310, 359, 102, 40
_MAP_32BIT = 0x40
_INT_80 = bytes.fromhex("53 89f8 89f3 89d1 31d2 cd80 5b c3")
"""``push rbx; mov eax, edi; mov ebx, esi; mov ecx, edx; xor edx, edx; int 0x80; pop rbx; ret``."""

_STANDARD = frozenset({"0", "1", "2"})
_FAR = ("192.0.2.1", 9)
"""An address that nobody has (RFC 5737); with a network there is a way to it all the same."""


def attempts(private: Sequence[str], own: Sequence[str], shared: int) -> dict[str, str]:
    """Return what could be done that should not, by the name of the attempt; nothing where all failed.

    ``private`` are paths that must not be seen, ``own`` directories that may be written in; ``shared`` is the key of
    shared memory that is there outside.
    """
    tried: dict[str, Callable[[], str]] = {
        "system": _writes_to_the_system,
        "mounts": lambda: _writes_elsewhere(own),
        "owner": lambda: next((f"{path} can be seen" for path in private if os.path.lexists(path)), ""),
        "processes": _sees_others,
        "network": _uses_the_network,
        "rights": _has_rights,
        "first process": _reads_the_first_process,
        "holder": _looks_into_others,
        "descriptors": _holds_descriptors,
        "shared memory": lambda: _reaches_shared_memory(shared),
        "namespaces": _makes_namespaces,
        "older calls": _calls_as_older_programs,
        "tracing": lambda: "may trace processes" if _call("ptrace", 0, 0, 0, 0) == 0 else "",
        "rings": _makes_rings,
        "terminal": _types_into_a_terminal,
    }
    return {name: said for name, attempt in tried.items() if (said := attempt())}


NEEDED = frozenset({"system", "owner", "processes", "network", "rights"})
"""The attempts that must fail for a sandbox to be called one at all."""


def tell(descriptor: int, private: Sequence[str], own: Sequence[str], shared: int) -> None:
    """Write what ``attempts`` returns to a descriptor, in JSON."""
    os.write(descriptor, json.dumps(attempts(private, own, shared)).encode("ascii"))


def _call(name: str, *arguments: int) -> int:
    """Return what a function of the C library returns."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.restype = ctypes.c_long if name in ("syscall", "ptrace") else ctypes.c_int
    result: int = function(*(ctypes.c_ulong(one) for one in arguments))
    return result


def _writes_to_the_system() -> str:
    for directory in ("/", "/usr", "/usr/bin", "/bin", "/etc", "/dev", "/proc/sys/kernel"):
        path = os.path.join(directory, ".buildtool-escape")  # noqa: PTH118 - nothing is imported that need not be
        try:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        except OSError:
            continue
        os.unlink(path)  # noqa: PTH108
        return f"can write in {directory}"
    return ""


def _writes_elsewhere(own: Sequence[str]) -> str:
    """Try each place where something is mounted: what is unbounded there would fill the machine's memory or disk."""
    with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123
        places = [os.fsdecode(re.sub(rb"\\([0-7]{3})", _unescaped, line.split(b" ")[4])) for line in file]
    for place in places:
        if not place.startswith((*own, "/tmp", "/var/tmp", "/dev/shm", "/dev/pts")) and os.path.isdir(place):  # noqa: PTH112, S108
            path = os.path.join(place, ".buildtool-escape")  # noqa: PTH118
            with suppress(OSError):
                os.chmod(place, stat.S_IRWXU)  # noqa: PTH101 - it may be its own, and shut
            try:
                os.mkdir(path)  # noqa: PTH102
            except OSError:
                continue
            os.rmdir(path)  # noqa: PTH106
            return f"can write in {place}"
    return ""


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])


def _sees_others() -> str:
    seen = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {1, 2, os.getpid()}
    return f"sees {len(seen)} processes that are not its own" if seen else ""


def _uses_the_network() -> str:
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    if others:
        return f"has the network device {others[0]}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(_FAR)
        except OSError:
            return ""
    return "has a way into the network"


def _has_rights() -> str:
    if os.getuid() == 0 or os.geteuid() == 0:
        return "is root"
    with open("/proc/self/status", "rb") as file:  # noqa: PTH123
        status = dict(line.rstrip(b"\n").split(b":\t", 1) for line in file if b":\t" in line)
    for name in (b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb"):
        if int(status[name], 16):
            return f"has capabilities ({name.decode()})"
    return "" if status[b"NoNewPrivs"] == b"1" else "can gain rights by programs that have them"


def _reads_the_first_process() -> str:
    for name in ("environ", "fd", "mem"):
        path = f"/proc/1/{name}"
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            continue
        return f"can read {path}"
    return ""


def _looks_into_others() -> str:
    """Try the process that holds the sandbox: it has no filter, so that whoever writes into it has none either."""
    for pid in {name for name in os.listdir("/proc") if name.isdigit()} - {str(os.getpid())}:
        for name in ("mem", "environ", "syscall"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123
                    if name != "mem":
                        file.read(1)
            except OSError:
                continue
            return f"can look into process {pid}"
    return ""


def _holds_descriptors() -> str:
    held = set(os.listdir("/proc/self/fd")) - _STANDARD
    # One to tell by, which a command does not have, and the one by which the directory is read.
    return (
        f"holds {len(held) - 2} descriptors beside the three of a command" if len(held) > len({"told", "read"}) else ""
    )


def _reaches_shared_memory(key: int) -> str:
    if _call("shmget", key, 0, 0) != -1:
        return "reaches shared memory from outside"
    return ""


def _makes_namespaces() -> str:
    if _call("unshare", _NEW_USER) == 0:
        return "can make a user namespace by unshare"
    child = _call("syscall", _CLONE, _NEW_USER | _CHILD_ENDS, 0, 0, 0, 0) if _CLONE else -1
    if child == 0:
        os._exit(0)
    if child > 0:
        os.waitpid(child, 0)
        return "can make a user namespace by clone"
    return ""


def _calls_as_older_programs() -> str:
    """Try system calls as programs of 32 bits make them, whose numbers are others, and one that hides its arguments."""
    if os.uname().machine != "x86_64":
        return ""
    child = os.fork()
    if child == 0:
        os._exit(_old_calls())
    done = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # A kernel without such calls ends the child.
    return {1: "can make a user namespace as a program of 32 bits", 2: "may make sockets of any kind"}.get(done, "")


def _old_calls() -> int:
    """Return 1 if a namespace can be made by ``int 0x80``, 2 if sockets of a kind may be that no namespace bounds."""
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        low = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_32BIT)
    except OSError:
        return 0
    code.write(_INT_80)
    place = ctypes.addressof(ctypes.c_char.from_buffer(code))
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)(place)
    low.write(struct.pack("=3I", _VSOCK, socket.SOCK_STREAM, 0))
    words = ctypes.addressof(ctypes.c_char.from_buffer(low))
    if call(_UNSHARE_32, _NEW_USER, 0) == 0:
        return 1
    kept = (-errno.EPERM, -errno.ENOSYS)
    made = (call(_SOCKET_32, _VSOCK, socket.SOCK_STREAM), call(_SOCKETCALL_32, 1, words))
    return 0 if all(one in kept for one in made) else 2


def _makes_rings() -> str:
    made = _call("syscall", _SET_UP_RING, 1, ctypes.addressof(ctypes.create_string_buffer(256)))
    if made >= 0:
        os.close(made)
        return "can make io_uring"
    return "" if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS) else "may call io_uring"


def _types_into_a_terminal() -> str:
    main, side = os.openpty()
    try:
        for request in (_TIOCSTI, _TIOCSTI | 1 << 32):
            text = ctypes.create_string_buffer(b"x")
            ctypes.set_errno(0)
            if _call("ioctl", side, request, ctypes.addressof(text)) == 0:
                return "can type into a terminal"
            if ctypes.get_errno() != errno.EPERM:
                return "may ask to type into a terminal"
    finally:
        os.close(main)
        os.close(side)
    return ""


_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}.get(os.uname().machine, 0)
