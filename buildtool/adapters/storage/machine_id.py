"""Which machine this is, as its system says."""

from __future__ import annotations

from pathlib import Path

MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
"""Where the system says which machine this is; one that says nothing is like all others that do not."""


def machine_id() -> str:
    """Return which machine this is, or "" where the system does not say."""
    for path in MACHINE_IDS:
        try:
            said = path.read_bytes()[:100].decode(errors="replace").strip()
        except OSError:
            continue
        if said:
            return said
    return ""
