"""HTTP as whoever is told hears it: small JSON bodies, verified TLS, no redirect followed, answers read to a bound.

Tested by tests/adapters/notices/test_forges.py.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from urllib.parse import unquote_plus, urlsplit

from attrs import evolve, field, frozen

from buildtool import __version__
from buildtool.adapters.http.client import HttpClient
from buildtool.adapters.http.client_bodies import SmallBody
from buildtool.model.notices.outcome import HttpReply

AGENT = f"buildtool/{__version__}"
"""What it is called where it asks."""

READ_MOST = 64 * 1024
"""Most bytes of an answer that are read."""

_HEADERS = (
    "retry-after", "location", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-remaining", "ratelimit-reset",
    "x-oauth-scopes",
)  # fmt: skip
"""The headers of an answer that are looked at."""


_SECRET_HEADERS = ("authorization", "private-token", "x-hub-signature-256")

SECRET_LEAST = 6
"""Fewest characters of what is taken for a secret: less could be any word of an answer."""

HIDDEN = "***"
"""Stands for a secret that was repeated."""


@frozen
class HttpCall:
    """A call of an API: the method, the URL, headers, and a body that is sent as it is.

    The URL and the headers may have secrets in them, which are not shown.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = b""


CallHttp = Callable[[HttpCall], Awaitable[HttpReply]]
"""Makes a call and returns what is answered. Raises Unavailable where nothing is."""


def json_call(method: str, url: str, headers: Mapping[str, str], said: Mapping[str, object] | None = None) -> HttpCall:
    """Return a call whose body is JSON."""
    body = b"" if said is None else json.dumps(said, ensure_ascii=False, sort_keys=True).encode()
    return HttpCall(method, url, {"Accept": "application/json", **headers}, body)


def calling(client: HttpClient) -> CallHttp:
    """Return what makes calls by a client."""

    async def call(one: HttpCall) -> HttpReply:
        headers = {"User-Agent": AGENT, **one.headers}
        if one.body:
            headers.setdefault("Content-Type", "application/json")
        async with client.asked(one.method, one.url, headers, SmallBody(one.body) if one.body else None) as answer:
            found = {name: answer.header(name) for name in _HEADERS}
            text = (await answer.body(READ_MOST, cut=True)).decode("utf-8", "replace")
        return without_secrets(
            HttpReply(answer.code, {name: value for name, value in found.items() if value}, text), one
        )

    return call


def without_secrets(reply: HttpReply, call: HttpCall) -> HttpReply:
    """Return an answer without what is secret of the call, which pages of errors and redirects may repeat."""

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        return text

    secrets = sorted({one for one in _secrets(call) if len(one) >= SECRET_LEAST}, key=len, reverse=True)
    headers = {name: clean(value) for name, value in reply.headers.items()}
    return evolve(reply, headers=headers, text=clean(reply.text))


def _secrets(call: HttpCall) -> Iterator[str]:
    for name, value in call.headers.items():
        if name.lower() in _SECRET_HEADERS:
            yield value.rpartition(" ")[2]
    query = urlsplit(call.url).query
    for part in (query, *query.split("&")):
        value = part.partition("=")[2] or part
        yield from (part, value, unquote_plus(value))


def parsed_reply(reply: HttpReply) -> object:
    """Return the JSON of an answer, None where it is none."""
    try:
        found: object = json.loads(reply.text)
    except (ValueError, RecursionError):
        return None
    return found
