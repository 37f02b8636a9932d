"""Makes .venv, or brings it up to date with the lock, and does nothing when it already is.

Run by every make target.  Two runs at once are safe: the second waits for the first and finds the work done.
The stamp holds a digest of what the environment was made from: a changed lock is always seen.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this very check is what tells the newcomer
    sys.exit("Python %d.%d is too old: 3.11 or newer is needed (PYTHON=... says which)" % sys.version_info[:2])

import fcntl
import hashlib
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "made-from"
LOCK_FILE = ROOT / ".venv.lock"
INPUTS = ("requirements.txt", "setup.cfg")


def fingerprint() -> str:
    """The digest of everything that decides what is in the environment."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def current(wanted: str) -> bool:
    """Whether the environment is there, works, and was made from these inputs."""
    return (VENV / "bin/python").exists() and STAMP.exists() and STAMP.read_text() == wanted


def quietly(command: list[str]) -> None:
    """Run one step; what it printed is shown only when it fails."""
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def make(wanted: str) -> None:
    """Install the locked packages and this project.

    The stamp comes last, so that half an environment is never current.
    """
    python = str(VENV / "bin/python")
    STAMP.unlink(missing_ok=True)
    if not Path(python).exists():
        quietly([sys.executable, "-m", "venv", "--clear", str(VENV)])
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install"]
    quietly([*pip, "-r", str(ROOT / "requirements.txt")])
    quietly([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    STAMP.write_text(wanted)


def main() -> int:
    """Return 0 when the environment is ready, 1 when a step failed (that step has said why)."""
    wanted = fingerprint()
    if current(wanted):
        return 0
    with LOCK_FILE.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if current(wanted):
            return 0
        print("making .venv from requirements.txt ...", flush=True)
        try:
            make(wanted)
        except subprocess.CalledProcessError as error:
            print(f"{error.stdout}making .venv failed at: {' '.join(error.cmd)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
