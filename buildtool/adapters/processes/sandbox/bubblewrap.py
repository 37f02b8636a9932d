"""What bubblewrap is told: an allow-list of what a build sees of the machine, as a pure function.

Nothing of the machine is there but what is named here: no ``/home``, ``/root``, ``/run``, ``/var``, ``/sys``; of
``/etc`` only what programs need to start. Paths stay as they are outside, so that a recipe need not know where it runs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from attrs import field, frozen

from buildtool.adapters.processes.sandbox.box import INSIDE, SHARED_MEMORY

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Where a system's programs and libraries are. Those that are links into ``/usr`` are links inside, too."""

COPIED = (
    "alternatives", "ca-certificates", "crypto-policies", "debian_version", "java-11-openjdk", "java-17-openjdk",
    "java-21-openjdk", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "os-release",
    "pki/tls/certs", "protocols", "redhat-release", "services", "shells", "ssl/certs", "ssl/openssl.cnf", "texmf",
)  # fmt: skip
"""What of ``/etc`` is copied, anew when it has changed: what programs read when they start, never with a secret."""

HOST_NAME = "build"
"""The name of every machine, seen from a build."""

ACCOUNT = "build"

_OPEN = ("--perms", "0755", "--dir")
_SHARED = ("/tmp", "/var/tmp")  # noqa: S108 - inside
_COVERED = ("/proc/keys", "/proc/key-users", "/proc/timer_list")
"""What the kernel tells of the donor's account and machine even in a namespace."""

HOLDER = "/etc/cat"
"""The program that holds a sandbox open where it runs under the build's own account: a copy that may be executed and
not read, since no process of that account may look into one of such a program. So it needs no filter."""


@frozen
class Enclosure:
    """The part of a machine that one Attempt may touch.

    It writes in ``writable`` and reads ``readable`` beside the system's own. ``temporary`` is its ``/tmp``; ``made`` a
    directory with its account files (``account_files``). ``sealed`` lie below what is writable, and are not. ``limits``
    are resource limits by the name that Python has for them; ``groups`` the files of control groups that its processes
    are written into, ``freezer`` that of the one which can stop them.
    """

    writable: tuple[Path, ...]
    temporary: Path
    made: Path
    readable: tuple[Path, ...] = ()
    sealed: tuple[Path, ...] = ()
    limits: dict[str, int] = field(factory=dict)
    groups: tuple[Path, ...] = ()
    freezer: Path | None = None


def arguments(
    program: str, enclosure: Enclosure, *, root: bool, there: Callable[[str], bool] = os.path.exists
) -> list[str]:
    """Return bubblewrap's words; ``root`` says that it runs as root, whose capabilities it would keep.

    As another user it makes a user namespace, in which none can be made; root makes none, and its builds run under an
    account of their own, to which system calls forbid the same.
    """
    words = [
        program,
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try"),
        *("--hostname", HOST_NAME, "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    ]
    if not root:
        words += ["--unshare-user", "--disable-userns", "--uid", str(INSIDE), "--gid", str(INSIDE)]
    words += [*_system(there), "--ro-bind", str(enclosure.made), "/etc"]
    words += [
        "--dev",
        "/dev",
        "--perms",
        "1777",
        "--size",
        str(SHARED_MEMORY),
        "--tmpfs",
        "/dev/shm",  # noqa: S108 - inside
        "--remount-ro",
        "/dev",
    ]
    words += ["--proc", "/proc", "--perms", "0000", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1"]
    for covered in filter(there, _COVERED):
        words += ["--ro-bind", os.devnull, covered]
    words += [*_OPEN, "/var"]
    for shared in _SHARED:
        words += ["--bind", str(enclosure.temporary), shared]
    words += _parents([*enclosure.readable, *enclosure.writable])
    for path in _outermost(enclosure.readable):
        words += ["--ro-bind-try", str(path), str(path)]
    for path in enclosure.writable:
        words += ["--bind", str(path), str(path)]
    for path in enclosure.sealed:
        words += ["--ro-bind", str(path), str(path)]
    return [*words, "--remount-ro", "/", "--chdir", "/", "cat" if root else HOLDER]


def _system(there: Callable[[str], bool]) -> list[str]:
    """Return the words for the system's own directories."""
    words: list[str] = []
    for path in filter(there, SYSTEM):
        link = Path(path)
        words += ["--symlink", str(link.readlink()), path] if link.is_symlink() else ["--ro-bind", path, path]
    return words


def _parents(paths: Iterable[Path]) -> list[str]:
    """Return the words for the directories above those that are shown: empty, and open to the build's account."""
    above = {parent for path in paths for parent in path.parents} - set(map(Path, ("/", "/var", *_SHARED)))
    return [word for path in sorted(above) for word in (*_OPEN, str(path))]


def is_shown(path: Path, readable: Iterable[Path]) -> bool:
    """Return whether a directory is seen in a sandbox."""
    return any(path.is_relative_to(top) for top in (*map(Path, SYSTEM), *readable))


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Return directories, without those that lie below another one or that are seen anyway."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not is_shown(path, kept):
            kept.append(path)
    return kept


def settings_age() -> str:
    """Return what changes when something that a build's ``/etc`` is made of does: a package was installed, say."""
    found = [Path("/etc", name) for name in COPIED]
    ages = [one.stat().st_mtime_ns for one in found if one.exists()]
    return hashlib.sha256(repr(ages).encode("ascii")).hexdigest()[:16]


def clear_old_settings(place: Path, age: str) -> None:
    """Remove what was made of ``/etc`` when that was another. No sandbox may be using it."""
    for made in (*place.glob("etc-*"), *place.glob("making-*")):
        if not made.name.endswith(f"-{age}"):
            shutil.rmtree(made, ignore_errors=True)


def make_settings(made: Path, user: int) -> None:
    """Make the directory that is a build's ``/etc``, for an account with the number ``user``. Raises OSError.

    One that is there already is left as it is: sandboxes may be using it.
    """
    making = Path(tempfile.mkdtemp(prefix="making-", dir=made.parent))
    try:
        making.chmod(0o755)
        for name in COPIED:
            _copy(Path("/etc", name), making / name)
        for name, text in account_files(user).items():
            (making / name).write_text(text)
        if user == INSIDE:
            program = shutil.which("cat") or "/bin/cat"
            shutil.copyfile(program, making / Path(HOLDER).name)
            (making / Path(HOLDER).name).chmod(0o111)
        with suppress(OSError):  # another slot's was quicker
            making.rename(made)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _copy(found: Path, place: Path) -> None:
    """Copy a file or directory, as far as everybody on this machine may read what is in it. Raises OSError."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if found.is_dir():
        shutil.copytree(found, place, symlinks=True, ignore=_private)
    elif found.is_file() and not _is_private(found.resolve()):
        shutil.copyfile(found, place)


def _private(top: str, names: list[str]) -> list[str]:
    return [name for name in names if _is_private(Path(top, name))]


def _is_private(path: Path) -> bool:
    mode = path.lstat().st_mode
    wanted = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
    kept = stat.S_ISDIR(mode) or stat.S_ISREG(mode)
    return not stat.S_ISLNK(mode) and not (kept and mode & wanted == wanted)


def account_files(user: int) -> dict[str, str]:
    """Return the files of ``/etc`` that are made, by name: a build's own account, and this machine as ``localhost``."""
    return {
        "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\n{ACCOUNT}:x:{user}:{user}:{ACCOUNT}:/tmp:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\n{ACCOUNT}:x:{user}:\nnogroup:x:65534:\n",
        "hosts": f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost {HOST_NAME}\n",
        "hostname": f"{HOST_NAME}\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
