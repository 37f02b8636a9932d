"""Messages to texts and back: strict, bounded, and validated before anything looks at them.

On the wire a message is one JSON text, see ``json_text``; as plain data it has the shape that ``shapes`` makes of its
class. Versions are compared in ``Hello``, which alone goes as Perspective Broker's own dictionary: so peers of every
version understand it, and what it is refused with.
"""

from __future__ import annotations

import types
import typing

import attrs

from buildtool.errors import DecodeError, EncodeError
from buildtool.model.options import Canonical
from buildtool.protocol.json_text import written
from buildtool.protocol.limits import SIZE_LIMIT
from buildtool.protocol.shape import INT_LIMIT, Plain, ShapeError, Whole, shown, size_of
from buildtool.protocol.shapes import shape_of

__all__ = ["SIZE_LIMIT", "decode", "encode", "largest", "listed", "protocol_of", "size_of", "text_of"]

T = typing.TypeVar("T")


def encode(message: attrs.AttrsInstance) -> dict[str, Plain]:
    """Return ``message`` as plain data. Free text is made to fit; raises EncodeError where anything else does not."""
    cls = type(message)
    try:
        plain: dict[str, Plain] = shape_of(cls).encode(message)
    except ShapeError as wrong:
        raise EncodeError(f"{_path(cls, wrong)}: {wrong.said}") from None
    return plain


def text_of(message: attrs.AttrsInstance) -> bytes:
    """Return ``message`` as it goes over the wire. Raises EncodeError as ``encode`` does, and for one too long."""
    text = written(encode(message))
    if len(text) > SIZE_LIMIT:
        name = type(message).__name__
        raise EncodeError(f"{name} has {len(text)} bytes: at most {SIZE_LIMIT} fit into one message")
    return text


@typing.overload
def decode(expected: type[T], data: object) -> T: ...
@typing.overload
def decode(expected: types.UnionType, data: object) -> Whole: ...
def decode(expected: type[T] | types.UnionType, data: object) -> T | Whole:
    """Return the message that the plain ``data`` stands for, one of the class or union ``expected``.

    Raises DecodeError, and nothing else, for whatever is not that; the error is one line.
    """
    classes = typing.get_args(expected) if isinstance(expected, types.UnionType) else (expected,)
    tag = data.get("type") if type(data) is dict else None
    cls = next((cls for cls in classes if type(tag) is str and cls.__name__ == tag), None)
    if cls is None:
        names = " or ".join(cls.__name__ for cls in classes)
        raise DecodeError(f"expected {names}, got {shown(tag) if type(tag) is str else shown(data)}")
    try:
        return shape_of(cls).decode(data)
    except ShapeError as wrong:
        raise DecodeError(f"{_path(cls, wrong)}: {wrong.said}") from None


def protocol_of(data: object) -> int:
    """Return the major version in a Hello of any version, whatever else it holds. Raises DecodeError for no Hello."""
    version = data.get("protocol") if type(data) is dict and data.get("type") == "Hello" else None
    if type(version) is not int or not 0 <= version < INT_LIMIT:
        raise DecodeError(f"the first message is a Hello with a protocol version, not {shown(data)}")
    return version


def largest(cls: type[attrs.AttrsInstance]) -> int:
    """Return the size of the largest message of a class that can be sent, as ``size_of`` counts."""
    return shape_of(cls).most


def listed(values: Canonical) -> Plain:
    """Return canonical pairs as they stand on the wire."""
    return [[name, list(value) if isinstance(value, tuple) else value] for name, value in values]


def _path(cls: type, wrong: ShapeError) -> str:
    return ".".join((cls.__name__, *reversed(wrong.path)))
