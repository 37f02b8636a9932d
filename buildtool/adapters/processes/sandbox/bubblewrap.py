"""What bubblewrap is told: an allow-list of what a build sees of the machine, as a pure function.

Nothing of the machine is there but what is named here: no ``/home``, ``/root``, ``/run``, ``/var``, ``/sys``; of
``/etc`` only what programs need to start. Paths stay as they are outside, so that a recipe need not know where it runs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import field, frozen

from buildtool.adapters.processes.sandbox.box import INSIDE

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Where a system's programs and libraries are. Those that are links into ``/usr`` are links inside, too."""

COPIED = (
    "debian_version", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "os-release", "protocols",
    "redhat-release", "services", "shells", "ssl/openssl.cnf",
)  # fmt: skip
"""What of ``/etc`` is copied: what programs read when they start, and no secret is ever in."""

SHOWN = (
    "alternatives", "ca-certificates", "crypto-policies", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk",
    "ld.so.cache", "pki/tls/certs", "ssl/certs", "texmf",
)  # fmt: skip
"""What of ``/etc`` is shown as it is now, since it changes when a package is installed."""

HOST_NAME = "build"
"""The name of every machine, seen from a build."""

ACCOUNT = "build"

_OPEN = ("--perms", "0755", "--dir")
_SHARED = ("/tmp", "/var/tmp")  # noqa: S108 - inside
_COVERED = ("/proc/keys", "/proc/key-users", "/proc/timer_list")
"""What the kernel tells of the donor's account and machine even in a namespace."""

SHARED_MEMORY = 64 * 1024 * 1024
"""Bytes of ``/dev/shm``, as containers have it."""


@frozen
class Enclosure:
    """The part of a machine that one Attempt may touch.

    It writes in ``writable`` and reads ``readable`` beside the system's own. ``temporary`` is its ``/tmp``; ``made`` a
    directory with its account files (``account_files``). ``sealed`` lie below what is writable, and are not. ``limits``
    are resource limits by the name that Python has for them; ``groups`` the files of control groups that its processes
    are written into.
    """

    writable: tuple[Path, ...]
    temporary: Path
    made: Path
    readable: tuple[Path, ...] = ()
    sealed: tuple[Path, ...] = ()
    limits: dict[str, int] = field(factory=dict)
    groups: tuple[Path, ...] = ()


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
    words += [*_system(there), *_settings(enclosure.made)]
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
    return [*words, "--remount-ro", "/", "--chdir", "/", "cat"]


def _system(there: Callable[[str], bool]) -> list[str]:
    """Return the words for the system's own directories."""
    words: list[str] = []
    for path in filter(there, SYSTEM):
        link = Path(path)
        words += ["--symlink", str(link.readlink()), path] if link.is_symlink() else ["--ro-bind", path, path]
    return words


def _settings(made: Path) -> list[str]:
    """Return the words for ``/etc``: what was made, and over it what is shown as it is now."""
    words = ["--ro-bind", str(made), "/etc"]
    for name in SHOWN:
        if (made / name).exists():
            words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
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


def make_settings(made: Path, user: int) -> None:
    """Make the directory that is a build's ``/etc``, for an account with the number ``user``. Raises OSError."""
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(mode=0o755, parents=True)
    for name in COPIED:
        _copy(Path("/etc", name), made / name)
    for name in SHOWN:
        found, place = Path("/etc", name), made / name
        if found.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.mkdir() if found.is_dir() else place.touch()
    for name, text in account_files(user).items():
        (made / name).write_text(text)


def _copy(found: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if found.is_dir():
        shutil.copytree(found, place)
    elif found.exists():
        shutil.copyfile(found, place)


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
