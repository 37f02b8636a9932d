"""The names of programs that ``--without`` hides from builds."""

from __future__ import annotations

from argparse import ArgumentTypeError

LONGEST, MOST = 100, 64


def tool_names(text: str) -> tuple[str, ...]:
    """Return names of programs from a text with commas. Raises ArgumentTypeError."""
    names = tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    if not 0 < len(names) <= MOST:
        raise ArgumentTypeError(f"name 1 to {MOST} programs, separated by commas, such as ccache,python3")
    for name in names:
        if "/" in name or name in (".", "..") or len(name) > LONGEST or not name.isprintable():
            raise ArgumentTypeError(f"{name[:LONGEST]!r} is no program's name, such as python3, without a directory")
    return names
