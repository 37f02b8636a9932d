"""What metaservers said of their projects, kept in the cache of this account, so that it is asked for once.

Covered by tests/programs/startcompile/test_describing.py.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from buildtool.errors import DecodeError
from buildtool.programs.startcompile.places import MetaserverPlace
from buildtool.protocol.hello import DESCRIBED, ProjectsDescribed
from buildtool.protocol.projects.described import DescribedProjects, read_told

_MOST = 2 * DESCRIBED


def cache_directory() -> Path | None:
    """Return where descriptions are kept, below ``$XDG_CACHE_HOME``; None for an account without a home."""
    top = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(top) if top else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "buildtool" / "projects"


def kept(addresses: Sequence[MetaserverPlace]) -> DescribedProjects | None:
    """Return what was kept of the metaserver at these addresses, or None where nothing is that can be used."""
    path = _path(addresses)
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            text = file.read(_MOST + 1)
        found = json.loads(text) if len(text) <= _MOST else {}
        told = ProjectsDescribed(str(found["digest"]), str(found["text"]))
        return read_told(told, _where(addresses))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, DecodeError):
        return None  # then it is asked for


def keep(addresses: Sequence[MetaserverPlace], told: ProjectsDescribed) -> None:
    """Keep what a metaserver told, as far as that can be: where it cannot, it is asked for again."""
    path = _path(addresses)
    if path is None:
        return
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.write_text(json.dumps({"digest": told.digest, "text": told.text}), encoding="utf-8")
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _path(addresses: Sequence[MetaserverPlace]) -> Path | None:
    top = cache_directory()
    if top is None or not addresses:
        return None
    return top / f"{hashlib.sha256(_where(addresses).encode()).hexdigest()[:32]}.json"


def _where(addresses: Sequence[MetaserverPlace]) -> str:
    return ",".join(one.where for one in addresses)
