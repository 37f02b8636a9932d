"""The description of the API in OpenAPI 3.1: made of the table of routes, and of the shapes that check messages."""

from __future__ import annotations

from typing import Any

import attrs

from buildtool import __version__
from buildtool.protocol.api.routes import EVENTS, KEY_HEADER, PREFIX, ROUTES, TOKEN_HEADER, ApiCall
from buildtool.protocol.shapes import shape_of

from .problems import CONTENT_TYPE

JSON = "application/json"

_SAID = {
    "304": "as the entity tag of If-None-Match says", "400": "not understood", "401": "sign in",
    "403": "not allowed", "404": "not there", "405": "another method", "409": "not now, or not again",
    "410": "not there any more", "415": "a body of another type", "416": "no such bytes", "422": "cannot be done",
    "429": "more than you may have for now", "502": "the origin of the sources does not answer",
    "503": "not available for now",
}  # fmt: skip


def described(base: str) -> dict[str, Any]:
    """Return the description; ``base`` is the public URL of the pages, below which the API is."""
    parts: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, Any] = {}
    for call in ROUTES:
        schema: Any = {"type": "string", "format": "binary"}
        if not call.raw:
            answer = shape_of(call.answer)
            parts, schema = {**parts, **answer.parts}, answer.schema
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, schema, parts)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Build farm", "version": f"1 ({__version__})", "description": _WORDS},
        "servers": [{"url": base.rstrip("/") + PREFIX}],
        "security": [{}, {"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": parts,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "made by whom it acts for"},
                "session": {"type": "apiKey", "in": "cookie", "name": "session", "description": "with X-CSRF-Token"},
            },
        },
    }


def _operation(call: ApiCall, schema: Any, parts: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - JSON Schema
    also: tuple[str, ...] = ("304", "400", "401", "403", "404", "405", "422", "429", "503")
    if call.method == "POST":
        also = (*also[1:], "409", "415", "502")
    ranged = bool(call.raw) and call is not EVENTS
    if ranged:
        also = (*also, "409", "410", "416")
    problem = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    content = {call.raw or JSON: {"schema": schema}}
    answers: dict[str, Any] = {"200": {"description": "done", "content": content}}
    if ranged:
        answers["206"] = {"description": "the range that was asked for", "content": content}
    for status in sorted(also):
        answers[status] = {"description": _SAID[status], **({} if status == "304" else {"content": problem})}
    if call.counted:
        for status in ("200", "429"):
            answers[status]["headers"] = _LEFT
    found: dict[str, Any] = {
        "operationId": operation_id(call), "summary": call.words, "parameters": _parameters(call), "responses": answers,
        "x-act": call.act.word,
    }  # fmt: skip
    if call.method == "POST" and call.message is not None:
        shape = shape_of(call.message)
        inner = {name: part for name, part in shape.parts.items() if name != call.message.__name__}
        parts |= {name: {**part, "additionalProperties": False} for name, part in inner.items()}
        found["requestBody"] = {
            "required": bool(call.required), "content": {JSON: {"schema": body_schema(call)}},
        }  # fmt: skip
    return found


def body_schema(call: ApiCall) -> dict[str, Any]:
    """Return the JSON Schema of a body, in which names that are not known may not stand."""
    if call.message is None:
        return {"type": "object", "additionalProperties": False}
    own = shape_of(call.message).parts[call.message.__name__]
    properties = {name: own["properties"][name] for name in call.fields}
    return {
        "type": "object", "properties": properties, "required": list(call.required), "additionalProperties": False,
    }  # fmt: skip


def operation_id(call: ApiCall) -> str:
    """Return the name of a route, one of its own."""
    words = [part.strip("{}") for part in call.path.split("/") if part]
    return "_".join([call.method.lower(), *words]).replace("-", "_")


def _parameters(call: ApiCall) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name, "in": "path", "required": True,
            "schema": _NUMBER if call.numeric(name) else {"type": "string", "minLength": 1},
        }
        for name in call.names
    ]  # fmt: skip
    for name, one in call.query.items():
        schema: dict[str, Any] = {"type": "string", "maxLength": one.length, "pattern": "^[^\\u0000]*$"}
        if one.line:
            schema |= {"minLength": 1, "pattern": "^[^\\u0000\\n]+$"}
        if one.numeric:
            schema = {"type": "integer", "minimum": one.least, "maximum": one.most}
        found.append({"name": name, "in": "query", "description": one.words, "schema": schema, "required": one.needed})
    if call.keyed:
        schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
        found.append({"name": KEY_HEADER, "in": "header", "required": True, "schema": schema,
                      "description": "32 hex digits, new for each request and the same to repeat it"})  # fmt: skip
    if call.raw and call is not EVENTS:
        found.append({"name": "Range", "in": "header", "schema": {"type": "string", "maxLength": 100},
                      "description": "which bytes, as RFC 9110 has it: one range"})  # fmt: skip
    if call.proven:
        found.append({"name": TOKEN_HEADER, "in": "header", "schema": {"type": "string", "maxLength": 100},
                      "description": "the request's token, where it is not yours by who you are"})  # fmt: skip
    return found


def fields_of(call: ApiCall) -> tuple[str, ...]:
    """Return what the body holds, for people: each field, with a question mark where it may be left out."""
    if call.message is None:
        return ()
    there = {one.name for one in attrs.fields(call.message)}
    return tuple(name if name in call.required else f"{name}?" for name in call.fields if name in there)


_LEFT = {
    "RateLimit": {
        "description": "what is left (r), and in how many seconds (t) all of it is there again, where it is limited",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "what may be had (q) in how many seconds (w), where that is limited",
        "schema": {"type": "string"},
    },
}  # fmt: skip

_NUMBER = {"type": "integer", "minimum": 1, "maximum": 10**18 - 1}

_PROBLEM = {
    "type": "object",
    "description": "A problem as RFC 9457 has it; code is the one of the command line.",
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "code": {"type": "string"}, "detail": {"type": "string"},
    },
    "required": ["type", "title", "status", "code", "detail"],
}  # fmt: skip

_WORDS = (
    "What the pages and the programs of the command line do. Answers may gain fields in this version; a field that is "
    "there keeps its meaning. A route answers what its act in the table of rights lets who asks have."
)
