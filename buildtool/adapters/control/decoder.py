"""Perspective Broker's two encodings, read with bounds: expressions off the wire, and plain data out of them.

Twisted's own decoders stop at 640 KiB a string and nowhere else: a list may be nested until the stack ends, or go on
until memory does, and what is decoded may name classes. These take the same bytes, count what they hold, and know
plain data and references to remote objects only; no class or module is ever looked up by name. A message is one byte
string here, whose text ``protocol.json_text`` reads.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from itertools import islice

from attrs import frozen
from twisted.spread.banana import Banana

from buildtool.protocol.json_text import TextBounds

PREFIX_LIMIT = 10
"""Most bytes before a type byte: numbers of 70 bits. Everything that we send has fewer."""

ITEM_WEIGHT = 64
"""Bytes of memory that one decoded item takes besides its own bytes, about."""

PART = 8 * 1024
"""Bytes that are cut into expressions at once."""

TEXT_WEIGHT = 4
"""Bytes of memory that one byte of text may take: Python keeps a whole text as wide as its widest character."""

_LIST, _INT, _STRING, _NEG, _FLOAT, _LONGINT, _LONGNEG, _VOCAB = range(0x80, 0x88)
_HIGH_BIT = 0x80
_FLOAT_SIZE = 8
_DOUBLE = struct.Struct("!d")
_NO_TEXTS = TextBounds(0)
_VOCABULARY: dict[int, bytes] = Banana.incomingVocabulary


class ProtocolViolation(Exception):
    """The peer broke the protocol, or a bound; its connection is closed and nothing of this is believed."""


@frozen
class Bounds:
    """The most that one expression may have: bytes, items (everything inside, lists included), and nested lists.

    ``texts`` bounds the text of a message that is one byte string in it.
    """

    size: int
    items: int = 200
    depth: int = 8
    texts: TextBounds = _NO_TEXTS


class Expressions:
    """A decoder of a byte stream into expressions: lists, byte strings, whole numbers and floats. Takes linear time."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._buffer = bytearray()
        self._wanted = 0
        self._open: list[tuple[int, list[object]]] = []
        self._size = 0
        self._items = 0
        self.weights: list[int] = []

    @property
    def held(self) -> int:
        """About how many bytes of memory the unfinished expression takes."""
        return len(self._buffer) + self._size + ITEM_WEIGHT * self._items

    def feed(self, chunk: bytes) -> list[object]:
        """Return the expressions that ``chunk`` completes. Raises ProtocolViolation.

        ``weights`` then says of each how many bytes of memory it may take once it is understood.
        """
        done: list[object] = []
        self.weights = []
        if not self._buffer:
            rest = chunk[self._read(chunk, done) :]
        else:
            self._buffer += chunk
            if len(self._buffer) < self._wanted:
                return done  # an item that is long and not there whole is not looked at again for every chunk
            data = bytes(self._buffer)
            rest = data[self._read(data, done) :]
        self._buffer = bytearray(rest)
        return done

    def _read(self, data: bytes, done: list[object]) -> int:  # noqa: C901, PLR0912, PLR0915 - one loop without calls
        """Take all items that are there whole and return where the next one begins."""
        most_size, most_items, depth = self.bounds.size, self.bounds.items, self.bounds.depth
        opened, size, items = self._open, self._size, self._items
        wanted, members = opened[-1] if opened else (0, done)
        end, at = len(data), 0
        item: object
        while at < end:
            start = at
            number = shift = 0
            while (byte := data[at]) < _HIGH_BIT:
                number |= byte << shift
                shift += 7
                at += 1
                if shift > 7 * PREFIX_LIMIT:
                    raise ProtocolViolation("sent something that is not Perspective Broker")
                if at == end:
                    self._size, self._items, self._wanted = size, items, end - start + 1
                    return start
            at += 1
            size += at - start
            if byte == _STRING:
                if size + number > most_size:
                    raise ProtocolViolation(f"sent a message of more than {most_size} bytes")
                stop = at + number
                if stop > end:
                    self._size, self._items, self._wanted = size - (at - start), items, stop - start
                    return start
                size += number
                item = data[at:stop]
                at = stop
            elif byte == _LIST:
                if number > most_items:
                    raise ProtocolViolation(f"announced a list of {number} items")
                item = []
            elif byte == _FLOAT:
                if at + _FLOAT_SIZE > end:
                    self._size, self._items, self._wanted = size - (at - start), items, at + _FLOAT_SIZE - start
                    return start
                (item,) = _DOUBLE.unpack_from(data, at)
                at += _FLOAT_SIZE
                size += _FLOAT_SIZE
            else:
                item = _short_item(byte, number)
            items += 1
            if size > most_size:
                raise ProtocolViolation(f"sent a message of more than {most_size} bytes")
            if items > most_items:
                raise ProtocolViolation(f"sent a message of more than {most_items} items")
            if byte == _LIST and number:
                if len(opened) >= depth:
                    raise ProtocolViolation(f"nested lists more than {depth} deep")
                wanted, members = number, []
                opened.append((wanted, members))
                continue
            members.append(item)
            while len(members) == wanted:
                opened.pop()
                item = members
                wanted, members = opened[-1] if opened else (0, done)
                members.append(item)
            if not opened:
                self.weights.append(TEXT_WEIGHT * size + ITEM_WEIGHT * items)
                size = items = 0
        self._size, self._items, self._wanted = size, items, 0
        return end


class Incoming:
    """The bytes that came over a connection and were not looked at yet: true while there are any.

    As objects bytes take many times the memory, so that they are cut into expressions part by part, as these are taken.
    ``weight`` is about how many bytes of memory the expression that was taken last takes once it is understood.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._expressions = Expressions(bounds)
        self._bytes = bytearray()
        self._queue: deque[tuple[object, int]] = deque()
        self._queued = 0
        self.weight = 0

    def __bool__(self) -> bool:
        return bool(self._queue or self._bytes)

    @property
    def bounds(self) -> Bounds:
        """The most that one expression may have."""
        return self._expressions.bounds

    @bounds.setter
    def bounds(self, bounds: Bounds) -> None:
        self._expressions.bounds = bounds

    @property
    def held(self) -> int:
        """About how many bytes of memory all of it takes, an expression that is not there whole among them."""
        return len(self._bytes) + self._expressions.held + self._queued

    def put(self, chunk: bytes) -> None:
        """Add what arrived."""
        self._bytes += chunk

    def take(self) -> object | None:
        """Return the next expression, or None if the next part completes none. Raises ProtocolViolation."""
        if not self._queue:
            part = bytes(self._bytes[:PART])
            del self._bytes[:PART]
            for expression, weight in zip(self._expressions.feed(part), self._expressions.weights, strict=True):
                self._queue.append((expression, weight))
                self._queued += weight
            if not self._queue:
                return None
        found, self.weight = self._queue.popleft()
        self._queued -= self.weight
        return found


def _short_item(kind: int, number: int) -> object:
    if kind in (_INT, _LONGINT):
        return number
    if kind in (_NEG, _LONGNEG):
        return -number
    if kind == _VOCAB and number in _VOCABULARY:
        return _VOCABULARY[number]
    raise ProtocolViolation("sent an item of an unknown type")


def plain(expression: object, remote: Callable[[int], object]) -> object:
    """Return the plain data that an expression stands for; ``remote`` makes a reference of an object's number.

    What there may be: bytes, str, int, float, bool, None, list, tuple, dict with str for keys, and references. Raises
    ProtocolViolation for anything else: instances, classes, functions, shared or circular structures. It goes as deep
    as the expression, which ``Bounds.depth`` bounds.
    """
    if type(expression) is list and expression:
        kind = expression[0]
        if kind == b"unicode":
            return _text(expression)
        reader = _KINDS.get(kind) if type(kind) is bytes else None
        if reader is None:
            raise ProtocolViolation("sent data of a kind that is not allowed")
        return reader(expression, remote)
    if type(expression) in (bytes, int, float):
        return expression
    raise ProtocolViolation("sent data of a kind that is not allowed")


Remote = Callable[[int], object]


def _one(expression: list[object], kind: type) -> object:
    if len(expression) != 2 or type(expression[1]) is not kind:  # noqa: PLR2004 - the kind's name and one value
        raise ProtocolViolation("sent data that is not formed as its kind says")
    return expression[1]


def _text(expression: list[object]) -> str:
    text = expression[1] if len(expression) == 2 else None  # noqa: PLR2004 - the kind's name and one value
    if type(text) is not bytes:
        raise ProtocolViolation("sent data that is not formed as its kind says")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation("sent text that is not UTF-8") from None


def _nothing(expression: list[object], _: Remote) -> None:
    if len(expression) != 1:
        raise ProtocolViolation("sent data that is not formed as its kind says")


def _boolean(expression: list[object], _: Remote) -> bool:
    word = _one(expression, bytes)
    if word not in (b"true", b"false"):
        raise ProtocolViolation("sent data that is not formed as its kind says")
    return word == b"true"


def _dictionary(expression: list[object], remote: Remote) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in islice(expression, 1, None):
        if type(pair) is not list or len(pair) != 2:  # noqa: PLR2004 - a key and its value
            raise ProtocolViolation("sent a dictionary that is none")
        key = plain(pair[0], remote)
        if type(key) is not str or key in found:
            raise ProtocolViolation("sent a dictionary whose keys are not different texts")
        found[key] = plain(pair[1], remote)
    return found


def _reference(expression: list[object], remote: Remote) -> object:
    number = _one(expression, int)
    return remote(number)  # type: ignore[arg-type]


_KINDS: dict[bytes, Callable[[list[object], Remote], object]] = {
    b"None": _nothing,
    b"boolean": _boolean,
    b"list": lambda expression, remote: [plain(member, remote) for member in islice(expression, 1, None)],
    b"tuple": lambda expression, remote: tuple([plain(member, remote) for member in islice(expression, 1, None)]),
    b"dictionary": _dictionary,
    b"remote": _reference,
}
