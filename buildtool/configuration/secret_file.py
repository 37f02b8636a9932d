"""Reads the file of a secret, which stands in no configuration.

Tested by tests/configuration/test_settings.py.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from buildtool.errors import EmptySecret

_SECRET_LIMIT = 4096


def read_secret(where: Path, what: str) -> str:
    """Return the one line in a file of a secret; ``what`` is the setting that names it.

    Raises EmptySecret, also where every account of the machine could read or change it.
    """
    try:
        if not stat.S_ISREG(where.stat().st_mode):  # a device or a pipe might never end
            raise EmptySecret(f"{what}: the secret file {where} cannot be read: it is no file")
        with where.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            content = stream.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise EmptySecret(f"{what}: the secret file {where} cannot be read: {error.strerror or error}") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise EmptySecret(f"{what}: the secret file {where} is open to everybody on this machine: chmod 600 it")
    try:
        secret = content.decode().strip("\r\n")
    except UnicodeDecodeError as error:
        raise EmptySecret(f"{what}: the secret file {where} does not hold text") from error
    if not secret.strip():
        raise EmptySecret(f"{what}: the secret file {where} is empty")
    if len(content) > _SECRET_LIMIT or "\n" in secret:
        raise EmptySecret(f"{what}: the secret file {where} holds more than one line of at most {_SECRET_LIMIT} bytes")
    return secret
