"""Plain data to Perspective Broker's bytes in one pass.

Twisted does it in two, with a class looked up and a security question asked for every part of a call. What comes out
is what Twisted's own encoders make of the same data. A message is one byte string here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from twisted.spread import pb
from twisted.spread.banana import SIZE_LIMIT, Banana, BananaError

_SYMBOLS: dict[bytes, int] = Banana.outgoingVocabulary
_DOUBLE = struct.Struct("!d")
_SMALL = 2**31
_SHORT = 128
_LIST, _INT, _STRING, _NEG, _FLOAT, _LONGINT, _LONGNEG, _VOCAB = (bytes((kind,)) for kind in range(0x80, 0x88))


class Encoded(bytes):
    """A message that is encoded already and goes out as it is."""

    __slots__ = ()


def encoded(data: object, reference: Callable[[pb.Referenceable], int]) -> Encoded:
    """Return plain data encoded; ``reference`` gives the number under which an object of ours is handed out.

    Raises BananaError for a text that is too long, TypeError for what is not plain data.
    """
    out: list[bytes] = []
    _write(data, out.append, reference)
    return Encoded(b"".join(out))


def call_bytes(command: Sequence[object]) -> bytes:
    """Return one command of Perspective Broker, whose parts are numbers, byte strings and encoded data."""
    return _number(len(command), _LIST) + b"".join(map(_part, command))


def _part(part: object) -> bytes:
    if type(part) is Encoded:
        return part
    if type(part) is bytes:
        return _bytes(part)
    if isinstance(part, int):  # whether an answer is wanted is a bool, which goes as a number
        return _integer(part)
    raise TypeError(f"a {type(part).__name__} is no part of a command")


def _write(data: object, put: Callable[[bytes], None], reference: Callable[[pb.Referenceable], int]) -> None:  # noqa: C901
    kind = type(data)
    if kind is bytes:
        put(_bytes(data))  # type: ignore[arg-type] # as its type says
    elif kind is str:
        put(_text(data))  # type: ignore[arg-type] # as its type says
    elif kind is int:
        put(_integer(data))  # type: ignore[arg-type] # as its type says
    elif kind is bool:
        put(_TRUE if data else _FALSE)
    elif data is None:
        put(_NONE)
    elif kind is dict:
        put(_number(len(data) + 1, _LIST) + _DICTIONARY)  # type: ignore[arg-type] # as its type says
        for key, value in data.items():  # type: ignore[attr-defined] # as its type says
            put(_PAIR + _text(key))
            _write(value, put, reference)
    elif kind is list or kind is tuple:
        put(_number(len(data) + 1, _LIST) + (_OF_LIST if kind is list else _OF_TUPLE))  # type: ignore[arg-type]
        for member in data:  # type: ignore[attr-defined] # as its type says
            _write(member, put, reference)
    elif kind is float:
        put(_FLOAT + _DOUBLE.pack(data))
    elif isinstance(data, pb.Referenceable):
        put(_REMOTE + _integer(reference(data)))
    else:
        raise TypeError(f"a {kind.__name__} is not sent")


def _number(number: int, kind: bytes) -> bytes:
    if number < _SHORT:
        return bytes((number,)) + kind
    digits = bytearray()
    while number:
        digits.append(number & 0x7F)
        number >>= 7
    return bytes(digits) + kind


def _integer(number: int) -> bytes:
    if number < 0:
        return _number(-number, _NEG if number >= -_SMALL else _LONGNEG)
    return _number(number, _INT if number < _SMALL else _LONGINT)


def _bytes(data: bytes) -> bytes:
    symbol = _SYMBOLS.get(data)
    if symbol is not None:
        return _number(symbol, _VOCAB)
    if len(data) > SIZE_LIMIT:
        raise BananaError(f"byte string is too long to send ({len(data)})")
    return _number(len(data), _STRING) + data


def _text(text: str) -> bytes:
    return _OF_TEXT + _bytes(text.encode())


_PAIR = _number(2, _LIST)
_OF_TEXT = _PAIR + _bytes(b"unicode")
_NONE = _number(1, _LIST) + _bytes(b"None")
_TRUE = _PAIR + _bytes(b"boolean") + _bytes(b"true")
_FALSE = _PAIR + _bytes(b"boolean") + _bytes(b"false")
_DICTIONARY = _bytes(b"dictionary")
_OF_LIST = _bytes(b"list")
_OF_TUPLE = _bytes(b"tuple")
_REMOTE = _PAIR + _bytes(b"remote")
