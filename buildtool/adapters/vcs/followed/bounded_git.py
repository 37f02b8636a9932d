"""Git that fills neither disk nor memory, whatever an origin sends, and knows no keys but those that it is given.

Covered by tests/adapters/vcs/followed/test_repository.py and test_signatures.py.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from buildtool.adapters.vcs.git.command import GitCommand

FETCHED = 64 * 1024 * 1024
"""The most bytes of one file that git may write: what one fetch brings is one."""

MEMORY = 2 * 1024 * 1024 * 1024
"""The most bytes of address space that git may have."""

_BOUNDS = 'ulimit -f "$1" 2>/dev/null; ulimit -v "$2" 2>/dev/null; shift 2; exec "$@"'
_SETTINGS = {
    "core.bigFileThreshold": "16m",
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "protocol.ext.allow": "never",
    "transfer.bundleURI": "false",
}
_PROGRAMS = ("gpg.program", "gpg.openpgp.program", "gpg.x509.program", "gpg.ssh.program")
_NO_PROGRAM = "/nonexistent/no-such-program"
"""What git is told to check signatures with of a kind for which no key is given: it fails, so they are not right."""


class BoundedGit(GitCommand):
    """A runner of git for one followed repository; ``place`` is the directory in which everything of it lies.

    One process and those that it starts write no file of more than ``fetched`` bytes.
    """

    def __init__(self, place: Path, fetched: int = FETCHED) -> None:
        super().__init__(place / "gitconfig")
        self.place = place
        self.fetched = fetched

    @property
    def settings(self) -> Mapping[str, str]:
        """All that git goes by."""
        return {**_SETTINGS, **dict.fromkeys(_PROGRAMS, _NO_PROGRAM), "gpg.format": "ssh"}

    def believing(self, signers: str) -> Mapping[str, str]:
        """Return all that git goes by when it checks signatures by the text of a file of ``allowed_signers``.

        The file has the name of its text, so that two programs that believe others do not take it from each other.
        Raises MachineFault.
        """
        path = self.place / f"allowed_signers-{hashlib.sha256(signers.encode()).hexdigest()[:16]}"
        self.write_own(path, signers.encode())
        program = shutil.which("ssh-keygen") or _NO_PROGRAM
        return {**self.settings, "gpg.ssh.program": program, "gpg.ssh.allowedSignersFile": os.fspath(path)}

    def start(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start git within its bounds. Raises MachineFault."""
        bounds = (str(self.fetched // 512), str(MEMORY // 1024))
        return super().start(["/bin/sh", "-c", _BOUNDS, "sh", *bounds, *words], environment, stdin, cwd)
