"""Questions to the API, each by its line in the table of routes, and their answers: decoded, or an error of ours.

Whatever answers may be another server, a proxy, or hostile. Tested by tests/client/test_connection.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import attrs
from attrs import define, field, frozen
from twisted.internet.error import ConnectionRefusedError as NobodyListens
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.http.client import FarmTls, HttpAnswer, HttpClient, HttpTimeouts
from buildtool.adapters.http.client_bodies import SmallBody
from buildtool.client.changes import EventText, FarmChange, change_told
from buildtool.client.farm_urls import FarmUrl
from buildtool.client.limits import RateLeft, read_limits
from buildtool.client.reachable import LogPart, reachable
from buildtool.errors import (
    BadOffset,
    BadUpload,
    BuildToolError,
    DecodeError,
    LimitReached,
    NotFound,
    Unavailable,
    UsageError,
    by_code,
)
from buildtool.model.addresses import is_loopback
from buildtool.model.text import one_line, quoted
from buildtool.protocol import codec
from buildtool.protocol.api.routes import CALLS, EVENTS, KEY_HEADER, TOKEN_HEADER, ApiCall
from buildtool.protocol.json_text import TextBounds, parsed, written

T = TypeVar("T", bound=attrs.AttrsInstance)

ANSWER_LIMIT = 4 * 1024 * 1024
"""Most bytes of an answer."""

BODY_LIMIT = 64 * 1024
"""Most bytes of a question that the pages take."""

USUAL = 30.0
"""Seconds until an answer begins, unless a question is one that takes longer."""

_BOUNDS = TextBounds(400_000, 24)
_PROBLEM_BOUNDS = TextBounds(200, 8)
_PROBLEM_LIMIT = 16 * 1024
_PROBLEM = "application/problem+json"
_JSON = "application/json"
_UNCHANGED = 304
_ELSEWHERE = (301, 302, 303, 307, 308)
_WORDS = 400
_DIGITS = 18

_CODES = by_code()

ROUTES: Mapping[type[attrs.AttrsInstance], ApiCall] = {call.message: call for call in CALLS if call.message is not None}
"""The route by which each message is asked."""

_BY_PATH = {(call.method, call.path): call for call in CALLS}


def route(method: str, path: str) -> ApiCall:
    """Return the route of a method and path, as the table has it. Raises KeyError."""
    return _BY_PATH[method, path]


@frozen
class Answered:
    """An answer, and its entity tag; ``plain`` is None where it is the one that was known."""

    plain: Any
    tag: str


@define(eq=False)
class ApiConnection:
    """A way to ask the API of the farm at ``url``, with a token if there is one.

    Connections are kept between questions until ``close``. ``limits`` has what is left of what is limited, by name, as
    the newest answer said that told of it.
    """

    url: FarmUrl
    reactor: IReactorTime
    _http: HttpClient
    token: str = field(default="", repr=False)
    limits: dict[str, RateLeft] = field(factory=dict, init=False)

    @classmethod
    def to(cls, url: FarmUrl, reactor: IReactorTime, token: str = "", farm: FarmTls | None = None) -> ApiConnection:
        """Return a way to a farm; ``farm`` says how to speak TLS to what is the farm's own.

        Raises UsageError where a token would go over a network in the clear.
        """
        host = url.address.host
        if token and url.where.startswith("http://") and not (host == "localhost" or is_loopback(host)):
            raise UsageError(f"a token is not sent to {url.where}, since others could read it on its way: say https://")
        return cls(url, reactor, HttpClient(reactor, HttpTimeouts(answer=USUAL), farm), token)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await self._http.close()

    async def ask(self, message: attrs.AttrsInstance, expected: type[T], *, within: float = USUAL) -> T:
        """Ask what a message asks, for ``within`` seconds, and return its answer, an ``expected``.

        Raises what it is refused with, DecodeError, Unavailable, and UsageError for what has no route.
        """
        call = ROUTES.get(type(message))
        if call is None:
            raise UsageError(f"{type(message).__name__} cannot be asked over HTTP")
        return self.read(await self.answered(call, codec.encode(message), within=within), expected)

    async def answered(
        self, call: ApiCall, plain: Mapping[str, Any], *, within: float = USUAL, known: str = "", wait: int = 0
    ) -> Answered:
        """Return the answer of a route; ``plain`` has what stands in path, query, headers and body, by name.

        ``known`` is the entity tag of the answer that is here already; ``wait`` is how many seconds a change is waited
        for. Raises what ``ask`` does, such as UsageError for a body that is too long.
        """
        headers = self._headers()
        if call.keyed:
            headers[KEY_HEADER] = str(plain.get("client_id", ""))
        if call.proven and plain.get("token"):
            headers[TOKEN_HEADER] = str(plain["token"])
        if known:
            headers["If-None-Match"] = known
        body = None
        if call.method == "POST":
            headers["Content-Type"] = _JSON
            text = written({name: plain[name] for name in call.fields if name in plain})
            if len(text) > BODY_LIMIT:
                raise UsageError(
                    f"what is asked takes {len(text)} bytes, and the API takes {BODY_LIMIT}: ask for less at once"
                )
            body = SmallBody(text)
        asked = {name: plain[name] for name in call.query if plain.get(name) not in (None, "")}
        return await self._sent(call, self._at(call, plain, asked, wait), headers, body, within + wait)

    def read(self, answered: Answered, expected: type[T]) -> T:
        """Return what an answer says. Raises DecodeError."""
        try:
            return reachable(codec.decode(expected, answered.plain), self.url)
        except DecodeError as error:
            raise DecodeError(f"{self.url.where} answers what this program does not understand: {error}") from error

    async def get(self, path: str, expected: type[T], values: Mapping[str, Any]) -> T:
        """Return what is read at a path of the table, an ``expected``. Raises what ``ask`` does."""
        return self.read(await self.answered(route("GET", path), values), expected)

    async def part(self, values: Mapping[str, Any], most: int, wait: int) -> LogPart:
        """Return a part of a log, of at most so many bytes. Raises what ``ask`` does, and BadOffset behind its end."""
        call = route("GET", "/builds/{build_id}/log")
        asked = {name: values[name] for name in call.query if values.get(name) is not None}
        async with self._exchange(call.method, self._at(call, values, asked, 0), self.shown(), None, wait) as response:
            if response.code != 200:  # noqa: PLR2004
                raise await self._problem(response)
            return LogPart(await self._body(response, most), response.header("Log-Finished") == "yes")

    async def change(self, after: int | None, wait: float) -> FarmChange:
        """Return what changed after an event, within ``wait`` seconds; for None at once which event is the newest.

        Raises what ``ask`` does.
        """
        url = self._at(EVENTS, {}, {} if after is None else {"last": after}, 0)
        until, newest, text = self.reactor.seconds() + wait, after or 0, EventText()
        async with self._exchange(EVENTS.method, url, self.shown(), None, 0) as response:
            if response.code != 200:  # noqa: PLR2004
                raise await self._problem(response)
            async for batch in response.pieces():
                for kind, said, number in text.feed(b"".join(batch)):
                    newest = max(newest, number)
                    change = change_told(kind, said, number)
                    if change is not None and after is not None:
                        return change
                    if after is None or self.reactor.seconds() >= until:
                        return FarmChange(newest)
        return FarmChange(newest)

    def shown(self) -> dict[str, str]:
        """Return the headers that say who asks."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _headers(self) -> dict[str, str]:
        return {"Accept": _JSON, **self.shown()}

    def _at(self, call: ApiCall, plain: Mapping[str, Any], asked: Mapping[str, Any], wait: int) -> str:
        path = call.path
        for name in call.names:
            if "/" in str(plain[name]) or str(plain[name]) in (".", ".."):  # which no path can name
                raise NotFound(f"there is none of the name {quoted(str(plain[name]), 80)}")
            path = path.replace(f"{{{name}}}", quote(str(plain[name]), safe=""))
        query = urlencode({**asked, **({"wait": wait} if wait else {})})
        return f"{self.url.api}{path}" + (f"?{query}" if query else "")

    async def _sent(
        self, call: ApiCall, url: str, headers: Mapping[str, str], body: SmallBody | None, within: float
    ) -> Answered:
        async with self._exchange(call.method, url, headers, body, max(0.0, within - USUAL)) as response:
            if response.code == _UNCHANGED:
                return Answered(None, response.header("ETag"))
            if response.code != 200 or not response.header("Content-Type").startswith(_JSON):  # noqa: PLR2004
                raise await self._problem(response)
            text = await self._body(response, ANSWER_LIMIT)
            try:
                return Answered(parsed(text, _BOUNDS), response.header("ETag"))
            except DecodeError as error:
                raise DecodeError(f"{self.url.where} answers what is not JSON: {error}") from error

    async def _body(self, response: HttpAnswer, most: int) -> bytes:
        try:
            return await response.body(most)
        except BadUpload as error:
            raise DecodeError(f"{self.url.where} answers with more than {most} bytes") from error

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: SmallBody | None, wait: float
    ) -> AsyncIterator[HttpAnswer]:
        """Send a question and yield its answer, for which ``wait`` seconds more than usual are waited."""
        where = self.url.where
        try:
            async with self._http.asked(method, url, headers, body, wait=wait) as response:
                self.limits |= read_limits(response.header("RateLimit"), response.header("RateLimit-Policy"))
                yield response
        except Unavailable as error:
            if isinstance(error.__cause__, NobodyListens):
                raise Unavailable(f"no farm answers at {where}: nothing listens there; do its pages run?") from (
                    error.__cause__
                )
            if error.__cause__ is None:
                raise
            raise Unavailable(f"no farm answers at {where}: {error}".removesuffix(": try again")) from error.__cause__

    async def _problem(self, response: HttpAnswer) -> BuildToolError:
        """Return the error that an answer tells; one that is no problem of ours is another server's."""
        where, kind = self.url.where, response.header("Content-Type").partition(";")[0].strip()
        if response.code in _ELSEWHERE:
            there = one_line(response.header("Location"))[:_WORDS]
            return Unavailable(f"{where} leads elsewhere, to {there}: say where the pages are themselves")
        if kind == _PROBLEM:
            try:
                said = parsed(await response.body(_PROBLEM_LIMIT), _PROBLEM_BOUNDS)
                return _error(str(said["code"]), one_line(str(said["detail"]))[:_WORDS], response)
            except (DecodeError, BadUpload, KeyError, TypeError):
                return DecodeError(f"{where} answers {response.code} with a problem that cannot be read")
        return Unavailable(f"what answers at {where} is not the API of a build farm: it answers {response.code}")


def _error(code: str, detail: str, response: HttpAnswer) -> BuildToolError:
    """Return the error of a problem."""
    cls = _CODES.get(code, BuildToolError)
    if issubclass(cls, LimitReached):
        return cls(detail, float(_number(response.header("Retry-After"))))
    if issubclass(cls, BadOffset):
        return cls(detail, _number(response.header("Log-Length")))
    return cls(detail)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0
