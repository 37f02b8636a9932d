"""One svn process at a time: without prompts, with limits, and with a configuration of its own.

Subversion 1.10 or newer is needed, which is the first that takes a password from its standard input.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from twisted.logger import Logger

from buildtool.adapters.processes.environment import passed_on
from buildtool.adapters.storage.trees import plain_bytes, remove_tree
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut, end, read, signal_group
from buildtool.adapters.vcs.refs import mask
from buildtool.adapters.vcs.svn.refs import Address
from buildtool.errors import BuildToolError, MachineFault, RepositoryUnreachable, UnknownRef

log = Logger()

OLDEST = (1, 10)
"""The oldest svn that will do."""

LOG_LIMIT = 120.0
"""Seconds that a repository has to tell what changed when."""

CHECKOUT_LIMIT = 1800.0
"""Seconds that a checkout or a switch may take."""

# A UTF-8 locale, or svn cannot write names that are not ASCII; English, so that its complaints can be told.
_LOCALE = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
_UNWANTED = re.compile(r"LC_|LANG|SVN_(?!SSH\Z)|APR_")
_CONFIG = """\
# Written by buildtool whenever it is not so: svn reads this instead of the user's own configuration.
[auth]
password-stores =
store-passwords = no
store-auth-creds = no
[helpers]
diff-cmd =
merge-tool-cmd =
[tunnels]
ssh = $SVN_SSH ssh -q -o BatchMode=yes -o ControlMaster=no -o ServerAliveInterval=15 --
[miscellany]
global-ignores =
enable-auto-props = no
use-commit-times = no
preserved-conflict-file-exts =
"""
_SERVERS = """\
# Written by buildtool whenever it is not so: what is not said here, /etc/subversion/servers says.
[global]
http-timeout = 60
store-passwords = no
store-plaintext-passwords = no
store-ssl-client-cert-pp = no
"""

_CODE = re.compile(r"svn: (?:warning: )?[EW]([0-9]{6}): ")
_NOT_THERE = {"160006", "160013", "195012", "200009", "160005"}
"""No such revision, no such path, no such path in that revision."""
_AWAY = re.compile(r"(?:120|175|180|210|215|230|670|730)[0-9]{3}|170(?:000|001|011|013)")
"""HTTP, the repository's own files, the svn protocol, logging in, TLS, names of hosts, and the connection itself."""
_LOST = {
    f"{number:06d}"
    for number in (
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ETIMEDOUT,
    )
}
"""The system's own numbers for a connection that was lost half-way."""
_FULL = ("No space left on device", "Disk quota exceeded")


class SvnCommand:
    """A runner of svn. All methods block and may be called from several threads at once."""

    def __init__(self, configuration: Path) -> None:
        """``configuration`` is the directory in which svn's configuration is written; it is made."""
        self._configuration = configuration
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._closed = False
        self._ready = False

    def run(
        self, arguments: Sequence[str], *, cwd: Path, login: Address | None = None, limit: float = 300.0
    ) -> ProcessOutput:
        """Run ``svn arguments`` in ``cwd``, as the user of ``login``, whose password goes through standard input.

        Raises TimedOut after ``limit`` seconds, MachineFault if svn itself cannot be run.
        """
        self._prepare()
        words = ["svn", arguments[0], "--non-interactive", "--no-auth-cache", f"--config-dir={self._configuration}"]
        password = b""
        if login is not None and login.user:
            words.append(f"--username={login.user}")
        if login is not None and login.password:
            words.append("--password-from-stdin")
            password = login.password.encode() + b"\n"
        return self._run([*words, *arguments[1:]], cwd, password, limit)

    def state_of(self, tree: Path) -> str:
        """Return what ``svnversion`` says of a working copy: ``123`` is one at r123, unmodified and whole."""
        return self._run(["svnversion", "--quiet", "."], tree, b"", 300.0).text

    def close(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """End every svn process that runs and start no more: for the program's own end. KILL leaves none."""
        with self._lock:
            self._closed = True
            running = tuple(self._running)
        if running:
            log.warn("cut off: svn ({count} running)", count=len(running))
        for pid in running:
            signal_group(pid, signum)

    def _run(self, words: list[str], cwd: Path, said: bytes, limit: float) -> ProcessOutput:
        process = self._start(words, cwd)
        try:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # it ended before it read: its answer says why
                    process.stdin.write(said)
                    process.stdin.close()
            return read(process, words[0], limit)
        except TimedOut as error:
            raise TimedOut(f"{' '.join(words[:2])} took longer than {limit:g} s") from error
        finally:
            end(process)
            with self._lock:
                self._running.discard(process.pid)

    def _start(self, words: list[str], cwd: Path) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise MachineFault("the program is shutting down")
            try:
                process = subprocess.Popen(
                    words,
                    cwd=cwd,
                    env=environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                if error.filename == words[0]:
                    raise MachineFault(f"{words[0]} is not installed, or not in PATH: install subversion") from error
                raise MachineFault(f"{words[0]} cannot be run in {cwd}: {error.strerror}") from error
            except OSError as error:
                raise MachineFault(f"{words[0]} cannot be run in {cwd}: {error.strerror}") from error
            self._running.add(process.pid)
            return process

    def _prepare(self) -> None:
        if not self._ready:
            answer = self._run(["svn", "--version", "--quiet"], Path("/"), b"", 60.0)
            found = re.match(r"([0-9]+)\.([0-9]+)", answer.text)
            if found is None:
                raise MachineFault(f"svn does not say its version but {explain(answer)!r}")
            if (int(found[1]), int(found[2])) < OLDEST:
                raise MachineFault(f"svn {answer.text[:20]} is too old: {OLDEST[0]}.{OLDEST[1]} or newer is needed")
        with self._lock:
            try:
                for name, text in (("config", _CONFIG), ("servers", _SERVERS)):
                    self._write(name, text.encode("ascii"))
            except OSError as error:
                raise MachineFault(f"cannot write {self._configuration}: {error.strerror}") from error
            self._ready = True

    def _write(self, name: str, content: bytes) -> None:
        """See to it that a part of the configuration is ours: a build could write it, for it runs as the same user."""
        path = self._configuration / name
        with contextlib.suppress(OSError):
            if plain_bytes(path) == content:
                return
        self._configuration.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{name}.{os.getpid()}")
        for one in (path, fresh):
            remove_tree(one)
        fresh.write_bytes(content)
        fresh.replace(path)


def environment() -> dict[str, str]:
    """Return the environment of svn: what it may need of this program's, without what would change its answers.

    The time zone counts because ``$Date$`` in a file is expanded in it.
    """
    kept = {name: value for name, value in passed_on().items() if not _UNWANTED.match(name)}
    return {**kept, "LC_ALL": _LOCALE, "TZ": "UTC", "SSH_ASKPASS": "true"}


def explain(answer: ProcessOutput) -> str:
    """Return the last line of svn's complaint, without passwords."""
    lines = [line.strip() for line in answer.err.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("svn: ") and "[tunnels]" not in line] or lines
    line = telling[-1] if telling else f"it ended with code {answer.code}"
    return mask("".join(char if char.isprintable() else "?" for char in line))[:300]


def codes(answer: ProcessOutput) -> set[str]:
    """Return the numbers of the errors that svn names."""
    return set(_CODE.findall(answer.err))


def is_away(answer: ProcessOutput) -> bool:
    """Return whether svn says that the repository does not answer, or refuses."""
    return any(_AWAY.fullmatch(code) or code in _LOST for code in codes(answer))


def failure(address: Address, answer: ProcessOutput, what: str) -> BuildToolError:
    """Return the error for an operation on ``what`` (as "r12") of a repository that failed."""
    url = mask(address.url)
    if any(words in answer.err for words in _FULL):
        return MachineFault(f"no disk space left to fetch {url}")
    if is_away(answer):
        return RepositoryUnreachable(f"cannot read {url}: {explain(answer)}")
    if codes(answer) & _NOT_THERE:
        return UnknownRef(f"{url} has no {what}: {explain(answer)}")
    return RepositoryUnreachable(f"cannot read {url}: {explain(answer)}")
