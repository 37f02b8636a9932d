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

from buildtool.adapters.processes.sandbox.box import COVERED, EMPTY, INSIDE, SHOWN, SHUT
from buildtool.adapters.processes.sandbox.shares import SHARED_MEMORY

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

PROGRAMS_IN = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin")
"""Where a system has its programs; ``/bin`` and ``/sbin`` are links into ``/usr``."""

_LINKS = 40
"""Links that lead to one file at most, as the kernel has it."""

_OPEN = ("--perms", "0755", "--dir")
SHARED = ("/tmp", "/var/tmp")  # noqa: S108 - inside
"""Where a build's own temporary directory is seen."""

HIDDEN = Path("/.all")
"""Where what is shown later is until a sandbox is equipped, while nothing runs in it."""

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
    are written into, ``freezer`` that of the one which can stop them. ``root`` has the files of another system, which
    are seen in the place of this machine's. ``covered`` are files that it does not see.
    """

    writable: tuple[Path, ...]
    temporary: Path
    made: Path
    readable: tuple[Path, ...] = ()
    sealed: tuple[Path, ...] = ()
    limits: dict[str, int] = field(factory=dict)
    groups: tuple[Path, ...] = ()
    freezer: Path | None = None
    root: Path | None = None
    covered: tuple[Path, ...] = ()

    @property
    def top(self) -> Path:
        """The directory below which all lies that it may write in."""
        found = Path(os.path.commonpath(self.writable))
        return found.parent if found in self.writable else found


def arguments(
    program: str, enclosure: Enclosure, *, root: bool, there: Callable[[str], bool] = os.path.exists
) -> list[str]:
    """Return bubblewrap's words, for any Attempt that works below ``top``: what it writes in is not there yet.

    ``root`` says that it runs as root, whose capabilities it would keep.

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
    words += [*system_words(enclosure.root, there), "--ro-bind", str(enclosure.made), "/etc"]
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
    for shared in SHARED:
        words += [*_OPEN, shared]
    early = [path for path in _outermost(enclosure.readable) if not _is_late(path, enclosure)]
    words += _parents([*early, *([] if _is_temporary(enclosure.top) else [enclosure.top / "within"])])
    for path in early:
        words += ["--ro-bind-try", str(path), str(path)]
    for place, path in _hidden(enclosure).items():
        words += ["--bind" if path == enclosure.top else "--ro-bind-try", str(path), str(place)]
    return [*words, "--remount-ro", "/", "--chdir", "/", "cat" if root else HOLDER]


def system_words(root: Path | None, there: Callable[[str], bool] = os.path.exists) -> list[str]:
    """Return the words for the directories of this machine's own system, or of the one that is below ``root``."""
    words: list[str] = []
    for path in SYSTEM:
        found = Path(path) if root is None else root / path.lstrip("/")
        if found.is_symlink() and there(str(found)):
            words += ["--symlink", str(found.readlink()), path]
        elif there(str(found)):
            words += ["--ro-bind", str(found), path]
    return words


def _is_temporary(path: Path) -> bool:
    return any(path.is_relative_to(shared) for shared in SHARED)


def _is_late(path: Path, enclosure: Enclosure) -> bool:
    """Return whether a directory can be shown only after what a build writes in."""
    return _is_temporary(path) or path.is_relative_to(enclosure.top)


def _hidden(enclosure: Enclosure) -> dict[Path, Path]:
    """Return what is hidden, by where: all below ``top``, and what is shown late beside that."""
    late = [path for path in _outermost(enclosure.readable) if _is_late(path, enclosure)]
    beside = [path for path in late if not path.is_relative_to(enclosure.top)]
    return {HIDDEN / str(number): path for number, path in enumerate((enclosure.top, *beside))}


def mounts(enclosure: Enclosure) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return the steps of mounting for an Attempt, and what is hidden until then.

    A step has its kind (``box.SHOWN`` ...), its place, and what is shown there.
    """
    hidden, top = _hidden(enclosure), enclosure.top

    def shown(path: Path, place: Path | str) -> tuple[str, str, str]:
        return SHOWN, str(place), str(HIDDEN / "0" / path.relative_to(top))

    def shut(path: Path) -> tuple[str, str, str]:
        return SHUT, str(path), ""

    steps = [shown(enclosure.temporary, shared) for shared in SHARED]
    steps += [(SHOWN, str(path), str(place)) for place, path in hidden.items() if path != top]
    steps += [(EMPTY, str(top), ""), *(shown(path, path) for path in enclosure.writable)]
    for path in (*enclosure.sealed, *(one for one in _outermost(enclosure.readable) if one.is_relative_to(top))):
        steps += [shown(path, path), shut(path)]
    shown_files = [one for one in enclosure.covered if is_shown(one, enclosure.readable)]
    steps += [(COVERED, str(path), os.devnull) for path in shown_files]
    return [*steps, shut(top)], [str(place) for place in hidden]


def _parents(paths: Iterable[Path]) -> list[str]:
    """Return the words for the directories above those that are shown: empty, and open to the build's account."""
    above = {parent for path in paths for parent in path.parents} - set(map(Path, ("/", "/var", *SHARED)))
    return [word for path in sorted(above) for word in (*_OPEN, str(path))]


def covered_in(root: Path, names: Iterable[str]) -> tuple[Path, ...]:
    """Return the programs of some names in the system that is below ``root``, as they are called in it.

    A link counts for what it leads to; it is followed within that system.
    """
    found = (_within(root, Path(place, name)) for place in PROGRAMS_IN for name in names)
    return tuple(sorted({one for one in found if one is not None}))


def _within(root: Path, path: Path) -> Path | None:
    """Return the file that is at a path in the system below ``root``, None where there is none."""
    for _ in range(_LINKS):
        there = root / path.relative_to("/")
        if not there.is_symlink():
            return path if there.is_file() else None
        path = Path(os.path.normpath(path.parent / there.readlink()))
    return None


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
    """Remove what was made of ``/etc`` when that was another, or of other systems'. No sandbox may be using it."""
    for made in (*place.glob("etc-*"), *place.glob("making-*")):
        if not made.name.endswith(f"-{age}") or made.match("etc-*-*-*"):
            shutil.rmtree(made, ignore_errors=True)


def make_settings(made: Path, user: int, root: Path | None = None) -> None:
    """Make the directory that is a build's ``/etc``, for an account with the number ``user``. Raises OSError.

    It is made of this machine's, or of that of the system below ``root``. One that is there already is left as it is:
    sandboxes may be using it.
    """
    top = root or Path("/")
    making = Path(tempfile.mkdtemp(prefix="making-", dir=made.parent))
    try:
        making.chmod(0o755)
        for name in COPIED:
            _copy(top / "etc" / name, making / name)
        for name, text in account_files(user).items():
            (making / name).write_text(text)
        if user == INSIDE:
            program = root / "bin/cat" if root is not None else Path(shutil.which("cat") or "/bin/cat")
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
