"""Programs that begin where they are loaded: what a start costs besides is the same each time, and is paid once a run.

``begin`` takes the place of ``subprocess.Popen`` in the farms of end-to-end tests. A program of this checkout then is a
fork of a process that has loaded it and done nothing else (``warm_program.py``), so that nine tenths of the time of a
short one are saved. Whatever else is started, or would be loaded in another way, is started anew. So is everything in
``make long``, with ``--cold``, and in the tests whose subject a start is.
"""

import atexit
import fcntl
import hashlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import IO, Any

from tests.support import warm_program

ROOT = Path(__file__).resolve().parent.parent.parent

cold = [False]
"""Whether every program is started anew."""

LOOKED_AT = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "TZ", "OPENSSL_", "GLIBC_")
"""How the names of variables begin that an interpreter or a library looks at while it is loaded."""

_SERVE = {"--web", "--restored", "--accept-new-database"}
_LOADED = {**os.environ, "PYTHONUNBUFFERED": "1"}
_LOOK = 0.01

_connections: dict[str, socket.socket] = {}
_one_at_a_time = Lock()


@atexit.register
def _leave() -> None:
    for connection in _connections.values():
        connection.close()


def kind_of(words: Sequence[str]) -> str | None:
    """Return which of the programs that can be loaded already a command line starts, or None."""
    if list(words[:1]) != [sys.executable]:
        return None
    if list(words[1:3]) == ["-m", "buildtool.demo.mailbox"]:
        return "mailbox"
    if len(words) < 2 or Path(words[1]).parent != ROOT / "bin":
        return None
    name = Path(words[1]).stem
    if name == "metaserver" and set(words[2:]) <= _SERVE:
        return "serving"
    return name if name in warm_program.PROGRAMS else None


def loads_alike(environment: Mapping[str, str]) -> bool:
    """Return whether a program is loaded with this environment as it was loaded already."""
    return _looked_at(environment) == _looked_at(_LOADED)


def _looked_at(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(LOOKED_AT)}


def begin(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
    stdout: int,
    stderr: int,
    cwd: str | Path | None = None,
    start_new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program as ``subprocess.Popen`` does, from where it is loaded if that can be."""
    kind = None if cold[0] or stdin != subprocess.DEVNULL or not loads_alike(env) else kind_of(words)
    if kind is None:
        return subprocess.Popen(
            list(words), env=dict(env), stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd,
            start_new_session=start_new_session,
        )  # fmt: skip
    asked = {
        "words": list(words[3:] if kind == "mailbox" else words[1:]),
        "environment": dict(env),
        "directory": str(cwd or Path.cwd()),
        "session": start_new_session,
    }
    if kind == "mailbox":
        asked["words"] = ["mailbox", *words[3:]]
    return Forked(words, kind, json.dumps(asked).encode(), stdout, stderr)


def finished(
    words: Sequence[str], *, env: Mapping[str, str], cwd: str | Path | None = None, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end as ``subprocess.run`` does, from where it is loaded if that can be."""
    pipe = subprocess.PIPE
    with begin(words, env={**env, "PYTHONUNBUFFERED": "1"}, stdout=pipe, stderr=pipe, cwd=cwd) as program:
        try:
            out, error = program.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
    return subprocess.CompletedProcess(list(words), program.returncode, out.decode(), error.decode())


class Forked(subprocess.Popen[bytes]):
    """A program that was begun by the process that had loaded it, which also tells how it ended."""

    def __init__(self, words: Sequence[str], kind: str, asked: bytes, stdout: int, stderr: int) -> None:
        self.args, self.returncode, self.stdin = list(words), None, None
        self._ended, ends = os.pipe()
        self.stdout, out = _pipe(stdout)
        self.stderr, error = _pipe(stderr, out)
        with Path(os.devnull).open() as nothing:
            self.pid = _asked(kind, asked, [nothing.fileno(), out, error, ends])
        for number in {out, error, ends} - {1, 2}:
            os.close(number)

    def __del__(self) -> None:
        """Say nothing of one that was not waited for: it is no child of this process."""

    def poll(self) -> int | None:
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            with selectors.DefaultSelector() as looking:
                looking.register(self._ended, selectors.EVENT_READ)
                if not looking.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            told = os.read(self._ended, 16)
            os.close(self._ended)
            self.returncode = int(told) if told else -signal.SIGKILL
        return self.returncode

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[bytes, bytes]:  # noqa: A002 - theirs
        said: dict[IO[bytes] | None, bytes] = {self.stdout: b"", self.stderr: b""}
        until = time.monotonic() + (timeout if timeout is not None else 1e9)
        with selectors.DefaultSelector() as reading:
            for stream in said:
                if stream is not None:
                    reading.register(stream, selectors.EVENT_READ, stream)
            while reading.get_map():
                for key, _ in reading.select(max(0.0, until - time.monotonic())):
                    piece = os.read(key.fd, 65_536)
                    said[key.data] += piece
                    if not piece:
                        reading.unregister(key.fileobj)
                if time.monotonic() > until:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0, said[self.stdout], said[self.stderr])
        self.wait(max(0.0, until - time.monotonic()))
        return said[self.stdout], said[self.stderr]

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _pipe(wanted: int, out: int = 1) -> tuple[IO[bytes] | None, int]:
    """Return what the caller reads, and the descriptor to which the program writes."""
    if wanted == subprocess.PIPE:
        reading, writing = os.pipe()
        return os.fdopen(reading, "rb"), writing
    return None, out


def _asked(kind: str, text: bytes, descriptors: list[int]) -> int:
    """Ask for one more of a program; return the number of its process."""
    with _one_at_a_time:
        for again in (True, False):
            connection = _connections.get(kind) or _connected(kind)
            _connections[kind] = connection
            try:
                socket.send_fds(connection, [text], descriptors)
                pid = connection.recv(16)
            except OSError:
                pid = b""
            if pid:
                return int(pid)
            connection.close()
            del _connections[kind]
            if not again:
                break
    raise RuntimeError(f"it cannot be loaded: {sys.executable} -m {warm_program.__name__} {kind} says why")


def _place() -> Path:
    """Return the directory in which the processes of one run find what is loaded, once for all of them."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    name = hashlib.sha256(f"{run} {ROOT} {os.geteuid()}".encode()).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"buildtool-warm-{name}"
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def _connected(kind: str) -> socket.socket:
    """Return a connection to the process that has loaded a program; start that if there is none."""
    path = _place() / kind
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = _new_socket()
        try:
            connection.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            with _new_socket() as listening:
                listening.bind(str(path))
                listening.listen()
                subprocess.run(
                    [sys.executable, "-P", "-m", warm_program.__name__, kind],
                    env=_LOADED | {"PYTHONPATH": str(ROOT)}, cwd="/", stdin=listening.fileno(),
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, check=True,
                )  # fmt: skip
            connection.connect(str(path))
        return connection


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
