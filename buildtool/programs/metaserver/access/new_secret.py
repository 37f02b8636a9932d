"""``new-secret``: a random secret in a file of its own, which nobody but its owner reads and no screen ever shows.

Tested by tests/programs/metaserver/access/test_new_secret.py.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import stat
from argparse import ArgumentTypeError
from pathlib import Path

from buildtool.adapters.storage.filesystem import (
    Disk,
    RealDisk,
    exists,
    make_directories,
    put_whole,
    read_whole,
    storage_unavailable,
)
from buildtool.configuration.finding import find_config
from buildtool.errors import UsageError
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.output import say
from buildtool.programs.common.subcommands import Subcommand

DIRECTORY = "secrets"
"""Where secrets lie, beside the configuration."""

RANDOM = 32
"""Bytes of a secret, which are 256 bits."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def read_name(text: str) -> str:
    """Return the name of a secret, which is that of its file. Raises ArgumentTypeError."""
    if not _NAME.fullmatch(text):
        raise ArgumentTypeError(f"{text[:80]!r} names no secret: it has letters, digits, - _ . and no /, such as mail")
    return text


def make_secret(config: Path, name: str, disk: Disk, *, replace: bool) -> Path:
    """Write a new secret durably beside a configuration, and return the path of its file.

    Raises UsageError where there is one and it is not to be replaced, or where others could put their own in its place;
    StorageUnavailable for a disk that will not write it.
    """
    path = config.parent / DIRECTORY / name
    fresh = f"{secrets.token_urlsafe(RANDOM)}\n".encode()
    try:
        make_directories(disk, path.parent)
        if stat.S_IMODE(path.parent.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
            raise UsageError(f"{path.parent} can be written by others than its owner: chmod go-w it first")
        if not replace and exists(disk, path):
            raise _there_already(path)
        put_whole(disk, path, fresh, replace=replace)
        if not replace and read_whole(disk, path, len(fresh) + 1) != fresh:  # somebody was quicker: theirs stays
            raise _there_already(path)
    except OSError as error:
        raise storage_unavailable(f"write the secret {path}", error) from error
    return path


def _there_already(path: Path) -> UsageError:
    return UsageError(f"{path} is there already, and stays as it is: --replace makes a new one in its place")


def _new_secret(said: argparse.Namespace) -> int:
    """Make the secret, say where it is, and return the exit code. Raises BuildToolError."""
    path = make_secret(find_config(said.config), said.target, RealDisk(), replace=said.replace)
    say(json.dumps({"path": str(path)}) if said.json else f"{path}: a new secret, which its owner alone can read")
    return EXIT_OK


COMMAND = Subcommand(
    "new-secret", f"write a random secret into a file of its own, {DIRECTORY}/NAME beside the configuration",
    "new-secret mail", _new_secret, "NAME", read_name, ("--replace", "--json"),
)  # fmt: skip
"""The command."""
