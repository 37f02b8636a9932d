"""Git that fills neither disk nor memory, whatever an origin sends, and knows no keys but those that it is given.

Covered by tests/adapters/vcs/followed/test_repository.py and test_signatures.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from buildtool.adapters.vcs.git.command import GitCommand

FETCHED = 64 * 1024 * 1024
"""The most bytes of one file that git may write: what one fetch brings is one."""

MEMORY = 4 * 1024 * 1024 * 1024
"""The most bytes of address space that git may have."""

_BOUNDS = 'ulimit -f "$1" 2>/dev/null; ulimit -v "$2" 2>/dev/null; shift 2; exec "$@"'
_SETTINGS = {
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
    def signers(self) -> Path:
        """Where the keys are that signatures are checked with."""
        return self.place / "allowed_signers"

    @property
    def settings(self) -> Mapping[str, str]:
        """All that git goes by."""
        return {
            **_SETTINGS,
            "gpg.format": "ssh",
            "gpg.program": _NO_PROGRAM,
            "gpg.openpgp.program": _NO_PROGRAM,
            "gpg.x509.program": _NO_PROGRAM,
            "gpg.ssh.program": shutil.which("ssh-keygen") or _NO_PROGRAM,
            "gpg.ssh.allowedSignersFile": os.fspath(self.signers),
        }

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
