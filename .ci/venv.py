"""Makes an environment, or brings it up to date with its locks, and does nothing when it already is.

``.venv`` holds what the four programs need and no more, ``.venv-dev`` that and what tests and manuals need.  Every make
target runs this.  Two runs at once are safe: the second waits for the first and finds the work done.
The stamp holds a digest of what the environment was made from: a changed lock is always seen.
"""

# It is there at once; what signal itself imports takes so long that Ctrl-C would come into it.
import _signal  # type: ignore[import-not-found]
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this very check is what tells the newcomer
    sys.exit("Python %d.%d is too old: 3.11 or newer is needed (PYTHON=... says which)" % sys.version_info[:2])
if __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # as long as nothing is begun, Ctrl-C ends this without a word

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
MADE_FROM = {".venv": ("metaserver", "buildserver", "requester"), ".venv-dev": ("dev",)}
PURPOSES = {".venv": "what the four programs need", ".venv-dev": "what the tests, the checks and the manuals need"}

LOOK = 0.2
"""Seconds between two looks at how far pip is."""

LINE = 2.0
"""Seconds between two lines about it where no terminal is."""

GRACE = 5.0
"""Seconds that a step which is broken off has to end by itself, and to take away what it made elsewhere."""

MOST = 1_000_000
"""Bytes of pip's output that are looked at."""


class BrokenOff(Exception):
    """Ctrl-C, or another signal that ends programs, whose number it has."""


class Environment:
    """One of the two: where it is, and the locks that it is made from."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = ROOT / name
        self.python = self.place / "bin/python"
        self.packages = self.place / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
        self.locks = [ROOT / f"requirements-{what}.txt" for what in MADE_FROM[name]]
        text = "".join(file.read_text() for file in (*self.locks, Path(__file__)))
        self.locked = set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))
        self.fingerprint = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}\n{text}".encode()).hexdigest()
        self.stamp = self.place / "made-from"
        self.signals: list[int] = []
        self._told = (time.monotonic(), "")

    def current(self) -> bool:
        """Whether it is there, works, and was made from these locks by this version of Python."""
        return self.python.exists() and self.stamp.exists() and self.stamp.read_text() == self.fingerprint

    def installed(self) -> set[str]:
        """The names of the packages that are in it."""
        names = {path.name.partition("-")[0] for path in self.packages.glob("*.dist-info")}
        return {re.sub(r"[_.]+", "-", name).lower() for name in names}

    def size(self) -> int:
        """How much room it takes, in MiB."""
        return sum(path.lstat().st_blocks for path in self.place.rglob("*")) // 2048

    def heed_signals(self) -> None:
        """Break off in order, between two looks, when a signal comes that would end the program and nothing else."""

        def came(number: int, _frame: FrameType | None) -> None:
            self.signals.append(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, came)

    def make(self) -> None:
        """Install what is locked and take out what is not, in what is there unless another Python made that.

        The stamp comes last, so that half an environment is never current: what lacks it was broken off, at whatever
        point, and is made anew.  Raises CalledProcessError, BrokenOff.
        """
        if not self.stamp.exists() or not self.python.exists() or not self.packages.exists():
            self._run(sys.executable, "-m", "venv", "--clear", str(self.place))
        self.stamp.unlink(missing_ok=True)
        try:
            self._install()
        except subprocess.CalledProcessError as error:
            if error.returncode > 0:  # pip ended by itself, so that what is there is whole, though not what is wanted
                self.stamp.touch()
            raise
        self.stamp.write_text(self.fingerprint)

    def _install(self) -> None:
        pip = (str(self.python), "-m", "pip", "--disable-pip-version-check")
        # Programs may run under an account that cannot write here; the tools compile what they use of themselves.
        compiled = "--compile" if self.name == ".venv" else "--no-compile"
        locks = (word for lock in self.locks for word in ("-r", str(lock)))
        self._run(*pip, "install", "--progress-bar", "off", compiled, *locks)
        surplus = self.installed() - self.locked - {"pip"}
        if surplus:
            self._run(*pip, "uninstall", "--yes", *sorted(surplus))

    def tell(self, words: str, *, last: bool = False) -> None:
        """Print how far it is: on a terminal over what was told before, elsewhere in a line now and then."""
        when, before = self._told
        line = f"{self.name}: {words}"
        if sys.stdout.isatty():
            line = line[: shutil.get_terminal_size().columns - 1]
            print(f"\r\x1b[K{line}", end="\n" if last else "", flush=True)
        elif last or (words != before and time.monotonic() - when >= LINE):
            print(line, flush=True)
            self._told = (time.monotonic(), words)

    def _run(self, *command: str) -> None:
        """Run one step and tell how far it is; what it printed is in the error when it fails."""
        with tempfile.TemporaryFile() as log:
            # In a session of its own Ctrl-C does not reach it, nor what it starts, but only this program.
            with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True) as process:
                while process.poll() is None and not self.signals:
                    time.sleep(LOOK)
                    said = os.pread(log.fileno(), MOST, 0).decode(errors="replace")
                    self.tell(how_far(said, len(self.locked), len(self.installed() & self.locked)))
                if self.signals:
                    _end(process)
                    raise BrokenOff(self.signals[0])
            if process.returncode:
                log.seek(0)
                raise subprocess.CalledProcessError(process.returncode, command, log.read().decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a step and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def how_far(said: str, wanted: int, installed: int) -> str:
    """What is told of a step that has printed so much, when so many packages are there."""
    fetched = re.findall(r"(?:Downloading|Using cached) (\S+(?:\.whl|\.tar\.gz) \(.+\))", said)
    if "Installing collected packages" in said:
        return f"installed {installed} of {wanted} packages"
    if fetched:
        return f"fetched {len(fetched)} of {wanted} packages: {fetched[-1]}"
    found = said.count("Collecting ")
    return f"looked up {found} of {wanted} packages" if found else "at work"


def main(name: str) -> int:
    """Return 0 when the environment is ready, 1 when a step failed (that step has said why), 130 after Ctrl-C."""
    environment = Environment(name)
    if environment.current():
        return 0
    with (ROOT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if environment.current():
            return 0
        began = time.monotonic()
        environment.heed_signals()
        environment.tell(f"is made now, with {PURPOSES[name]}: {len(environment.locked)} packages", last=True)
        try:
            environment.make()
        except subprocess.CalledProcessError as error:
            print(f"\n{error.stdout}making {name} failed at: {' '.join(error.cmd)}", file=sys.stderr)
            return 1
        except BrokenOff as broken:
            environment.tell("broken off; it is made anew the next time", last=True)
            return 128 + int(broken.args[0])
    took = f"{environment.size()} MiB, {time.monotonic() - began:.0f} s"
    environment.tell(f"is ready: {len(environment.locked)} packages, {took}", last=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except OSError as problem:  # of another account, read-only, full, or no directory
        sys.exit(f"{sys.argv[1]} cannot be made: {problem.filename or ROOT}: {problem.strerror}")
