"""The files whose values are masked in the logs of builds: the donor's, and the key of this machine."""

from __future__ import annotations

import stat
from argparse import ArgumentTypeError
from collections.abc import Iterable
from pathlib import Path

from buildtool.buildserver.masking import SHORTEST, values_of
from buildtool.errors import ConfigurationError

LARGEST = 64 * 1024
"""Bytes of a file with secrets."""

FILES = 32


def secret_files(text: str) -> tuple[Path, ...]:
    """Return the files that ``--secret-files`` names. Raises ArgumentTypeError for too many."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(names) > FILES:
        raise ArgumentTypeError(f"at most {FILES} files, separated by commas")
    return tuple(map(Path, names))


def secret_values(files: Iterable[Path], own_key: Path) -> tuple[bytes, ...]:
    """Return the values in the files, and in the key of this machine where it has one.

    Raises ConfigurationError for a file that cannot be read or in which there is nothing to mask.
    """
    found = list(values_of(own_key.read_bytes())) if own_key.is_file() else []
    for path in files:
        values = values_of(_read(path))
        if not values:
            raise ConfigurationError(f"--secret-files: {path} holds no value of {SHORTEST} bytes or more")
        found += values
    return tuple(found)


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a device or a pipe might never end
            raise ConfigurationError(f"--secret-files: {path} cannot be read: it is no file")
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--secret-files: {path} cannot be read: {getattr(error, 'strerror', '') or error}"
        ) from error
    if len(content) > LARGEST:
        raise ConfigurationError(f"--secret-files: {path} has more than {LARGEST} bytes")
    return content
