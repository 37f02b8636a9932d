"""A stored file of which other bytes are found later, as a disk may bring about."""

import time
from pathlib import Path


def rewrite(path: Path, data: bytes) -> None:
    """Write other bytes into a file, at a time that the file system tells from that of the bytes before.

    Clocks of file systems advance in steps of some milliseconds; within one, a rewrite to the same size leaves no mark.
    """
    before = path.stat().st_ctime_ns
    while True:
        path.write_bytes(data)
        if path.stat().st_ctime_ns != before:
            return
        time.sleep(0.001)
