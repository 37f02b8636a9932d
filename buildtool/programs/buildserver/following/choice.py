"""What an owner says of the repository that their configuration follows, and of the keys by which it must be signed."""

from __future__ import annotations

import argparse
import hashlib
import os
import stat
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from buildtool.adapters.host.zones import zone_named
from buildtool.adapters.storage.private_directories import OTHERS_WRITE
from buildtool.adapters.vcs.followed.bounded_git import BoundedGit
from buildtool.adapters.vcs.followed.repository import FollowedRepository
from buildtool.adapters.vcs.refs import check_ref, check_url
from buildtool.configuration.finding import at_home, from_here
from buildtool.errors import BuildToolError, ConfigurationError, UsageError
from buildtool.model.guest.signing_keys import OPENPGP, SigningKey, read_signing_keys
from buildtool.programs.common.subcommands import How, number, valued

BY_ITSELF, ASK = "by-itself", "ask"
KEYS_LIMIT = 64 * 1024
"""The most bytes of a file with keys."""

MOST_FILES = 16
EVERY = 15
"""Minutes between two looks."""


def followed_url(text: str) -> str:
    """Return what ``--follow-config`` says. Raises ArgumentTypeError."""
    url, _, branch = text.rpartition("#") if "#" in text else (text, "", "")
    try:
        check_url(url)
        if branch or text.endswith("#"):
            check_ref(branch, url)
    except BuildToolError as error:
        raise ArgumentTypeError(f"{error} (say URL or URL#BRANCH)") from error
    return text


def key_files(text: str) -> tuple[Path, ...]:
    """Return the files that ``--signed-by`` names. Raises ArgumentTypeError, ConfigurationError."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(names) > MOST_FILES:
        raise ArgumentTypeError(f"at most {MOST_FILES} files, separated by commas")
    return tuple(at_home(Path(name), "--signed-by") for name in names)


def applying(text: str) -> str:
    """Return how a new commit is taken over. Raises ArgumentTypeError."""
    if text not in (BY_ITSELF, ASK):
        raise ArgumentTypeError(f"{text[:40]!r} is neither {BY_ITSELF} nor {ASK}")
    return text


FOLLOW_OPTIONS: Mapping[str, How] = {
    "--follow-config": valued(
        "a git repository of your own choice whose config.py says which projects are built and how: URL or URL#BRANCH; "
        "what is new there and signed is taken over between builds", "URL", followed_url,
    ),
    "--signed-by": valued(
        "files with the SSH public keys by one of which its commits must be signed; nothing else of it is ever run",
        "FILES", key_files,
    ),
    "--apply-config": valued(
        f"how a new commit is taken over: {BY_ITSELF}, or {ASK}: after accept-config (default {BY_ITSELF})", "HOW",
        applying,
    ),
    "--follow-every": valued(f"minutes between two looks for a new commit (default {EVERY})", "MIN", number(1, 10_080)),
}  # fmt: skip
"""What ``add_argument`` takes for each."""

FOLLOW_DEFAULTS: Mapping[str, object] = {
    "follow_config": None, "signed_by": (), "apply_config": BY_ITSELF, "follow_every": EVERY,
}  # fmt: skip


@frozen
class FollowChoice:
    """The choice of an owner; ``every`` is in seconds, ``asks`` whether they accept each commit by hand."""

    url: str
    branch: str
    files: tuple[Path, ...]
    asks: bool
    every: float

    @property
    def source(self) -> str:
        """What tells one followed branch from another, without a password that may be in its URL."""
        return hashlib.sha256(f"{self.url}#{self.branch}".encode()).hexdigest()

    def repository(self, place: Path) -> FollowedRepository:
        """Return its copy below ``place``, which runs processes of its own."""
        return FollowedRepository(BoundedGit(place), self.url, self.branch)

    def read_keys(self) -> tuple[SigningKey, ...]:
        """Return the keys in the files as they are now. Blocks. Raises ConfigurationError."""
        return tuple(key for path in self.files for key in _keys(path))


def choice_of(said: argparse.Namespace) -> FollowChoice | None:
    """Return the choice of an owner, None where nothing is followed. Raises UsageError."""
    text = said.follow_config or ""
    url, _, branch = text.rpartition("#") if "#" in text else (text, "", "")
    if not url:
        if said.signed_by:
            raise UsageError("--signed-by goes with --follow-config: name the repository, too")
        return None
    if not said.signed_by:
        raise UsageError(
            "--follow-config needs --signed-by FILE with your public keys: what is not signed by one is never run"
        )
    files = tuple(from_here(one, "--signed-by") for one in said.signed_by)
    return FollowChoice(url, branch, files, said.apply_config == ASK, said.follow_every * 60.0)


def _keys(path: Path) -> tuple[SigningKey, ...]:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(KEYS_LIMIT + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise ConfigurationError(f"--signed-by: {path} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(mode) or len(data) > KEYS_LIMIT:
        raise ConfigurationError(f"--signed-by: {path} is no file of at most {KEYS_LIMIT // 1024} KiB")
    if mode & OTHERS_WRITE:
        raise ConfigurationError(f"--signed-by: others may change {path}: chmod go-w {path}")
    if data.startswith(OPENPGP.encode()):
        raise ConfigurationError(f"--signed-by: {path} has OpenPGP keys: keys of SSH are taken, and git signs by them")
    try:
        return read_signing_keys(data.decode(), zone_named(""))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"--signed-by: {path} is no text with keys") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"--signed-by: {path}: {error}") from error
