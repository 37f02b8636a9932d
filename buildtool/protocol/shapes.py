"""One encoder and one decoder for each class of messages, made once from its annotations and its fields' limits.

As plain data a value is a dictionary with its class's name under ``type`` and one entry per field, made of str, int,
float, bool, None and lists only. A decoder takes what it knows and nothing else for it (a bool is no int, a text no
longer than its limit). Names that it does not know are of a later minor version and ignored; a field that is absent has
its default, and one without a default may not be.

The test is tests/protocol/test_codec.py.
"""

from __future__ import annotations

import enum
import math
import types
import typing
from collections.abc import Callable, Iterable
from functools import cache

import attrs

from buildtool.protocol.json_text import written
from buildtool.protocol.limits import NAME, Limits, limits_of
from buildtool.protocol.shape import (
    INT_LIMIT,
    LIST_OVERHEAD,
    NUMBER_SIZE,
    TEXT_OVERHEAD,
    Plain,
    Shape,
    ShapeError,
    Whole,
    shown,
    text_shape,
)


@cache
def shape_of(cls: type) -> Shape:
    """Return the shape of a class of messages. Raises TypeError for one that cannot cross the wire."""
    hints = typing.get_type_hints(cls)
    shapes = {one.name: _field(hints[one.name], limits_of(one.metadata)) for one in attrs.fields(cls)}
    entries = sum(TEXT_OVERHEAD + len(name) + NUMBER_SIZE + shape.most for name, shape in shapes.items())
    most = LIST_OVERHEAD + NUMBER_SIZE + 2 * TEXT_OVERHEAD + len("type") + len(cls.__name__) + entries
    own = {
        "type": "object",
        "properties": {"type": {"const": cls.__name__}, **{name: shape.schema for name, shape in shapes.items()}},
        "required": [one.name for one in attrs.fields(cls) if one.default is attrs.NOTHING],
    }
    parts = {**_parts(shapes.values()), cls.__name__: own}
    return Shape((dict,), _encoder(cls, shapes), _decoder(cls, shapes), most, _referring(cls), parts, cls.__name__)


def _referring(cls: type) -> Plain:
    return {"$ref": f"#/components/schemas/{cls.__name__}"}


def _parts(shapes: Iterable[Shape]) -> dict[str, Plain]:
    """Return the schemas of all messages in some shapes."""
    return {name: schema for shape in shapes for name, schema in shape.parts.items()}


def _encoder(cls: type, shapes: dict[str, Shape]) -> Callable[[Whole], Plain]:
    encoders = tuple((name, shape.encode) for name, shape in shapes.items())
    tag = cls.__name__

    def encode_fields(value: Whole) -> Plain:
        if type(value) is not cls:
            raise ShapeError(f"expected {tag}, got {shown(value)}")
        plain: dict[str, Plain] = {"type": tag}
        name = ""
        try:
            for name, encoder in encoders:
                plain[name] = encoder(getattr(value, name))
        except ShapeError as wrong:
            wrong.path.append(name)
            raise
        return plain

    return encode_fields


def _decoder(cls: type, shapes: dict[str, Shape]) -> Callable[[Plain], Whole]:
    decoders = tuple((name, shape.decode) for name, shape in shapes.items())
    absent = _defaults(cls, shapes)
    tag = cls.__name__

    def decode_fields(data: Plain) -> Whole:
        if type(data) is not dict or data.get("type") != tag:
            raise ShapeError(f"expected {tag}, got {shown(data)}")
        values: list[Whole] = []
        name = ""
        try:
            for name, decoder in decoders:
                values.append(decoder(data[name]))
        except ShapeError as wrong:
            wrong.path.append(name)
            raise
        except KeyError:
            if name in data:
                raise
            return decode_fields(_completed(data, shapes, absent))
        return cls(*values)

    return decode_fields


def _defaults(cls: type, shapes: dict[str, Shape]) -> dict[str, Plain]:
    """Return what stands for each field that has a default where it is absent."""
    return {
        one.name: shapes[one.name].encode(one.default) for one in attrs.fields(cls) if one.default is not attrs.NOTHING
    }


def _completed(data: dict[str, Plain], shapes: dict[str, Shape], absent: dict[str, Plain]) -> dict[str, Plain]:
    """Return the fields of a message with the defaults of those that are absent."""
    for name in shapes:
        if name not in data and name not in absent:
            raise ShapeError(f"field {name} is missing")
    return {**absent, **data}


def _field(annotation: Whole, limits: Limits) -> Shape:
    """Return the shape of a field, bounded as a whole where its limits say so."""
    shape = _shape(annotation, limits)
    most = limits.whole
    if most is None:
        return shape

    def bounded(value: Whole) -> Plain:
        plain = shape.encode(value)
        size = len(written(plain))
        if size > most:
            raise ShapeError(f"{size} bytes: at most {most} are sent")
        return plain

    return attrs.evolve(shape, encode=bounded, most=most)


def _shape(annotation: Whole, limits: Limits) -> Shape:  # noqa: PLR0911 - one line for each kind of annotation
    """Return the shape for an annotation of a field with these limits. Raises TypeError for one that has none."""
    origin: object = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return _union([_shape(argument, limits) for argument in arguments])
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:  # noqa: PLR2004
        return _many(_shape(arguments[0], limits), limits)
    if origin is tuple:
        return _pair([_shape(argument, limits) for argument in arguments])
    if origin is dict:
        return _dictionary(_shape(arguments[1], limits), limits)
    if annotation is str:
        return text_shape(limits)
    if annotation in _ATOMS:
        return _ATOMS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enumeration(annotation)
    if attrs.has(annotation):
        return shape_of(annotation)
    raise TypeError(f"{annotation!r} has no shape on the wire")


def _atom(kind: type, words: str, schema: Plain, fits: Callable[[Whole], bool]) -> Shape:
    def check(value: Plain) -> Plain:
        if type(value) is not kind or not fits(value):
            raise ShapeError(f"expected {words}, got {shown(value)}")
        return value

    return Shape((kind,), check, check, 2 * NUMBER_SIZE, schema)


_ATOMS: dict[object, Shape] = {
    bool: _atom(bool, "true or false", {"type": "boolean"}, lambda _: True),
    int: _atom(
        int,
        "a whole number of at most 63 bits",
        {"type": "integer", "minimum": 1 - INT_LIMIT, "maximum": INT_LIMIT - 1},
        lambda value: -INT_LIMIT < value < INT_LIMIT,
    ),
    float: _atom(float, "a finite float", {"type": "number"}, math.isfinite),
    type(None): _atom(type(None), "nothing", {"type": "null"}, lambda _: True),
}


def _enumeration(cls: type[enum.Enum]) -> Shape:
    members = {member.value: member for member in cls}
    known = ", ".join(str(value) for value in members)

    def encode_member(value: Whole) -> Plain:
        if type(value) is not cls:
            raise ShapeError(f"expected one of {known}, got {shown(value)}")
        return value.value

    def decode_member(data: Plain) -> Whole:
        member = members.get(data) if type(data) is str else None
        if member is None:
            raise ShapeError(f"expected one of {known}, got {shown(data)}")
        return member

    most = TEXT_OVERHEAD + max(map(len, members))
    return Shape((str,), encode_member, decode_member, most, {"type": "string", "enum": list(members)})


def _many(member: Shape, limits: Limits) -> Shape:
    limit = limits.members
    sent = limit if limits.members_sent is None else limits.members_sent
    encode_member, decode_member = member.encode, member.decode

    def encode_members(value: Whole) -> Plain:
        if type(value) is not tuple:
            raise ShapeError(f"expected a tuple, got {shown(value)}")
        return _each(encode_member, value, sent)

    def decode_members(data: Plain) -> Whole:
        if type(data) is not list:
            raise ShapeError(f"expected a list, got {shown(data)}")
        return tuple(_each(decode_member, data, limit))

    schema = {"type": "array", "items": member.schema, "maxItems": limit}
    most = LIST_OVERHEAD + sent * member.most
    return Shape((list, tuple), encode_members, decode_members, most, schema, member.parts)


def _each(convert: Callable[[Plain], Plain], members: Whole, limit: int) -> list[Plain]:
    if len(members) > limit:
        raise ShapeError(f"{len(members)} members: at most {limit} are allowed")
    found: list[Plain] = []
    try:
        found.extend(convert(member) for member in members)
    except ShapeError as wrong:
        wrong.path.append(str(len(found)))
        raise
    return found


def _pair(members: list[Shape]) -> Shape:
    size = len(members)

    def encode_members(value: Whole) -> Plain:
        if type(value) is not tuple or len(value) != size:
            raise ShapeError(f"expected a tuple of {size}, got {shown(value)}")
        return [shape.encode(member) for shape, member in zip(members, value, strict=True)]

    def decode_members(data: Plain) -> Whole:
        if type(data) is not list or len(data) != size:
            raise ShapeError(f"expected a list of {size}, got {shown(data)}")
        return tuple([shape.decode(member) for shape, member in zip(members, data, strict=True)])

    most = LIST_OVERHEAD + sum(shape.most for shape in members)
    schema = {"type": "array", "prefixItems": [one.schema for one in members], "minItems": size, "maxItems": size}
    return Shape((list, tuple), encode_members, decode_members, most, schema, _parts(members))


def _dictionary(member: Shape, limits: Limits) -> Shape:
    limit = limits.members
    key_shape = text_shape(NAME)
    check_key = key_shape.decode

    def convert(convert_member: Callable[[Plain], Plain], value: Plain) -> Plain:
        if type(value) is not dict:
            raise ShapeError(f"expected a dictionary, got {shown(value)}")
        if len(value) > limit:
            raise ShapeError(f"{len(value)} members: at most {limit} are allowed")
        found: dict[str, Plain] = {}
        key: Plain = ""
        try:
            for key, item in value.items():
                found[check_key(key)] = convert_member(item)
        except ShapeError as wrong:
            wrong.path.append(shown(key))
            raise
        return found

    return Shape(
        (dict,),
        lambda value: convert(member.encode, value),
        lambda data: convert(member.decode, data),
        LIST_OVERHEAD + limit * (NUMBER_SIZE + key_shape.most + member.most),
        {
            "type": "object",
            "propertyNames": key_shape.schema,
            "additionalProperties": member.schema,
            "maxProperties": limit,
        },
        member.parts,
    )


def _tagged(members: dict[str, Shape]) -> Shape:
    """Return the shape of one of several messages, which are told apart by their ``type``."""

    def encode_member(value: Whole) -> Plain:
        shape = members.get(type(value).__name__)
        if shape is None:
            raise ShapeError(f"expected one of {len(members)} messages, got {shown(value)}")
        return shape.encode(value)

    def decode_member(data: Plain) -> Whole:
        tag = data.get("type") if type(data) is dict else None
        shape = members.get(tag) if type(tag) is str else None
        if shape is None:
            raise ShapeError(f"expected one of {len(members)} messages, got {shown(data if tag is None else tag)}")
        return shape.decode(data)

    shapes = members.values()
    schema = {"oneOf": [shape.schema for shape in shapes]}
    return Shape((dict,), encode_member, decode_member, max(one.most for one in shapes), schema, _parts(shapes))


def _union(members: list[Shape]) -> Shape:
    tagged = {shape.tag: shape for shape in members if shape.tag}
    if len(tagged) == len(members):
        return _tagged(tagged)
    by_type = {accepted: shape for shape in reversed(members) for accepted in shape.accepts}
    encoders = {accepted: shape.encode for accepted, shape in by_type.items()}
    decoders = {accepted: shape.decode for accepted, shape in by_type.items() if accepted is not tuple}
    words = ", ".join(_KIND_WORDS[accepted] for accepted in decoders)

    def encode_member(value: Whole) -> Plain:
        encoder = encoders.get(type(value)) or (encoders.get(dict) if attrs.has(type(value)) else None)
        if encoder is None:
            raise ShapeError(f"expected one of {words}, got {shown(value)}")
        return encoder(value)

    def decode_member(data: Plain) -> Whole:
        decoder = decoders.get(type(data))
        if decoder is None:
            raise ShapeError(f"expected one of {words}, got {shown(data)}")
        return decoder(data)

    schema = {"anyOf": [shape.schema for shape in members]}
    most = max(shape.most for shape in members)
    return Shape(tuple(by_type), encode_member, decode_member, most, schema, _parts(members))


_KIND_WORDS: dict[type, str] = {
    str: "text", int: "a number", float: "a float", bool: "true or false", type(None): "nothing", list: "a list",
    dict: "a dictionary",
}  # fmt: skip
