"""The description of the API says what is checked, about every route, and refers to nothing that is not there."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.protocol import codec
from buildtool.protocol.acts import ACT_OF
from buildtool.protocol.api.routes import ROUTES, ApiCall
from buildtool.protocol.json_text import written
from buildtool.web.api.openapi import body_schema, described, fields_of, operation_id
from tests import messages

DESCRIBED = described("https://farm.example.org/farm/")


def inside(part: Any) -> Iterator[Any]:
    """Yield everything in a JSON value."""
    yield part
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from inside(one)


def fits(schema: Any, value: Any) -> bool:  # noqa: PLR0911 - JSON; a line for each word of it
    """Return whether a value is as a schema says, as far as the words go that the description uses."""
    if "$ref" in schema:
        return fits(DESCRIBED["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value)
    if "anyOf" in schema:
        return any(fits(one, value) for one in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"])
    match schema["type"]:
        case "object":
            named, more = schema.get("properties", {}), schema.get("additionalProperties", True)
            there = isinstance(value, dict) and set(schema.get("required", ())) <= value.keys()
            return there and all(
                fits(named[name], one) if name in named else more is True or fits(more, one)
                for name, one in value.items()
            )
        case "array":
            each = schema.get("prefixItems") or [schema.get("items", {})] * len(value)
            return isinstance(value, list) and all(fits(one, part) for one, part in zip(each, value, strict=True))
        case "string":
            return isinstance(value, str) and value in schema.get("enum", [value])
        case "integer":
            return type(value) is int
        case "number":
            return type(value) in (int, float)
        case "boolean":
            return type(value) is bool
        case _:
            return value is None


def test_it_is_json_and_its_references_lead_somewhere() -> None:
    json.loads(written(DESCRIBED))
    schemas = DESCRIBED["components"]["schemas"]
    named = {one["$ref"] for one in inside(DESCRIBED) if isinstance(one, dict) and "$ref" in one}
    assert named == {f"#/components/schemas/{name}" for name in schemas if f"#/components/schemas/{name}" in named}
    assert len(named) > 20
    assert DESCRIBED["servers"] == [{"url": "https://farm.example.org/farm/api/v1"}]


def test_every_route_is_there_once_under_a_name_of_its_own() -> None:
    names = [operation_id(call) for call in ROUTES]
    assert len(set(names)) == len(names)
    there = [one["operationId"] for path in DESCRIBED["paths"].values() for one in path.values()]
    assert sorted(there) == sorted(names)


@pytest.mark.parametrize("call", ROUTES, ids=operation_id)
def test_a_route_that_passes_a_message_on_is_the_act_of_that_message(call: ApiCall) -> None:
    if call.message is not None:
        assert call.act is ACT_OF[call.message]
    assert bool(call.message) != bool(call.read)
    schema = body_schema(call)
    assert schema["additionalProperties"] is False
    assert [name.rstrip("?") for name in fields_of(call)] == list(schema.get("properties", {}))


@given(st.data())
def test_what_is_sent_fits_its_schema(data: st.DataObject) -> None:
    there = [name for name in messages.ALL if name in DESCRIBED["components"]["schemas"]]
    name = data.draw(st.sampled_from(there))
    message = data.draw(messages.ALL[name])
    assert fits({"$ref": name}, json.loads(written(codec.encode(message))))
