"""What comes with a request to the API: path, query, headers and body, to the message that it asks for.

Everything here is hostile until it is decoded: the body is bounded before it is parsed, a name that is not known is
refused by name, and the shape of the message checks the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args, get_type_hints

import attrs
from attrs import AttrsInstance

from buildtool.errors import DecodeError, NotFound, UsageError
from buildtool.model.names import is_client_id
from buildtool.model.text import near_word
from buildtool.protocol import codec
from buildtool.protocol.api.routes import KEY_HEADER, ApiCall, QueryName
from buildtool.protocol.json_text import TextBounds, parsed

from .problems import NotAcceptable

BOUNDS = TextBounds(values=5_000, depth=16)
"""What a body may hold; its bytes are bounded where it comes in."""

_DIGITS = 18

_EXACT = 2.0**53
"""Below it every whole number is one that a float can hold."""

_JSON = ("application/json", "application/json;charset=utf-8", 'application/json;charset="utf-8"')


def read_query(call: ApiCall, said: Mapping[bytes, Sequence[bytes]]) -> dict[str, str | int]:
    """Return the values of a query by name. Raises DecodeError for what the route does not know, or no value of it."""
    found: dict[str, str | int] = {}
    for raw, values in said.items():
        try:
            name, text = raw.decode(), values[-1].decode()
        except UnicodeDecodeError:
            raise DecodeError("the query is no UTF-8") from None
        known = call.query.get(name)
        if known is None:
            raise DecodeError(f"there is no query name {_shown(name)}{_known(name, call.query)}")
        if len(values) > 1:
            raise DecodeError(f"the query name {name} is said {len(values)} times")
        found[name] = _value(name, text, known)
    for name, known in call.query.items():
        if known.needed and name not in found:
            raise DecodeError(f"the query has no {name}: {known.words}")
    return found


def _value(name: str, text: str, known: QueryName) -> str | int:
    """Return what a name of a query says. Raises DecodeError."""
    if known.numeric:
        number = int(text) if _is_number(text) else -1
        if not known.least <= number <= known.most:
            raise DecodeError(f"{name}={_shown(text)}: a whole number from {known.least} to {known.most}")
        return number
    if len(text) > known.length or "\0" in text:
        raise DecodeError(f"{name} has {len(text)} characters: at most {known.length} are allowed, and no NUL")
    if known.line and (not text or "\n" in text):
        raise DecodeError(f"{name} is some text in one line")
    return text


def read_path(call: ApiCall, said: Mapping[str, str]) -> dict[str, str | int]:
    """Return what a path names. Raises NotFound for what is no number where one is needed."""
    found: dict[str, str | int] = {}
    for name, text in said.items():
        if not call.numeric(name):
            found[name] = text
        elif _is_number(text) and text != "0":
            found[name] = int(text)
        else:
            raise NotFound(f"there is no {name.removesuffix('_id')} of this number")
    return found


def read_body(call: ApiCall, content_type: str, body: bytes) -> dict[str, Any]:
    """Return the fields of a body by name, completed. Raises DecodeError, and NotAcceptable for what is no JSON."""
    if body and "".join(content_type.split()).lower() not in _JSON:
        raise NotAcceptable(
            f"the body is {_shown(content_type) if content_type else 'of no type'}: application/json is taken"
        )
    plain = _whole(parsed(body, BOUNDS)) if body else {}
    if type(plain) is not dict:
        raise DecodeError("the body is an object of JSON")
    _check_names(plain, (*call.fields, "type"), "")
    if call.message is not None and plain.get("type", call.message.__name__) != call.message.__name__:
        raise DecodeError(f"the type of the body is {call.message.__name__}, which need not be said")
    for name in call.required:
        if name not in plain:
            raise DecodeError(f"the field {name} is missing")
    return {**call.absent, **plain}


def message_of(
    call: ApiCall, values: Mapping[str, Any], body: Mapping[str, Any], *, key: str = "", token: str = ""
) -> AttrsInstance:
    """Return the message that a request asks for; ``values`` are of path and query, the others of headers.

    Raises DecodeError, UsageError.
    """
    assert call.message is not None  # noqa: S101 - for the type checker: others are read
    plain = {**body, **values, "type": call.message.__name__}
    if call.keyed:
        if not is_client_id(key):
            raise UsageError(
                f"the header {KEY_HEADER} is 32 hex digits, new for each request and the same to repeat it"
            )
        plain["client_id"] = key
    if call.proven:
        plain["token"] = token
    known = {one.name for one in attrs.fields(call.message)}
    return codec.decode(
        call.message, _widened(call.message, {name: plain[name] for name in plain if name in known | {"type"}})
    )


def _whole(plain: Any) -> Any:  # noqa: ANN401 - plain data without a shape yet
    """Return plain data in which a number without a fraction is a whole one, as JSON Schema has it: 2.0 is 2."""
    match plain:
        case float() if plain.is_integer() and abs(plain) < _EXACT:
            return int(plain)
        case list():
            return [_whole(one) for one in plain]
        case dict():
            return {name: _whole(one) for name, one in plain.items()}
        case _:
            return plain


def _widened(cls: type[AttrsInstance], plain: dict[str, Any]) -> dict[str, Any]:
    """Return fields with whole numbers as real ones where those are asked for, and inner messages with their type.

    Raises DecodeError for a name in an inner message that is not known.
    """
    hints = get_type_hints(cls)
    for name, value in plain.items():
        hint = hints.get(name)
        if hint is float and type(value) is int:
            plain[name] = float(value)
        if hint is not None and attrs.has(hint):
            plain[name] = _inner(hint, value, name)
        inner = next((one for one in get_args(hint) if attrs.has(one)), None)
        if inner is not None and type(value) is list:
            plain[name] = [_inner(inner, one, f"{name}.{at}") for at, one in enumerate(value)]
    return plain


def _inner(cls: type[AttrsInstance], value: object, where: str) -> object:
    if type(value) is not dict:
        return value
    _check_names(value, (*(one.name for one in attrs.fields(cls)), "type"), f" in {where}")
    return {"type": cls.__name__, **value}


def _check_names(plain: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for name in plain:
        if name not in known:
            raise DecodeError(f"there is no field {_shown(name)}{where}{_known(name, known)}")


def _known(name: str, known: Collection[str]) -> str:
    if near := near_word(name, known):
        return f": did you mean {near}?"
    return f": there are {', '.join(one for one in known if one != 'type')}" if known else ": it takes none"


def _is_number(text: str) -> bool:
    """Return whether a text is a whole number, written the one way we write it."""
    plain = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return plain and (text[0] != "0" or text == "0")


def _shown(text: str) -> str:
    return ascii(text[:60])
