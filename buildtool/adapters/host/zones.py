"""Time zones by their names, and that of this machine. Tested by tests/programs/buildserver/guest/test_wishes.py."""

from __future__ import annotations

from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from buildtool.project import zones

LOCAL = Path("/etc/localtime")


def zone_named(name: str, local: Path = LOCAL) -> tzinfo:
    """Return the time zone of a name, or that of this machine for an empty one. Raises UsageError."""
    return zones.zone_named(name) if name else _own(local)


def _own(local: Path) -> tzinfo:
    try:
        target = str(local.resolve(strict=True))
        place = target.partition("zoneinfo/")[2]
        return ZoneInfo(place) if place else _from_file(local)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _from_file(local: Path) -> tzinfo:
    with local.open("rb") as stream:
        return ZoneInfo.from_file(stream, key=None)
