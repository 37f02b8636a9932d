"""Messages to plain data and back: strict, bounded, and validated before anything looks at them.

The shapes are the attrs classes of ``protocol`` and the values they hold; from their annotations one encoder and one
decoder are made per class, once. On the wire a value is a dictionary with its class's name under ``type`` and one
entry per field, made of str, int, float, bool, None and lists only. Nothing may be missing, unknown, too long or of
another type (a bool is no int). Versions are compared in ``Hello``, see ``protocol_of``: all other messages are
exactly those of one version, but for fields that were ``ADDED`` to it. Those are left out where they say what their
default says, so that peers who do not know them understand the rest, and may be missing.
"""

from __future__ import annotations

import enum
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache

import attrs
from attrs import frozen

from buildtool.domain.model import ADDED
from buildtool.domain.options import Canonical
from buildtool.errors import DecodeError, EncodeError
from buildtool.protocol import LOG_TAIL_LIMIT, TOGETHER

__all__ = ["SIZE_LIMIT", "decode", "encode", "largest", "listed", "protocol_of", "size_of"]

T = typing.TypeVar("T")

SIZE_LIMIT = 600_000
"""Most bytes of one encoded message as ``size_of`` counts them; Perspective Broker's own limit is 655,360."""

STRING_LIMIT = 4 * 1024
"""Most bytes (UTF-8) of a string whose field is not named in ``LIMITS``."""

MEMBERS_LIMIT = 1_000
"""Most members of a list whose field is not named in ``MEMBERS``."""

LIMITS: Mapping[str, int] = {
    "log_tail": LOG_TAIL_LIMIT,
    "role": 40,
    "software": 200,
    "client_id": 64,
    "project": 80,
    "server": 100,
    "email": 400,
    "token": 100,
    "source": 400,
    "revision": 400,
    "revrange": 800,
    "digest": 64,
    "content_digest": 64,
    "options_digest": 64,
    "name": 255,
    "code": 60,
    "answer": 40,
    "state": 40,
    "build_state": 40,
    "log_ticket": 400,
    "artifact_ticket": 400,
    "source_ticket": 400,
}
"""Most bytes of a string, by the name of its field in any message."""

MEMBERS: Mapping[str, int] = {
    "why": 64, "reasons": 64, "servers": 20, "differences": 64, "items": TOGETHER,
    "offers": 64, "tools": 200, "skills": 200,
    "compile": 200, "system": 100, "local": 100, "options": 200, "platform": 100, "machine": 100,
}  # fmt: skip
"""Most members of a collection, by the name of its field."""

FREE_TEXT: Mapping[str, bool] = {
    "reason": False, "message": False, "why": False, "words": False, "differences": False, "basis": False,
    "nearest_server": False, "host_info": False, "admin": False, "problems": False, "log_tail": True,
}  # fmt: skip
"""Fields that hold what a person or a program wrote: made to fit when encoded. True where the end is what matters."""

SENT: Mapping[str, int] = {
    "Told.revision": 100, "Told.server": 100, "Told.reason": 800, "Told.why": 200, "Told.log_url": 500,
    "Told.page_url": 500,
    "Found.url": 700, "Found.revision": 100,
    "WhyLine.words": 800, "WhyLine.servers": 100, "Explanation.differences": 500, "Explanation.page_url": 500,
    "HealthTold.problems": 1_000, "Standing.problems": 1_000, "ServerStands.reason": 600, "WaitingTold.why": 300,
    "RunningTold.revision": 100, "WaitingTold.revision": 100,
    "Acted.words": 1_000, "Judged.reason": 100,
}  # fmt: skip
"""Most bytes of a string in what *this side* sends, by class and field, where that is less than what it understands:
so much less that each answer fits into one message whatever peers have made (``largest`` adds it up)."""

SENT_MEMBERS: Mapping[str, int] = {
    "Told.why": 8, "HealthTold.problems": 50,
    "Standing.problems": 51, "Standing.stands": 300, "Standing.running": 200, "Standing.waiting": 20,
    "WaitingTold.why": 8,
    "Acted.words": 100,
}  # fmt: skip
"""Most members of a collection in what this side sends, by class and field, likewise."""

SENT_WHOLE: Mapping[str, int] = {"Found.platform": 2_000, "Order.platform": 66_000, "Order.options": 120_000}
"""Most bytes of a whole collection in what this side sends, by class and field, as ``size_of`` counts them."""

_SHOWN = 60
_INT_LIMIT = 2**63
_CUT = "…"
_TEXT_OVERHEAD = 16
_NUMBER_SIZE = 12
_LIST_OVERHEAD = 16

Plain = typing.Any
"""Data without a shape yet: what ``decode`` is given may be anything at all."""

Whole = typing.Any
"""A message, or a value inside one."""


@frozen
class _Shape:
    """How one annotation is encoded and decoded. ``accepts`` are the plain types that may stand for it.

    ``most`` is the largest size that is sent for it, as ``size_of`` counts.
    """

    accepts: tuple[type, ...]
    encode: Callable[[Whole], Plain]
    decode: Callable[[Plain], Whole]
    most: int


class _Wrong(Exception):
    """What is wrong; the names of the fields that lead there are put in front on the way out."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said
        self.path: list[str] = []


def encode(message: attrs.AttrsInstance) -> dict[str, Plain]:
    """Return ``message`` as plain data. Free text is made to fit; raises EncodeError where anything else does not."""
    cls = type(message)
    shape = _shape_of_class(cls)
    try:
        plain: dict[str, Plain] = shape.encode(message)
    except _Wrong as wrong:
        raise EncodeError(f"{_path(cls, wrong)}: {wrong.said}") from None
    if shape.most <= SIZE_LIMIT:
        return plain  # as all answers: what each of their fields may be keeps them below
    size = size_of(plain)
    if size > SIZE_LIMIT:
        raise EncodeError(f"{cls.__name__} has {size} bytes: at most {SIZE_LIMIT} fit into one message")
    return plain


@typing.overload
def decode(expected: type[T], data: object) -> T: ...
@typing.overload
def decode(expected: types.UnionType, data: object) -> Whole: ...
def decode(expected: type[T] | types.UnionType, data: object) -> T | Whole:
    """Return the message that ``data`` stands for, one of the class or union ``expected``.

    Raises DecodeError, and nothing else, for whatever is not exactly that; the message is one line.
    """
    classes = typing.get_args(expected) if isinstance(expected, types.UnionType) else (expected,)
    tag = data.get("type") if type(data) is dict else None
    cls = next((cls for cls in classes if type(tag) is str and cls.__name__ == tag), None)
    if cls is None:
        names = " or ".join(cls.__name__ for cls in classes)
        raise DecodeError(f"expected {names}, got {_shown(tag) if type(tag) is str else _shown(data)}")
    try:
        return _shape_of_class(cls).decode(data)
    except _Wrong as wrong:
        raise DecodeError(f"{_path(cls, wrong)}: {wrong.said}") from None


def protocol_of(data: object) -> int:
    """Return the version in a Hello of any version, whatever else it holds. Raises DecodeError when it is none."""
    version = data.get("protocol") if type(data) is dict and data.get("type") == "Hello" else None
    if type(version) is not int or not 0 <= version < _INT_LIMIT:
        raise DecodeError(f"the first message is a Hello with a protocol version, not {_shown(data)}")
    return version


def largest(cls: type[attrs.AttrsInstance]) -> int:
    """Return the size of the largest message of a class that can be sent, as ``size_of`` counts."""
    return _shape_of_class(cls).most


def listed(values: Canonical) -> Plain:
    """Return canonical pairs as they stand on the wire."""
    return [[name, list(value) if isinstance(value, tuple) else value] for name, value in values]


def size_of(plain: Plain) -> int:
    """Return how many bytes plain data takes on the wire, at most (what PB adds included)."""
    size = 0
    parts = [plain]
    for part in parts:  # grows while it is walked through: a call for each part takes twice as long
        kind = type(part)
        if kind is str:
            size += _TEXT_OVERHEAD + (len(part) if part.isascii() else len(part.encode()))
        elif kind is list:
            size += _LIST_OVERHEAD
            parts += part
        elif kind is dict:
            size += _LIST_OVERHEAD + _NUMBER_SIZE * len(part)
            parts += part
            parts += part.values()
        else:
            size += _NUMBER_SIZE + _NUMBER_SIZE
    return size


# --- one shape for each annotation ------------------------------------------------------------------------


@cache
def _shape_of_class(cls: type) -> _Shape:
    hints = typing.get_type_hints(cls)
    shapes = tuple((one.name, _field(hints[one.name], _Field(cls.__name__, one.name))) for one in attrs.fields(cls))
    added = _added(cls)
    encoders = tuple((name, shape.encode) for name, shape in shapes)
    decoders = tuple((name, shape.decode) for name, shape in shapes)
    keys = frozenset((*dict(shapes), "type"))
    tag = cls.__name__
    lacking = {name: shape.encode(added[name]) for name, shape in shapes if name in added}

    def encode_fields(value: Whole) -> Plain:
        if type(value) is not cls:
            raise _Wrong(f"expected {tag}, got {_shown(value)}")
        plain: dict[str, Plain] = {"type": tag}
        name = ""
        try:
            for name, encoder in encoders:
                plain[name] = encoder(getattr(value, name))
        except _Wrong as wrong:
            wrong.path.append(name)
            raise
        return _without_defaults(plain, value, added) if added else plain

    def decode_fields(data: Plain) -> Whole:
        if type(data) is not dict or data.get("type") != tag:
            raise _Wrong(f"expected {tag}, got {_shown(data)}")
        if len(data) != len(keys) or not all(type(key) is str and key in keys for key in data):
            data = {**lacking, **_checked(data, keys, lacking)}
        values: list[Whole] = []
        name = ""
        try:
            for name, decoder in decoders:
                values.append(decoder(data[name]))
        except _Wrong as wrong:
            wrong.path.append(name)
            raise
        return cls(*values)

    entries = sum(_TEXT_OVERHEAD + len(name) + _NUMBER_SIZE + shape.most for name, shape in shapes)
    most = _LIST_OVERHEAD + _NUMBER_SIZE + 2 * _TEXT_OVERHEAD + len("type") + len(tag) + entries
    return _Shape((dict,), encode_fields, decode_fields, most)


def _added(cls: type) -> dict[str, Whole]:
    """Return the fields that the protocol's first programs do not know, with their defaults."""
    return {one.name: one.default for one in attrs.fields(cls) if one.metadata == ADDED}


def _without_defaults(plain: dict[str, Plain], value: Whole, added: Mapping[str, Whole]) -> dict[str, Plain]:
    for name, default in added.items():
        if getattr(value, name) == default:
            del plain[name]
    return plain


def _checked(data: dict[Plain, Plain], keys: frozenset[str], added: Mapping[str, Plain]) -> dict[Plain, Plain]:
    unknown = next((key for key in data if type(key) is not str or key not in keys), None)
    if unknown is not None:
        raise _Wrong(f"unknown field {_shown(unknown)}")
    missing = keys - data.keys() - added.keys()
    if missing:
        raise _Wrong(f"field {min(missing)} is missing")
    return data


@frozen
class _Field:
    """A field of a message, and its bounds: in what is understood, and in what is sent."""

    owner: str
    name: str

    @property
    def limit(self) -> int:
        return LIMITS.get(self.name, STRING_LIMIT)

    @property
    def sent(self) -> int:
        return SENT.get(f"{self.owner}.{self.name}", self.limit)

    @property
    def members(self) -> int:
        return MEMBERS.get(self.name, MEMBERS_LIMIT)

    @property
    def sent_members(self) -> int:
        return SENT_MEMBERS.get(f"{self.owner}.{self.name}", self.members)


def _field(annotation: Whole, field: _Field) -> _Shape:
    """Return the shape of a field, bounded as a whole where ``SENT_WHOLE`` says so."""
    shape = _shape(annotation, field)
    most = SENT_WHOLE.get(f"{field.owner}.{field.name}")
    if most is None:
        return shape

    def bounded(value: Whole) -> Plain:
        plain = shape.encode(value)
        if size_of(plain) > most:
            raise _Wrong(f"{size_of(plain)} bytes: at most {most} are sent")
        return plain

    return attrs.evolve(shape, encode=bounded, most=most)


def _shape(annotation: Whole, field: _Field) -> _Shape:  # noqa: PLR0911 - one line for each kind of annotation
    """Return the shape for an annotation of the field of this name. Raises TypeError: our own mistake, at import."""
    origin: object = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return _union([_shape(argument, field) for argument in arguments])
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:  # noqa: PLR2004
        return _many(_shape(arguments[0], field), field)
    if origin is tuple:
        return _pair([_shape(argument, field) for argument in arguments])
    if origin is dict:
        return _dictionary(_shape(arguments[1], field), field)
    if annotation is str:
        return _free_text(field) if field.name in FREE_TEXT else _text(field)
    if annotation in _ATOMS:
        return _ATOMS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enumeration(annotation)
    if attrs.has(annotation):
        return _shape_of_class(annotation)
    raise TypeError(f"field {field.name}: {annotation!r} has no shape on the wire")


def _atom(kind: type, words: str, fits: Callable[[Whole], bool]) -> _Shape:
    def check(value: Plain) -> Plain:
        if type(value) is not kind or not fits(value):
            raise _Wrong(f"expected {words}, got {_shown(value)}")
        return value

    return _Shape((kind,), check, check, 2 * _NUMBER_SIZE)


_ATOMS: dict[object, _Shape] = {
    bool: _atom(bool, "true or false", lambda _: True),
    int: _atom(int, "a whole number of at most 63 bits", lambda value: -_INT_LIMIT < value < _INT_LIMIT),
    float: _atom(float, "a finite float", math.isfinite),
    type(None): _atom(type(None), "nothing", lambda _: True),
}


def _text(field: _Field) -> _Shape:
    return _Shape((str,), _checking(field.sent), _checking(field.limit), _TEXT_OVERHEAD + field.sent)


def _checking(limit: int) -> Callable[[Plain], str]:
    def check(value: Plain) -> str:
        if type(value) is not str:
            raise _Wrong(f"expected text, got {_shown(value)}")
        if len(value) > limit or not value.isascii():
            _check_bytes(value, limit)
        if "\0" in value:
            raise _Wrong("text may not hold a NUL")
        return value

    return check


def _check_bytes(value: str, limit: int) -> None:
    try:
        size = len(value) if len(value) > limit else len(value.encode())
    except UnicodeEncodeError:
        raise _Wrong("text may not hold half a surrogate pair") from None
    if size > limit:
        raise _Wrong(f"text of {size} bytes: at most {limit} are allowed")


def _free_text(field: _Field) -> _Shape:
    limit = field.sent
    strict = _text(field)
    keep_end = FREE_TEXT[field.name]

    def fit(value: Plain) -> str:
        if type(value) is str:
            value = _fitted(value, limit, keep_end=keep_end)
        return typing.cast(str, strict.encode(value))

    return _Shape((str,), fit, strict.decode, strict.most)


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


def _enumeration(cls: type[enum.Enum]) -> _Shape:
    members = {member.value: member for member in cls}
    known = ", ".join(str(value) for value in members)

    def encode_member(value: Whole) -> Plain:
        if type(value) is not cls:
            raise _Wrong(f"expected one of {known}, got {_shown(value)}")
        return value.value

    def decode_member(data: Plain) -> Whole:
        member = members.get(data) if type(data) is str else None
        if member is None:
            raise _Wrong(f"expected one of {known}, got {_shown(data)}")
        return member

    return _Shape((str,), encode_member, decode_member, _TEXT_OVERHEAD + max(map(len, members)))


def _many(member: _Shape, field: _Field) -> _Shape:
    limit, sent = field.members, field.sent_members
    encode_member, decode_member = member.encode, member.decode

    def encode_members(value: Whole) -> Plain:
        if type(value) is not tuple:
            raise _Wrong(f"expected a tuple, got {_shown(value)}")
        return _each(encode_member, value, sent)

    def decode_members(data: Plain) -> Whole:
        if type(data) is not list:
            raise _Wrong(f"expected a list, got {_shown(data)}")
        return tuple(_each(decode_member, data, limit))

    return _Shape((list, tuple), encode_members, decode_members, _LIST_OVERHEAD + sent * member.most)


def _each(convert: Callable[[Plain], Plain], members: Whole, limit: int) -> list[Plain]:
    if len(members) > limit:
        raise _Wrong(f"{len(members)} members: at most {limit} are allowed")
    found: list[Plain] = []
    try:
        found.extend(convert(member) for member in members)
    except _Wrong as wrong:
        wrong.path.append(str(len(found)))
        raise
    return found


def _pair(members: list[_Shape]) -> _Shape:
    size = len(members)

    def encode_members(value: Whole) -> Plain:
        if type(value) is not tuple or len(value) != size:
            raise _Wrong(f"expected a tuple of {size}, got {_shown(value)}")
        return [shape.encode(member) for shape, member in zip(members, value, strict=True)]

    def decode_members(data: Plain) -> Whole:
        if type(data) is not list or len(data) != size:
            raise _Wrong(f"expected a list of {size}, got {_shown(data)}")
        return tuple([shape.decode(member) for shape, member in zip(members, data, strict=True)])

    most = _LIST_OVERHEAD + sum(shape.most for shape in members)
    return _Shape((list, tuple), encode_members, decode_members, most)


def _dictionary(member: _Shape, field: _Field) -> _Shape:
    limit = field.members
    key_shape = _text(_Field("", "name"))
    check_key = key_shape.decode

    def convert(convert_member: Callable[[Plain], Plain], value: Plain) -> Plain:
        if type(value) is not dict:
            raise _Wrong(f"expected a dictionary, got {_shown(value)}")
        if len(value) > limit:
            raise _Wrong(f"{len(value)} members: at most {limit} are allowed")
        found: dict[str, Plain] = {}
        key: Plain = ""
        try:
            for key, item in value.items():
                found[check_key(key)] = convert_member(item)
        except _Wrong as wrong:
            wrong.path.append(_shown(key))
            raise
        return found

    return _Shape(
        (dict,),
        lambda value: convert(member.encode, value),
        lambda data: convert(member.decode, data),
        _LIST_OVERHEAD + limit * (_NUMBER_SIZE + key_shape.most + member.most),
    )


def _union(members: list[_Shape]) -> _Shape:
    by_type = {accepted: shape for shape in reversed(members) for accepted in shape.accepts}
    words = ", ".join(_KIND_WORDS[accepted] for accepted in by_type if accepted is not tuple)

    def chosen(value: Plain) -> _Shape:
        shape = by_type.get(type(value))
        if shape is None:
            raise _Wrong(f"expected one of {words}, got {_shown(value)}")
        return shape

    def encode_member(value: Whole) -> Plain:
        shape = by_type.get(dict) if attrs.has(type(value)) else None
        return (shape or chosen(value)).encode(value)

    most = max(shape.most for shape in members)
    return _Shape(tuple(by_type), encode_member, lambda data: chosen(data).decode(data), most)


_KIND_WORDS: dict[type, str] = {
    str: "text", int: "a number", float: "a float", bool: "true or false", type(None): "nothing", list: "a list",
    dict: "a dictionary",
}  # fmt: skip


def _shown(value: object) -> str:
    """Return a bounded, one-line picture of anything; containers are not looked into."""
    if type(value) is str:
        text = ascii(value[:_SHOWN])
        return text if len(value) <= _SHOWN and len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    if type(value) is int:
        return str(value) if abs(value) < _INT_LIMIT else "a huge number"
    if value is None or type(value) in (bool, float):
        return str(value)
    if type(value) in (list, tuple, dict, bytes):
        return f"a {type(value).__name__} of {len(value)}"  # type: ignore[arg-type]
    return f"a {type(value).__name__}"[:_SHOWN]


def _path(cls: type, wrong: _Wrong) -> str:
    return ".".join((cls.__name__, *reversed(wrong.path)))
