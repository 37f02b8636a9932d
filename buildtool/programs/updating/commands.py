"""Commands of versions and of the service manager, run with bounds, and what they said in one line.

What they print goes to files that have no name, so that a server which a command leaves running is not waited for.
Everything here blocks.
"""

from __future__ import annotations

import os
import pwd
import signal
import ssl
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from attrs import frozen

from buildtool.model.text import one_line

SAID = 64 * 1024
"""The most bytes of a command's output that are looked at: its end."""

WORDS = 400
"""The most characters of a reason."""

GRACE = 5.0
"""Seconds that a command which takes too long has to end by itself."""

_OWN = "BUILDTOOL_UPDATE_"
_HERE = ("127.0.0.1", "::1", "localhost")


@frozen
class CommandAnswer:
    """The end of a command: why it failed, "" where it did not, and what it printed on standard output."""

    why: str
    out: str = ""


def run_command(words: Sequence[str], here: Path, limit: float, account: str = "") -> CommandAnswer:
    """Run a command in a directory for at most ``limit`` seconds; its first word may be a path below that.

    Where this is root and an ``account`` is said, what lies below that directory runs as that.
    """
    own = "/" in words[0] and not words[0].startswith("/")
    program = os.fspath(here / words[0]) if own else words[0]
    with _output() as out, _output() as err:
        try:
            process = subprocess.Popen(
                [program, *words[1:]], cwd=here, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True, **_as(account if own else ""),
            )  # fmt: skip
        except OSError as error:
            return CommandAnswer(f"{words[0]} cannot be run: {error.strerror or error}")
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return CommandAnswer(f"{words[0]} took longer than {limit:g} s")
        finally:
            _end(process)
        said = _tail(out)
        if code == 0:
            return CommandAnswer("", said)
        return CommandAnswer(_why(words[0], code, _tail(err), said), said)


def _output() -> IO[bytes]:
    """Return where a command prints: nowhere on a full disk, since going back does not wait for room."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return Path(os.devnull).open("r+b")


def _as(account: str) -> dict[str, Any]:
    """Return as whom and in what environment a command runs: without what is said to this program alone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    if not account or os.geteuid() != 0:
        return {"env": environment}
    found = pwd.getpwnam(account)
    environment |= {"HOME": found.pw_dir, "USER": account, "LOGNAME": account}
    groups = os.getgrouplist(account, found.pw_gid)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups, "env": environment}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command that goes on, and what it started.

    One of another account that this one may not end is left to whoever started this.
    """
    if process.poll() is not None:
        return
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    except PermissionError:
        return
    process.wait()


def _tail(stream: IO[bytes]) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - SAID))
    return stream.read().decode("utf-8", "replace")


def _why(program: str, code: int, err: str, out: str) -> str:
    lines = [line for text in (err, out) for line in text.splitlines() if line.strip()]
    last = one_line(([line for line in err.splitlines() if line.strip()] or lines or [""])[-1], WORDS)
    ended = f"signal {-code}" if code < 0 else f"code {code}"
    return f"{program} ended with {ended}{': ' if last else ''}{last}"


class _StaysHere(urllib.request.HTTPRedirectHandler):
    """Takes an answer that leads elsewhere as what it is: no 200."""

    def redirect_request(self, *_said: object, **_named: object) -> None:
        """Ask nobody else."""


def asked(url: str, limit: float) -> str:
    """Return why an address is not answered with 200 within ``limit`` seconds altogether, "" where it is."""
    said = list[str]()
    # A limit of the library's is for each piece that comes, so one that sends a byte now and then would never end.
    asking = threading.Thread(target=lambda: said.append(_asked(url, limit)), daemon=True)
    asking.start()
    asking.join(limit)
    return said[0] if said else f"{url} took longer than {limit:g} s"


def _asked(url: str, limit: float) -> str:
    context = ssl.create_default_context()
    if urlsplit(url).hostname in _HERE:  # the machine itself, whose certificate may be for its name in the world
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _StaysHere
        )
        with opener.open(url, timeout=limit) as answer:
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return f"{url} answered {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return f"{url} does not answer: {one_line(str(getattr(reason, 'strerror', None) or reason), WORDS)}"
    except Exception as error:  # noqa: BLE001 - http.client's own: what answers does not speak HTTP
        return f"{url} does not answer as HTTP does: {type(error).__name__}"
    return "" if status == 200 else f"{url} answered {status}"  # noqa: PLR2004 - of HTTP
