"""Time zones by name.

Tested by tests/project/test_triggers.py.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from buildtool.errors import UsageError
from buildtool.model.text import quoted


def zone_named(name: str) -> ZoneInfo:
    """Return the time zone of a name. Raises UsageError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"{quoted(name)} is no time zone that this machine knows: say one such as Europe/Berlin (where it should "
            "know that, the package tzdata is missing)"
        ) from error
