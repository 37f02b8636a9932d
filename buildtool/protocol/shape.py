"""What ``shapes`` makes of each annotation, what is said where a value does not fit, and how sizes are counted.

The test is tests/protocol/test_codec.py.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from itertools import accumulate

from attrs import frozen

from buildtool.protocol.json_text import size_of_text
from buildtool.protocol.limits import Limits

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

    ``most`` is the largest size that is sent for it, as ``size_of`` counts. ``schema`` is what it understands as JSON
    Schema, ``parts`` the schemas of all messages in it by the names that ``schema`` refers to, and ``tag`` the ``type``
    of a message, else empty.
    """

    accepts: tuple[type, ...]
    encode: Callable[[Whole], Plain]
    decode: Callable[[Plain], Whole]
    most: int
    schema: Mapping[str, Plain] = {}
    parts: Mapping[str, Plain] = {}
    tag: str = ""


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


# --- texts: bounded when they are understood, bounded or made to fit when they are sent --------------------

_CUT = "…"
_ESCAPE = 6
"""Bytes that one character of a text takes in JSON at most."""


def text_shape(limits: Limits) -> Shape:
    """Return the shape of a text with these limits."""
    understand = _checking(limits.most)
    if limits.sent is None:
        send, most = understand, _ESCAPE * limits.most
    else:
        send, most = _sending(limits.sent), limits.sent
    encoder = send if limits.kept is None else _fitting(send, limits)
    schema = {"type": "string", "maxLength": limits.most, "pattern": "^[^\\u0000]*$"}
    return Shape((str,), encoder, understand, TEXT_OVERHEAD + most, schema)


def _checking(limit: int) -> Callable[[Plain], str]:
    def check(value: Plain) -> str:
        if type(value) is not str:
            raise ShapeError(f"expected text, got {shown(value)}")
        if len(value) > limit or not value.isascii():
            _check_bytes(value, limit)
        if "\0" in value:
            raise ShapeError("text may not hold a NUL")
        return value

    return check


def _check_bytes(value: str, limit: int) -> None:
    try:
        size = len(value) if len(value) > limit else len(value.encode())
    except UnicodeEncodeError:
        raise ShapeError("text may not hold half a surrogate pair") from None
    if size > limit:
        raise ShapeError(f"text of {size} bytes: at most {limit} are allowed")


def _sending(limit: int) -> Callable[[Plain], str]:
    check_text = _checking(limit)
    harmless = limit // _ESCAPE

    def check(value: Plain) -> str:
        if type(value) is str and len(value) <= harmless and value.isascii() and "\0" not in value:
            return value  # without a further call: half of an answer's texts are empty or one word
        text = check_text(value)
        if not text.isalnum() and size_of_text(text) > limit:
            raise ShapeError(f"text of {size_of_text(text)} bytes in JSON: at most {limit} are sent")
        return text

    return check


def _fitting(send: Callable[[Plain], str], limits: Limits) -> Callable[[Plain], str]:
    limit, escaped = limits.sent or limits.most, limits.sent is not None
    keep_end = limits.kept == "end"

    def fit(value: Plain) -> str:
        if type(value) is str and (_ESCAPE * len(value) > limit or "\0" in value or not value.isascii()):
            value = _fitted(value, limit, keep_end=keep_end)
            if escaped and size_of_text(value) > limit:
                value = _cut(value, limit, keep_end=keep_end)
        return send(value)

    return fit


def _fitted(value: str, limit: int, *, keep_end: bool) -> str:
    """Return ``value`` without what the wire does not carry, cut to ``limit`` bytes of UTF-8."""
    if "\0" in value or not value.isascii():
        value = value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="surrogatepass").decode(errors="replace")
    raw = value.encode()
    if len(raw) <= limit:
        return value
    room = limit - len(_CUT.encode())
    if keep_end:
        return _CUT + raw[len(raw) - room :].decode(errors="ignore")
    return raw[:room].decode(errors="ignore") + _CUT


def _cut(value: str, limit: int, *, keep_end: bool) -> str:
    """Return ``value`` cut to ``limit`` bytes of JSON."""
    characters = value[::-1] if keep_end else value
    sizes = accumulate(size_of_text(character) for character in characters)
    kept = sum(size <= limit - len(_CUT.encode()) for size in sizes)
    return _CUT + value[len(value) - kept :] if keep_end else value[:kept] + _CUT
