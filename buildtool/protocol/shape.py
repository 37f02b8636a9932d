"""What ``shapes`` makes of each annotation, what is said where a value does not fit, and how sizes are counted.

The test is tests/protocol/test_codec.py.
"""

from __future__ import annotations

import typing
from collections.abc import Callable

from attrs import frozen

from buildtool.protocol.json_text import size_of_text

_SHOWN = 60
INT_LIMIT = 2**63
TEXT_OVERHEAD = 16
NUMBER_SIZE = 12
LIST_OVERHEAD = 16
Plain = typing.Any
"""Data without a shape yet: what is decoded may be anything at all."""

Whole = typing.Any
"""A message, or a value inside one."""


@frozen
class Shape:
    """The encoder and the decoder of one annotation. ``accepts`` are the plain types that may stand for it.

    ``most`` is the largest size that is sent for it, as ``size_of`` counts.
    """

    accepts: tuple[type, ...]
    encode: Callable[[Whole], Plain]
    decode: Callable[[Plain], Whole]
    most: int


class ShapeError(Exception):
    """A value that does not fit its shape. The fields that lead to it are added to ``path`` on the way out."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said
        self.path: list[str] = []


def size_of(plain: Plain) -> int:
    """Return how many bytes plain data takes on the wire, at most."""
    size = 0
    parts = [plain]
    for part in parts:  # grows while it is walked through: a call for each part takes twice as long
        kind = type(part)
        if kind is str:
            size += TEXT_OVERHEAD + size_of_text(part)
        elif kind is list:
            size += LIST_OVERHEAD
            parts += part
        elif kind is dict:
            size += LIST_OVERHEAD + NUMBER_SIZE * len(part)
            parts += part
            parts += part.values()
        else:
            size += NUMBER_SIZE + NUMBER_SIZE
    return size


def shown(value: object) -> str:
    """Return any value as one bounded line; of a container only its type and its size."""
    if type(value) is str:
        text = ascii(value[:_SHOWN])
        return text if len(value) <= _SHOWN and len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    if type(value) is int:
        return str(value) if abs(value) < INT_LIMIT else "a huge number"
    if value is None or type(value) in (bool, float):
        return str(value)
    if type(value) in (list, tuple, dict, bytes):
        return f"a {type(value).__name__} of {len(value)}"  # type: ignore[arg-type]
    return f"a {type(value).__name__}"[:_SHOWN]
