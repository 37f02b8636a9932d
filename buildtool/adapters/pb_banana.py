"""Perspective Broker's two encodings, read with bounds: expressions off the wire, and plain data out of them.

Twisted's own decoders stop at 640 KiB a string and nowhere else: a list may be nested until the stack ends, or go on
until memory does, and what is decoded may name classes. These take the same bytes, count what they hold, and know
plain data and references to remote objects only; no class or module is ever looked up by name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from attrs import frozen
from twisted.spread.banana import Banana

__all__ = ["ITEM_WEIGHT", "Bounds", "Breach", "Expressions", "plain"]

PREFIX_LIMIT = 10
"""Most bytes before a type byte: numbers of 70 bits. Everything that we send has fewer."""

ITEM_WEIGHT = 64
"""Bytes of memory that one decoded item takes besides its own bytes, about."""

_LIST, _INT, _STRING, _NEG, _FLOAT, _LONGINT, _LONGNEG, _VOCAB = range(0x80, 0x88)
_HIGH_BIT = 0x80
_FLOAT_SIZE = 8
_VOCABULARY: dict[int, bytes] = Banana.incomingVocabulary


class Breach(Exception):
    """The peer broke the protocol, or a bound; its connection is closed and nothing of this is believed."""


@frozen
class Bounds:
    """The most that one expression may have: bytes, items (everything inside, lists included), and nested lists."""

    size: int
    items: int
    depth: int = 32


class Expressions:
    """Cuts a byte stream into expressions: lists, byte strings, whole numbers and floats. Takes linear time."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._buffer = bytearray()
        self._open: list[tuple[int, list[object]]] = []
        self._size = 0
        self._items = 0

    @property
    def held(self) -> int:
        """About how many bytes of memory the unfinished expression takes."""
        return len(self._buffer) + self._size + ITEM_WEIGHT * self._items

    def feed(self, chunk: bytes) -> list[object]:
        """Return the expressions that ``chunk`` completes. Raises Breach."""
        buffer = self._buffer
        buffer += chunk
        done: list[object] = []
        start = 0
        while True:
            kind_at = self._type_byte(start)
            if kind_at is None:
                break
            end = self._take(start, kind_at, done)
            if end is None:
                break
            start = end
        del buffer[:start]
        return done

    def _type_byte(self, start: int) -> int | None:
        """Return where the type byte of the item that begins at ``start`` is, None when it is not there yet."""
        buffer = self._buffer
        for at in range(start, min(len(buffer), start + PREFIX_LIMIT + 1)):
            if buffer[at] >= _HIGH_BIT:
                return at
        if len(buffer) - start > PREFIX_LIMIT:
            raise Breach("sent something that is not Perspective Broker")
        return None

    def _take(self, start: int, kind_at: int, done: list[object]) -> int | None:
        """Take one item and return where the next begins; None when the item is not there whole."""
        buffer, after = self._buffer, kind_at + 1
        kind, number = buffer[kind_at], _number(buffer[start:kind_at])
        length = number if kind == _STRING else _FLOAT_SIZE if kind == _FLOAT else 0
        if self._size + (after - start) + length > self.bounds.size:
            raise Breach(f"sent a message of more than {self.bounds.size} bytes")
        if kind == _LIST:
            self._begin(number, after - start, done)
            return after
        if len(buffer) - after < length:
            return None
        self._count(after - start + length)
        self._add(_item(kind, number, bytes(buffer[after : after + length])), done)
        return after + length

    def _count(self, size: int) -> None:
        self._size += size
        self._items += 1
        if self._items > self.bounds.items:
            raise Breach(f"sent a message of more than {self.bounds.items} items")

    def _begin(self, number: int, size: int, done: list[object]) -> None:
        self._count(size)
        if number > self.bounds.items:
            raise Breach(f"announced a list of {number} items")
        if not number:
            self._add([], done)
            return
        if len(self._open) >= self.bounds.depth:
            raise Breach(f"nested lists more than {self.bounds.depth} deep")
        self._open.append((number, []))

    def _add(self, item: object, done: list[object]) -> None:
        while self._open:
            wanted, members = self._open[-1]
            members.append(item)
            if len(members) < wanted:
                return
            self._open.pop()
            item = members
        done.append(item)
        self._size = self._items = 0


def _number(prefix: bytearray) -> int:
    number = 0
    for digit in reversed(prefix):
        number = number << 7 | digit
    return number


def _item(kind: int, number: int, body: bytes) -> object:
    if kind == _STRING:
        return body
    if kind in (_INT, _LONGINT):
        return number
    if kind in (_NEG, _LONGNEG):
        return -number
    if kind == _FLOAT:
        return struct.unpack("!d", body)[0]
    if kind == _VOCAB and number in _VOCABULARY:
        return _VOCABULARY[number]
    raise Breach("sent an item of an unknown type")


def plain(expression: object, remote: Callable[[int], object]) -> object:
    """Return the plain data that an expression stands for; ``remote`` makes a reference of an object's number.

    What there may be: str, int, float, bool, None, list, tuple, dict with str for keys, and references. Raises
    Breach for anything else: instances, classes, functions, shared or circular structures, bare bytes. It goes as
    deep as the expression, which ``Bounds.depth`` bounds.
    """
    if type(expression) in (int, float):
        return expression
    if type(expression) is not list or not expression:
        raise Breach("sent bytes where data should be")
    kind, *rest = expression
    reader = _KINDS.get(kind) if type(kind) is bytes else None
    if reader is None:
        raise Breach("sent data of a kind that is not allowed")
    return reader(rest, remote)


Remote = Callable[[int], object]


def _one(rest: list[object], kind: type) -> object:
    if len(rest) != 1 or type(rest[0]) is not kind:
        raise Breach("sent data that is not formed as its kind says")
    return rest[0]


def _text(rest: list[object], _: Remote) -> str:
    try:
        return str(_one(rest, bytes), "utf-8")  # type: ignore[call-overload, no-any-return]
    except UnicodeDecodeError:
        raise Breach("sent text that is not UTF-8") from None


def _nothing(rest: list[object], _: Remote) -> None:
    if rest:
        raise Breach("sent data that is not formed as its kind says")


def _boolean(rest: list[object], _: Remote) -> bool:
    word = _one(rest, bytes)
    if word not in (b"true", b"false"):
        raise Breach("sent data that is not formed as its kind says")
    return word == b"true"


def _dictionary(rest: list[object], remote: Remote) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in rest:
        if type(pair) is not list or len(pair) != 2:  # noqa: PLR2004 - a key and its value
            raise Breach("sent a dictionary that is none")
        key = plain(pair[0], remote)
        if type(key) is not str or key in found:
            raise Breach("sent a dictionary whose keys are not different texts")
        found[key] = plain(pair[1], remote)
    return found


def _reference(rest: list[object], remote: Remote) -> object:
    number = _one(rest, int)
    return remote(number)  # type: ignore[arg-type]


_KINDS: dict[bytes, Callable[[list[object], Remote], object]] = {
    b"unicode": _text,
    b"None": _nothing,
    b"boolean": _boolean,
    b"list": lambda rest, remote: [plain(member, remote) for member in rest],
    b"tuple": lambda rest, remote: tuple([plain(member, remote) for member in rest]),
    b"dictionary": _dictionary,
    b"remote": _reference,
}
