"""What sandbox this machine has, proved at every start by attempts to get out of it, and how to mend one that leaks.

Nothing is believed that was not tried: a sandbox of which one attempt succeeds is not called strict.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.sandbox.escapes import NEEDED
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.adapters.processes.sandbox.system_calls import filters
from buildtool.errors import ToolMissing
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.buildserver import SlotPlace

PROFILE = Path(__file__).with_name("bwrap.apparmor")
"""What lets bubblewrap make user namespaces where AppArmor keeps all other programs from it."""

USUAL = "/usr/local/bin:/usr/bin:/bin"
"""Where bubblewrap is, though the PATH that builds are to have should be another."""

CONTAINER = ("/.dockerenv", "/run/.containerenv")
"""What is there inside a container of Docker's or podman's."""

_HIDDEN = ("/home", "/root", "/run", "/var", "/sys", "/srv", "/mnt", "/media", "/boot")
_LOOKED_AT = 20
_TRIAL_SECONDS = 10.0
_OPEN_SEGMENT = 0o1666
_REMOVE_SEGMENT = 0
_SEGMENT_BYTES = 4096
_PROOF_SLOT = 500
"""The slot of the proof; it has an account of its own, as each has: 61,100 where numbers are low, which is nobody's."""


@frozen
class ProvenSandbox:
    """The sandbox of this machine: its level, why it is no better (``notes``), and how to make one.

    ``sandboxes`` is None where there is none at all. ``mend`` is what its owner can do about the notes, "" if unknown.
    """

    level: SandboxLevel
    notes: tuple[str, ...]
    sandboxes: Sandboxes | None
    mend: str = ""

    @property
    def why(self) -> str:
        """Why it is no better, with the mend, in one line; "" where nothing is wrong."""
        return "; ".join((*self.notes, *([self.mend] if self.mend else [])))


def makes_any() -> bool:
    """Return whether bubblewrap makes a sandbox here, however much that may let through. Blocks for milliseconds."""
    program = bubblewrap_program()
    if sys.platform != "linux" or program is None:
        return False
    own = [] if os.geteuid() == 0 else ["--unshare-user"]
    words = [program, *own, "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    try:
        ended = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0


def prove(
    keepers: Keepers | None,
    place: Path,
    private: Sequence[Path],
    readable: Sequence[Path],
    root: Path | None = None,
) -> ProvenSandbox:
    """Make a sandbox below ``place`` and try to get out of it. Blocks for a tenth of a second. Raises OSError.

    ``private`` are files and directories of the build server that no build may see. ``root`` has the files of another
    system, which are seen in it in the place of this machine's.
    """
    if sys.platform != "linux" or keepers is None:
        return _without(f"there is no sandbox for {sys.platform}" if sys.platform != "linux" else _NO_KEEPERS)
    program = bubblewrap_program()
    if program is None:
        return _without("bubblewrap is not installed", _INSTALL.format("bubblewrap", "bubblewrap"))
    sandboxes = Sandboxes(keepers, program, place, tuple(readable))
    tried = place / "proof"
    slot = SlotPlace(tried / "home", tried / "tmp", tried / "output")
    shutil.rmtree(tried, ignore_errors=True)
    for directory in (tried / "tree", slot.home, slot.temporary):
        directory.mkdir(parents=True)
    try:
        with _shared_segment() as key:
            done = _escaped(sandboxes, tried / "tree", slot, key, [*private, *_others([*readable, tried])], root)
    except OSError as error:
        return _without(f"bubblewrap makes none: {error.strerror or error}", _mend())
    finally:
        shutil.rmtree(tried, ignore_errors=True)
    level = SandboxLevel.NONE if done.keys() & NEEDED else SandboxLevel.WEAK if done else SandboxLevel.STRICT
    notes = [f"a build {said}" for said in done.values()]
    missing = _missing_filter()
    mend = _INSTALL.format("libseccomp2", "libseccomp") if missing else ""
    return ProvenSandbox(level, (*missing, *notes), None if level is SandboxLevel.NONE else sandboxes, mend)


_NO_KEEPERS = "processes here cannot be kept together, which a sandbox needs"
_INSTALL = "install it: apt-get install {} (Debian, Ubuntu), dnf install {} (Fedora)"


def bubblewrap_program() -> str | None:
    """Return the path of bubblewrap, None where it is not installed."""
    return shutil.which("bwrap") or shutil.which("bwrap", path=USUAL)


def _without(note: str, mend: str = "") -> ProvenSandbox:
    return ProvenSandbox(SandboxLevel.NONE, (note,), None, mend)


def _escaped(
    sandboxes: Sandboxes, tree: Path, slot: SlotPlace, key: int, private: Sequence[Path], root: Path | None
) -> dict[str, str]:
    sandbox = sandboxes.make(_PROOF_SLOT, tree, slot, root=root)
    try:
        return sandbox.prove(
            [str(path) for path in private], [str(path) for path in (tree, slot.home, slot.temporary)], key
        )
    finally:
        sandbox.end()


def _others(shown: Sequence[Path]) -> Iterator[Path]:
    """Yield some of what there is on this machine that a build must not see."""
    for top in (*_HIDDEN, str(Path.home())):
        try:
            names = sorted(os.listdir(top))[:_LOOKED_AT]
        except OSError:
            continue  # it is not there, or not ours to look at
        for path in (Path(top, name) for name in names):
            if not any(one.is_relative_to(path) for one in (*shown, Path("/var/tmp"))):  # noqa: S108 - a name
                yield path


@contextmanager
def _shared_segment() -> Iterator[int]:
    """Give the key of shared memory that everybody on this machine may write in, which is removed in the end."""
    libc, key = ctypes.CDLL(None, use_errno=True), secrets.randbelow(2**31 - 2) + 1
    segment = libc.shmget(key, _SEGMENT_BYTES, _OPEN_SEGMENT)
    if segment == -1:
        raise OSError(ctypes.get_errno(), f"no shared memory to try with: {os.strerror(ctypes.get_errno())}")
    try:
        yield key
    finally:
        libc.shmctl(segment, _REMOVE_SEGMENT, None)


def _missing_filter() -> tuple[str, ...]:
    try:
        filters()
    except ToolMissing as error:
        return (str(error),)
    return ()


def _mend() -> str:
    """Return what is to be done where bubblewrap makes no sandbox."""
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return f"allow it: cp {PROFILE} /etc/apparmor.d/bwrap && apparmor_parser -r /etc/apparmor.d/bwrap"
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "allow it: sysctl -w kernel.unprivileged_userns_clone=1"
    if _setting("/proc/sys/user/max_user_namespaces") == "0":
        return "allow it: sysctl -w user.max_user_namespaces=15000"
    if any(Path(mark).exists() for mark in CONTAINER):
        return (
            "this is a container: start it with --security-opt seccomp=unconfined --security-opt unmask=ALL (Docker: "
            "systempaths=unconfined) and, where it has AppArmor, apparmor=unconfined, or run the build server outside"
        )
    return "see what it says of its own: bwrap --unshare-user --unshare-pid --ro-bind / / --proc /proc true"


def _setting(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
