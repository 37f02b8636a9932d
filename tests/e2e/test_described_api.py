"""What the description of the API allows is answered as it says, and what it forbids is refused: by schemathesis.

For every route some requests of each kind, over the whole application in memory; ``make long`` has many more. It takes
seconds to load, so one worker does it, and only where these tests run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from buildtool.protocol.api.routes import CALLS, PREFIX, ApiCall
from tests.support.lanes import examples
from tests.web.api.world import ROOT, ApiWorld

if TYPE_CHECKING:
    from schemathesis import Case, Response

pytestmark = pytest.mark.xdist_group("described api")

SITE = "http://farm.example:8080"

CHECKS = {"positive_data_acceptance": {"expected-statuses": [200, 304, 401, 403, 404, 409, 422, 429]}}
"""What is understood may still not be done: 422 is the answer to what no farm has, or what contradicts itself."""

CONFIG = {"checks": CHECKS, "generation": {"codec": "ascii"}}
"""Texts are bounded in bytes, which a schema cannot say: it counts characters, which are as many only in ASCII."""


@pytest.fixture(scope="module")
def described() -> Any:
    """The description, as schemathesis reads it."""
    import schemathesis

    text = ApiWorld().get("/openapi.json").text
    return schemathesis.openapi.from_dict(json.loads(text), config=schemathesis.Config.from_dict(CONFIG))


def answered(at: ApiWorld, case: Case[Any]) -> Response:
    """Return what the farm answers to a request, as schemathesis looks at it."""
    import requests
    from schemathesis import Response

    asked = requests.Request(**case.as_transport_kwargs(base_url=SITE + PREFIX)).prepare()
    path = (asked.url or "").removeprefix(SITE)
    body = asked.body if isinstance(asked.body, bytes) else str(asked.body or "").encode()
    sent = {name: str(value) for name, value in asked.headers.items() if name.lower() != "content-length"}
    seen = at.visitor.visit(path, asked.method or "", sent | at.token(ROOT), body)
    headers = {name: [value] for name, value in seen.headers.items()}
    return Response(seen.status, headers, seen.body, asked, 0.0, verify=False)


def can_be_wrong(call: ApiCall) -> bool:
    """Return whether anything could be said to a route that its description forbids."""
    return bool(call.query or call.fields or call.keyed or any(map(call.numeric, call.names)))


CASES = [
    (call, mode) for call in CALLS for mode in ("positive", "negative") if mode == "positive" or can_be_wrong(call)
]


@pytest.mark.parametrize(("call", "mode"), CASES, ids=lambda one: getattr(one, "path", one))
def test_a_request_is_answered_as_the_description_says(call: ApiCall, mode: str, described: Any) -> None:
    from schemathesis import GenerationMode

    at, operation = ApiWorld(), described[call.path][call.method]

    @settings(max_examples=examples(2, long=60), suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=GenerationMode(mode)))
    def check(case: Case[Any]) -> None:
        case.validate_response(answered(at, case))

    check()
