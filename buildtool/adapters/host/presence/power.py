"""Whether a machine runs from its battery, as Linux and macOS tell it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")

PMSET = ("pmset", "-g", "batt")
"""What tells it on macOS."""


def on_battery(root: Path = ROOT) -> bool | None:
    """Return whether Linux runs from a battery of its own; None on a machine that has none, or does not tell."""
    plugged, battery, empties = None, False, False
    for supply in _supplies(root / "sys/class/power_supply"):
        kind = _word(supply / "type")
        if kind == "Battery" and _word(supply / "scope") != "Device":  # else it is a mouse's
            battery = True
            empties = empties or _word(supply / "status") == "Discharging"
        elif kind in ("Mains", "USB", "Wireless") and _word(supply / "online") in ("0", "1"):
            plugged = bool(plugged) or _word(supply / "online") == "1"
    if not battery:
        return None
    return empties if plugged is None else empties and not plugged


def parse_pmset(said: str) -> bool | None:
    """Return whether macOS runs from a battery, by what ``pmset -g batt`` says; None where it says nothing."""
    if "Now drawing from 'Battery Power'" in said:
        return True
    return False if "Now drawing from 'AC Power'" in said else None


def _supplies(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir())[:100]
    except OSError:
        return []


def _word(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
