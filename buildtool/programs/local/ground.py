"""What a farm on this machine alone stands on: free ports of loopback, and sources that are a repository.

Covered by tests/demo/test_farm.py and tests/demo/test_sources.py.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from buildtool.errors import BuildToolError

_PORTS = (12_000, 32_000)
"""Below the ports that systems give to outgoing connections, which come and go between a look and its use."""


class FarmError(BuildToolError):
    """A program of the farm did not do what was expected; the message ends with the last that it said."""

    code = "farm"


def free_ports(count: int) -> list[int]:
    """Return ``count`` ports of loopback that are free at the moment, and no other farm's."""
    claimed = claimed_ports(count)
    for claim in claimed.values():
        claim.close()
    return list(claimed)


def claimed_ports(count: int) -> dict[int, socket.socket]:
    """Return ports that are free at the moment, each with a claim on it that no other has while it is open."""
    found: dict[int, socket.socket] = {}
    while len(found) < count:
        port = _PORTS[0] + secrets.randbelow(_PORTS[1] - _PORTS[0])
        if port in found:
            continue
        claim = socket.socket(socket.AF_UNIX)
        try:
            if sys.platform == "linux":  # only there have sockets names that no file stands for, and that end with them
                claim.bind(f"\0buildtool-farm-port-{port}")
        except OSError:
            claim.close()
            continue
        if is_free(port):
            found[port] = claim
        else:
            claim.close()
    return found


def is_free(port: int) -> bool:
    """Return whether a port of loopback is free at the moment."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what is just closing is free
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def import_sources(source: Path, repository: Path) -> str:
    """Make a git repository of its own out of a directory, and return the commit's id. Always the same commit."""
    if repository.exists():
        shutil.rmtree(repository)
    shutil.copytree(source, repository)
    said = "2026-01-01T00:00:00Z"
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(repository),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "demo",
        "GIT_AUTHOR_EMAIL": "demo@localhost",
        "GIT_COMMITTER_NAME": "demo",
        "GIT_COMMITTER_EMAIL": "demo@localhost",
        "GIT_AUTHOR_DATE": said,
        "GIT_COMMITTER_DATE": said,
    }

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=repository, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise FarmError(f"git {words[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Import the sources")
    return git("rev-parse", "HEAD")
