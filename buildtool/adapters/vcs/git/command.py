"""One git process at a time: without prompts, with limits, and deaf to the machine's own settings.

Git 2.32 or newer is needed, which is the first that lets its global configuration be replaced.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from buildtool.adapters.processes.environment import passed_on
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut, VcsProgram, read
from buildtool.adapters.vcs.refs import apart, mask
from buildtool.errors import BuildToolError, GitMissing, MachineFault, RepositoryUnreachable

OLDEST = (2, 32)
"""The oldest git that will do."""

NOWHERE = Path(os.devnull)
"""A ``git_dir`` for what needs no repository, so that git looks for none in the directory it happens to run in."""

_UNWANTED_VARIABLES = re.compile(r"GIT_(?!SSH|SSL_|HTTP_|PROXY_|EXEC_PATH|PYTHON_)")
_SETTINGS = """\
# Written by buildtool whenever it is not so: git reads this instead of the user's own configuration.
[core]
\thooksPath = /dev/null
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\tfsmonitor = false
[safe]
\tdirectory = *
[credential]
\thelper =
[protocol "ext"]
\tallow = never
[fetch]
\tunpackLimit = 1
[gc]
\tautoDetach = false
[maintenance]
\tautoDetach = false
[http]
\tlowSpeedLimit = 1000
\tlowSpeedTime = 60
[advice]
\tdetachedHead = false
[init]
\tdefaultBranch = main
"""

_ALONE = {
    "core.attributesFile": os.devnull,
    "core.commitGraph": "false",
    "core.excludesFile": os.devnull,
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.multiPackIndex": "false",
    "safe.directory": "*",
}
"""What git is told where it reads no settings from any file but those of a git directory that was just made."""


_SITE, _USER, _PASSWORD = "BUILDTOOL_GIT_SITE", "BUILDTOOL_GIT_USER", "BUILDTOOL_GIT_PASSWORD"

_HELPER = f"""!f() {{
  test "$1" = get || return 0
  while IFS== read -r name value; do
    case "$name" in protocol) protocol=$value ;; host) host=$value ;; esac
  done
  test "$protocol://$host" != "${_SITE}" || printf 'username=%s\\npassword=%s\\n' "${_USER}" "${_PASSWORD}"
}}; f"""
"""What git runs in a shell where it is asked for a login, and which has one for its own site alone.

Git puts a URL into the arguments of programs of its own, which every user of the machine can read, so none has a login
in it; the environment is its owner's alone. Settings by URL (``credential.URL.helper``) do not know all names of hosts.
"""


def _as_it_is(url: str) -> str:
    """Return a URL without any other login than its own."""
    return url


class GitCommand(VcsProgram):
    """A runner of git. All methods block and may be called from several threads at once."""

    def __init__(self, settings: Path, login: Callable[[str], str] = _as_it_is) -> None:
        """``settings`` is where git's configuration is written; its directory is made.

        ``login`` returns a URL with the login that git needs there, which stands nowhere but in git's environment.
        """
        super().__init__("git", lambda _: _missing())
        self._login = login
        self._settings = settings
        self._checked = False

    def run(  # noqa: PLR0913 - each says one thing about the process
        self,
        arguments: Sequence[str],
        *,
        git_dir: Path | None = None,
        tree: Path | None = None,
        url: str | None = None,
        limit: float = 300.0,
        on_line: Callable[[bytes], None] | None = None,
        sink: Callable[[bytes], object] | None = None,
        given: bytes | IO[bytes] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> ProcessOutput:
        """Run ``git arguments`` in a bare repository or a work tree; ``url`` is then what ``origin`` stands for.

        ``on_line`` takes the output line by line instead of keeping it, ``sink`` as it comes; ``given`` is what git
        reads, or a file at the place where it begins. With ``settings`` they and a few of ours are all that git goes by
        beside the git directory's own. A login in the URL travels in the environment, apart from it, so that it shows
        in no process list, and goes to no other host. Raises TimedOut after ``limit`` seconds, GitMissing, and
        MachineFault if git cannot be run for another reason.
        """
        self._prepare()
        place = [] if git_dir is None else [f"--git-dir={git_dir}"]
        place += [] if tree is None else ["-C", str(tree)]
        environment = _environment(self._settings, None if url is None else self._login(url), settings)
        if self.downloading is not None and self.downloading.rate is not None:
            environment["GIT_HTTP_LOW_SPEED_LIMIT"] = "1"  # what is slow by its owner's wish has not stalled
        with _input(given) as stream:
            process = self.start(["git", *place, *arguments], environment, stream, _elsewhere())
        try:
            return read(process, "git", limit, on_line, sink, self.pace(process))
        except TimedOut as error:
            raise TimedOut(f"git {arguments[0]} took longer than {limit:g} s") from error
        finally:
            self.end(process)

    def talk(self, arguments: Sequence[str], *, git_dir: Path) -> subprocess.Popen[bytes]:
        """Start git in a git directory that was just made, to be written to and read from; it must be given to ``end``.

        Raises GitMissing, and MachineFault if git cannot be run for another reason.
        """
        self._prepare()
        environment = _environment(self._settings, None, {})
        return self.start(["git", f"--git-dir={git_dir}", *arguments], environment, subprocess.PIPE, _elsewhere())

    def _prepare(self) -> None:
        if not self._checked:
            check_git()
            self._checked = True
        self.write_own(self._settings, _SETTINGS.encode("ascii"))


def _environment(file: Path, url: str | None, settings: Mapping[str, str] | None) -> dict[str, str]:
    """Return the environment of git, without what would point it at another repository (as in a hook)."""
    kept = {name: value for name, value in passed_on().items() if not _UNWANTED_VARIABLES.match(name)}
    environment = {
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_ASKPASS": "true",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(file) if settings is None else os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "SSH_ASKPASS": "true",
    }
    if not kept.keys() & {"GIT_SSH_COMMAND", "GIT_SSH"}:
        environment["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ServerAliveInterval=15"
    said = {} if settings is None else {**_ALONE, **settings}
    if url is not None:
        site, url, login = apart(url)
        said["remote.origin.url"] = url
        if login is not None:
            said["credential.helper"] = _HELPER
            environment |= {_SITE: site, _USER: login[0], _PASSWORD: login[1]}
    for number, (name, value) in enumerate(said.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return kept | environment | ({"GIT_CONFIG_COUNT": str(len(said))} if said else {})


def _elsewhere() -> Path | None:
    """Return where git is to run when the directory that this program runs in is gone, or may not be entered."""
    try:
        os.getcwd()  # noqa: PTH109 - nothing but to see whether it can be told
    except OSError:
        return Path(os.sep)
    return None


def check_git(oldest: tuple[int, int] = OLDEST) -> None:
    """Raise GitMissing unless this machine has a git that is not older. Blocks for some milliseconds."""
    # GitPython runs git when it is imported, and refuses to be imported where there is none. A machine without git is
    # told so when it first needs it, in one line.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import git  # noqa: PLC0415 - a tenth of a program's start, of which most that is done with it needs no git

    try:
        version = tuple(git.Git().version_info)
    except (git.CommandError, OSError) as error:
        raise _missing() from error
    if not version:
        raise _missing()
    if version[:2] < oldest:
        said, needed = ".".join(map(str, version)), ".".join(map(str, oldest))
        raise GitMissing(f"git {said} is too old: {needed} or newer is needed")


def _missing() -> GitMissing:
    return GitMissing("git is not installed on this machine, or not in PATH: install git")


@contextmanager
def _input(given: bytes | IO[bytes] | None) -> Iterator[IO[bytes] | int]:
    """Give what a process can read from. A file and not a pipe: nobody has to write while the answer is read."""
    if not isinstance(given, bytes):
        yield subprocess.DEVNULL if given is None else given
        return
    with tempfile.TemporaryFile() as stream:
        stream.write(given)
        stream.seek(0)
        yield stream


def explain(answer: ProcessOutput) -> str:
    """Return the one line of git's complaint that says most, without passwords."""
    lines = [line.strip() for line in answer.err.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))]
    if telling and "Could not read from remote repository" in telling[-1]:
        # Then the transport said why, in the line before.
        before = lines.index(telling[-1]) - 1
        telling = lines[before : before + 1] if before >= 0 else telling
    chosen = telling or lines or [f"it ended with code {answer.code}"]
    return mask(chosen[-1])[:300]


def need(answer: ProcessOutput, error: Callable[[str], Exception], what: str = "") -> ProcessOutput:
    """Return an answer of git's. Raises ``error`` of git's complaint, with ``what`` before it, if it failed."""
    if answer.code:
        raise error(what + explain(answer))
    return answer


def unreachable(url: str, answer: ProcessOutput) -> BuildToolError:
    """Return the error for a network operation that failed: the repository's fault, or a full disk here."""
    if "No space left on device" in answer.err or "Disk quota exceeded" in answer.err:
        return MachineFault(f"no disk space left to fetch {mask(url)}")
    return RepositoryUnreachable(f"cannot read {mask(url)}: {explain(answer)}")
