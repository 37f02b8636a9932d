"""The target that reads bytes as the body of a request to the API, of each route."""

from __future__ import annotations

from buildtool.errors import DecodeError, UsageError
from buildtool.protocol import codec
from buildtool.protocol.api.routes import CALLS
from buildtool.web.api.decoding import message_of, read_body
from buildtool.web.api.problems import NotAcceptable
from tests.fuzz.target import expect

_POSTS = tuple(call for call in CALLS if call.method == "POST" and call.message is not None)

ALLOWED = (DecodeError, UsageError, NotAcceptable)
"""What the target may raise."""


def api_bodies(data: bytes) -> None:
    """Read a body: what is understood is a message that reads back the same once it is written."""
    call = _POSTS[(data[0] if data else 0) % len(_POSTS)]
    body = read_body(call, "application/json", data[1:])
    values = {name: 7 if call.numeric(name) else "elm" for name in call.names}
    message = message_of(call, values, body, key="0" * 32, token="t")
    expect(codec.decode(type(message), codec.encode(message)) == message, "it does not read back as it was")
