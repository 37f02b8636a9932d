"""The shapes of texts: bounded when they are understood, bounded or made to fit when they are sent.

The test is tests/protocol/test_codec.py.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from buildtool.protocol.json_text import size_of_text
from buildtool.protocol.limits import Limits
from buildtool.protocol.shape import TEXT_OVERHEAD, Plain, Shape, ShapeError, shown

__all__ = ["text_shape"]

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
    return Shape((str,), encoder, understand, TEXT_OVERHEAD + most)


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
