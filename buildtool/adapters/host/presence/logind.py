"""What logind knows of a desktop: whether it is idle, and since when, as ``busctl`` prints it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Ask = Callable[[Sequence[str]], str | None]
"""Runs a command and returns what it printed, None where it failed."""

COMMAND = (
    "busctl", "--system", "--timeout=2", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager", "IdleHint", "IdleSinceHint",
)  # fmt: skip

_MOST_DIGITS = 20


def parse_idle(said: str) -> float | None:
    """Return since when all sessions are idle, in seconds of wall time; infinity for "not now", None for no answer."""
    lines = said.split("\n")
    if len(lines) < 2 or not lines[0].startswith("b ") or not lines[1].startswith("t "):  # noqa: PLR2004 - both
        return None
    since = lines[1].removeprefix("t ").strip()
    if lines[0] != "b true":
        return float("inf")
    return int(since) / 1e6 if since.isascii() and since.isdigit() and len(since) <= _MOST_DIGITS else None


def logind_age(ask: Ask, now: float) -> float | None:
    """Return for how many seconds no desktop was used, at wall time ``now``; None where logind does not tell."""
    since = parse_idle(ask(COMMAND) or "")
    if since is None:
        return None
    return max(0.0, now - since) if since <= now else 0.0
