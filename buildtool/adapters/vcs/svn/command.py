"""One svn process at a time: without prompts, with limits, and with a configuration of its own.

Subversion 1.10 or newer is needed, which is the first that takes a password from its standard input. What it answers
in XML is read with a parser that takes no document type: no entities, nothing fetched.
"""

from __future__ import annotations

import contextlib
import errno
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from xml.parsers import expat

from attrs import field, frozen

from buildtool.adapters.processes.environment import passed_on
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut, VcsProgram, read
from buildtool.adapters.vcs.refs import mask
from buildtool.adapters.vcs.svn.refs import Address
from buildtool.errors import BuildToolError, MachineFault, RepositoryUnreachable, UnknownRef
from buildtool.model.search.commits import SUBJECT_LIMIT, CommitNote
from buildtool.model.text import one_line

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


class SvnCommand(VcsProgram):
    """A runner of svn. All methods block and may be called from several threads at once."""

    def __init__(self, configuration: Path) -> None:
        """``configuration`` is the directory in which svn's configuration is written; it is made."""
        super().__init__(
            "svn", lambda name: MachineFault(f"{name} is not installed, or not in PATH: install subversion")
        )
        self._configuration = configuration
        self._checked = False

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

    def _run(self, words: list[str], cwd: Path, said: bytes, limit: float) -> ProcessOutput:
        process = self.start(words, environment(), subprocess.PIPE, cwd)
        try:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # it ended before it read: its answer says why
                    process.stdin.write(said)
                    process.stdin.close()
            return read(process, words[0], limit, pace=self.pace(process))
        except TimedOut as error:
            raise TimedOut(f"{' '.join(words[:2])} took longer than {limit:g} s") from error
        finally:
            self.end(process)

    def _prepare(self) -> None:
        if not self._checked:
            answer = self._run(["svn", "--version", "--quiet"], Path("/"), b"", 60.0)
            found = re.match(r"([0-9]+)\.([0-9]+)", answer.text)
            if found is None:
                raise MachineFault(f"svn does not say its version but {explain(answer)!r}")
            if (int(found[1]), int(found[2])) < OLDEST:
                raise MachineFault(f"svn {answer.text[:20]} is too old: {OLDEST[0]}.{OLDEST[1]} or newer is needed")
        for name, text in (("config", _CONFIG), ("servers", _SERVERS)):
            self.write_own(self._configuration / name, text.encode("ascii"))
        self._checked = True


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


# --- what ``svn --xml`` answers -------------------------------------------------------------------------

DEPTH_LIMIT = 16
"""How deep elements may lie in one another; svn's own answers need five."""

COUNT_LIMIT = 100_000
"""How many elements one answer may have."""


PIECES_LIMIT = 100
"""How many pieces of an element's text are kept: a parser tells it line by line."""

PIECE_LIMIT = 4_000
"""How many characters of each."""


@frozen
class Element:
    """An element: the names from the root down to it, joined by ``/``, its attributes, and the pieces of its text."""

    path: str
    attributes: Mapping[str, str]
    pieces: list[str] = field(factory=list)

    @property
    def text(self) -> str:
        """What stands in it, or the beginning of that."""
        return "".join(self.pieces)


def elements(data: bytes) -> list[Element]:
    """Return all elements in the order in which they begin. Raises MachineFault for what svn would never say."""
    found: list[Element] = []
    open_: list[str] = []
    inner: list[Element] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        open_.append(name)
        if len(open_) > DEPTH_LIMIT or len(found) >= COUNT_LIMIT:
            raise MachineFault("svn answered with more than can be read")
        found.append(Element("/".join(open_), attributes))
        inner.append(found[-1])

    def end(_name: str) -> None:
        open_.pop()
        inner.pop()

    def heard(text: str) -> None:
        if len(inner[-1].pieces) < PIECES_LIMIT:
            inner[-1].pieces.append(text[:PIECE_LIMIT])

    def declared(*_said: object) -> None:
        raise MachineFault("svn answered with a document type, which it never does by itself")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = heard
    parser.StartDoctypeDeclHandler = declared
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise MachineFault(f"svn answered with something that is not XML: {error}") from error
    return found


def revisions(data: bytes) -> list[int]:
    """Return the revisions that a ``svn log --xml`` lists, in its order. Raises MachineFault."""
    return [_number(one.attributes.get("revision", "")) for one in elements(data) if one.path == "log/logentry"]


def note(data: bytes) -> CommitNote | None:
    """Return what the first revision of a ``svn log --xml`` is about; None where it lists none. Raises MachineFault."""
    said = {one.path: one.text for one in reversed(elements(data))}
    if "log/logentry" not in said:
        return None
    try:
        at = datetime.fromisoformat(said.get("log/logentry/date", "")).timestamp()
    except (ValueError, OverflowError):
        at = 0.0
    subject = said.get("log/logentry/msg", "").lstrip().partition("\n\n")[0]
    author = one_line(said.get("log/logentry/author", ""), SUBJECT_LIMIT)
    return CommitNote(one_line(subject, SUBJECT_LIMIT), author, at)


def unclean(data: bytes) -> list[str]:
    """Return the paths that a ``svn status --xml`` lists. Raises MachineFault."""
    return [one.attributes.get("path", "?") for one in elements(data) if one.path.endswith("/entry")]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):  # noqa: PLR2004 - digits of the largest revision
        raise MachineFault(f"svn answered with the revision {text[:40]!r}")
    return int(text)
