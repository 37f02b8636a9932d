"""Where the program of a command is, looked up as the system would. Runs in keepers, with the standard library alone.

Tested by tests/adapters/processes/test_runner.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def found(program: bytes, cwd: bytes, environment: Mapping[bytes, bytes]) -> bytes:
    """Return where the program of a command is, itself if that is said or there is none.

    Left to look for it, Python tells of the first directory in PATH that may not be entered, whatever is wrong.
    """
    places = () if b"/" in program else environment.get(b"PATH", os.defpath.encode("ascii")).split(b":")
    for place in places:
        path = os.path.join(cwd, place, program)  # noqa: PTH118 - bytes
        if os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113 - bytes
            return path
    return program
