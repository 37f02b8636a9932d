"""One message as one JSON text: bounded and checked before a parser makes objects of it.

Commas, colons and brackets are counted first, which costs a hundredth of the parsing. They bound the values and names
of the text, how deep it nests and what its objects will take in memory. Only where there are too many is the text
looked at again without its strings, in which they may stand too. All of it takes linear time.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, NoReturn

from attrs import frozen

from buildtool.errors import DecodeError

OBJECT = 80
"""Bytes of memory that a value or a name takes besides its own characters, about."""

DICTIONARY = 192
"""Bytes of memory that a dictionary takes besides what is in it, about."""

CHARACTER = 4
"""Bytes of memory that one byte of a text may take: Python keeps a whole text as wide as its widest character."""

_DIGITS = 40
"""Most characters of a number. No number of ours has more than 24."""

_HALF_WORD = 2**63
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ESCAPED = re.compile(rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_MARKS = bytes(set(range(256)) - set(b"[{,:"))
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


@frozen
class TextBounds:
    """The most that one text may have: values and names together, and brackets inside of brackets."""

    values: int
    depth: int = 32


def parsed(text: bytes, bounds: TextBounds) -> Any:  # noqa: ANN401 - plain data without a shape yet
    """Return the plain data of a text. Raises DecodeError, in one line, for a text that is none or beyond bounds.

    Refused are NaN, infinity, a name twice in one dictionary, whole numbers beyond 64 bits, halves of surrogate pairs.
    """
    crowded = len(text) > bounds.values and len(text.translate(None, _NO_MARKS)) > bounds.values
    if crowded or text.count(b"[") + text.count(b"{") > bounds.depth:
        _check(_STRING.sub(b"", text), bounds)
    if b"\\" in text and _SURROGATE.search(_ESCAPED.sub(b" ", text)):
        raise DecodeError("a text with half a surrogate pair")
    try:
        return _DECODER.decode(text.decode())
    except UnicodeDecodeError:
        raise DecodeError("a text that is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise DecodeError(f"a text that is not JSON: {error.msg} at character {error.pos}") from None


def _check(bare: bytes, bounds: TextBounds) -> None:
    """Raise DecodeError for a text, given without its strings, that is beyond its bounds."""
    if len(bare.translate(None, _NO_MARKS)) > bounds.values:
        raise DecodeError(f"a text of more than {bounds.values} values")
    brackets = bare.translate(None, _NO_BRACKETS)
    if len(brackets) != 2 * (bare.count(b"[") + bare.count(b"{")):
        raise DecodeError("a text that is not JSON: its brackets do not match")
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > bounds.depth:
        raise DecodeError(f"a text that nests more than {bounds.depth} deep")


def memory_of(text: bytes) -> int:
    """Return about how many bytes of memory the objects take that ``parsed`` makes of a text, at most."""
    marks = text.translate(None, _NO_MARKS)
    return CHARACTER * len(text) + OBJECT * (len(marks) + 1) + DICTIONARY * marks.count(b"{")


def written(plain: Any) -> bytes:  # noqa: ANN401 - plain data of any shape
    """Return plain data as one text: no spaces, UTF-8."""
    return _ENCODER.encode(plain).encode()


def size_of_text(text: str) -> int:
    """Return how many bytes a string takes in a text, without its quotation marks."""
    return len(_ENCODER.encode(text).encode()) - 2


def _whole(digits: str) -> int:
    number = int(digits) if len(digits) <= _DIGITS else _HALF_WORD
    if not -_HALF_WORD <= number < _HALF_WORD:
        raise DecodeError("a whole number of more than 64 bits")
    return number


def _real(digits: str) -> float:
    number = float(digits) if len(digits) <= _DIGITS else math.inf
    if math.isinf(number):
        raise DecodeError("a number that is too large or too long")
    return number


def _constant(name: str) -> NoReturn:
    raise DecodeError(f"the number {name}")


def _dictionary(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DecodeError("a name twice in one dictionary")
    return found


_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(
    object_pairs_hook=_dictionary, parse_int=_whole, parse_float=_real, parse_constant=_constant
)
