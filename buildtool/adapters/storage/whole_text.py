"""Files of text that are there whole or not at all, however a program ends that writes them for its user.

Everything here blocks and raises OSError.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def new_text(path: Path, text: str) -> Iterator[None]:
    """Write a file that is not there yet; where the block fails, it and the directories made for it go again.

    Raises FileExistsError where something has its name, which stays as it is.
    """
    with _beside(path, text) as fresh:
        os.link(fresh, path)
        try:
            yield
        except BaseException:  # Ctrl-C as well: who asks again would be told that the file is there already
            with suppress(OSError):
                path.unlink()
            raise


def replace_text(path: Path, text: str) -> None:
    """Write a file in place of what has its name, if anything has."""
    with _beside(path, text) as fresh:
        fresh.replace(path)


@contextmanager
def _beside(path: Path, text: str) -> Iterator[Path]:
    """Write a file beside ``path`` under a name of its own, which is gone afterwards."""
    made = [one for one in path.parents if not os.path.lexists(one)]
    fresh = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("x", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        yield fresh
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        with suppress(OSError):  # the first that holds something ends it
            for directory in made:
                directory.rmdir()
