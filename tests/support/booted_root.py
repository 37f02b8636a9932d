"""A fresh Debian in a directory, with systemd as its first process: it is like a machine of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from tests.support.packages import require, require_that

PATIENCE = 120.0
"""Seconds for whatever is done inside, which takes a few on a quiet machine."""

NONE: Mapping[str, str] = {}

UNWANTED = ("systemd-sysctl.service", "systemd-binfmt.service", "systemd-udevd.service", "systemd-modules-load.service")
"""Units that would set what this machine's kernel has for all, whose /proc/sys and /sys are not kept from the root."""


@frozen
class BootedRoot:
    """A root file system whose systemd runs: where it is, and its first process as this machine numbers it."""

    place: Path
    first: int

    def run(
        self, *words: str, account: str = "root", code: int | None = 0, variables: Mapping[str, str] = NONE
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, in the root's home; its exit code has to be ``code`` unless that is None."""
        enter = ["nsenter", "--target", str(self.first), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        usual = {"HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        who = [] if account == "root" else ["runuser", "-u", account, "--"]
        named = [f"{name}={value}" for name, value in (usual | dict(variables)).items()]
        inside = [*enter, "--root", "--wd", "env", "--chdir=/root", "-i", *named, *who, *words]
        done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert code is None or done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done

    def said(self, *words: str, account: str = "root", variables: Mapping[str, str] = NONE) -> str:
        """Return what a command inside printed."""
        return self.run(*words, account=account, variables=variables).stdout.strip()

    def file(self, path: str) -> Path:
        """Return where this machine has a file of the root."""
        return self.place / path.removeprefix("/")


def made_root(place: Path, packages: Sequence[str]) -> subprocess.Popen[str]:
    """Begin to make a Debian of the release that this machine has, with systemd and what else is named."""
    require_that(present=os.geteuid() == 0, what="a root file system is made by root only", remedy="run tests as root")
    words = ["--variant=minbase", "--mode=root", f"--include={','.join(['systemd-sysv', 'dbus', *packages])}"]
    making = [require("mmdebstrap", "mmdebstrap"), *words, "bookworm", str(place), "http://deb.debian.org/debian"]
    return subprocess.Popen(making, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@contextlib.contextmanager
def booted(place: Path) -> Iterator[BootedRoot]:
    """Start systemd in a root file system, with a network of its own, until the end; then the root is removed."""
    nspawn = require("systemd-nspawn", "systemd-container")
    for unit in UNWANTED:
        (place / "etc/systemd/system" / unit).symlink_to("/dev/null")
    words = ["--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe"]
    # A container's /proc has parts that nobody may write or see, so that the kernel lets nobody in it mount another
    # one, which a sandbox needs. A machine of its own has none of that.
    environment = {**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"}
    command = [nspawn, *words, f"--directory={place}"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as nspawning:
        first = 0
        try:
            first = _first(nspawning)
            root = BootedRoot(place, first)
            _wait_for_systemd(root)
            yield root
        finally:
            if first:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(first, signal.SIGKILL)
            nspawning.terminate()
            nspawning.communicate(timeout=PATIENCE)
    shutil.rmtree(place)


def _first(nspawning: subprocess.Popen[bytes]) -> int:
    """Return the process that is the first one inside."""
    children = Path(f"/proc/{nspawning.pid}/task/{nspawning.pid}/children")
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if nspawning.poll() is not None:
            assert nspawning.stdout is not None
            raise AssertionError(f"systemd-nspawn has ended: {nspawning.stdout.read().decode(errors='replace')}")
        for found in children.read_text().split():
            if Path(f"/proc/{found}/comm").read_text().strip() == "systemd":
                return int(found)
        time.sleep(0.05)
    raise AssertionError("systemd did not come up")


def _wait_for_systemd(root: BootedRoot) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        state = root.run("systemctl", "is-system-running", "--wait", code=None).stdout.strip()
        if state in ("running", "degraded"):
            return
        time.sleep(0.1)
    raise AssertionError(f"systemd says that it is {state}")
