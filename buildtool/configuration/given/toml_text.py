"""Reads TOML that anybody may have written: what it holds can be shown, and be the name of a file.

Covered by tests/configuration/given/test_toml_text.py.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

_DEPTH = 16
"""How deep tables and lists may lie in each other: more than any setting needs, and less than Python can write."""

_WHOLE = 2**63
"""Whole numbers of TOML are smaller, with either sign; Python refuses to write those of more than 4,300 digits."""


def tables_of(text: str) -> dict[str, Any]:
    """Return what a text in TOML says. Raises ValueError, in one line, for what is no TOML or in no setting."""
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:
        raise ValueError(" ".join(str(error).split())) from error
    around: list[object] = [found]
    for _ in range(_DEPTH):
        around = [part for one in around for part in _parts(one)]
        for one in around:
            _check(one)
    if around:
        raise ValueError(_TOO_DEEP)
    return found


_TOO_DEEP = f"tables and lists lie more than {_DEPTH} deep in each other"


def _parts(value: object) -> Iterator[object]:
    """Yield what lies in a table, its names too, or in a list."""
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _check(value: object) -> None:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("there is a zero byte (\\u0000) in a text")
    if isinstance(value, int) and not -_WHOLE <= value < _WHOLE:
        raise ValueError("a whole number has more than 64 bits")
