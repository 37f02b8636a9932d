"""The routes of the API, each made of a line of the table."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import attrs
from attrs import AttrsInstance
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from buildtool.errors import LimitReached, Unavailable
from buildtool.model.access.rights import Act
from buildtool.model.records import RequestState
from buildtool.protocol import codec
from buildtool.protocol.api.routes import CALLS, KEY_HEADER, PREFIX, ROUTES, TOKEN_HEADER, ApiCall
from buildtool.protocol.json_text import written
from buildtool.protocol.messages import RequestStatus

from ..access import shown_by, visitor_of
from ..answers import answer, shown_path
from ..section import Parts, Route, Section, page
from ..sessions import TOKEN_PREFIX, check_mark
from .decoding import message_of, read_body, read_path, read_query
from .files import ApiFiles
from .limits import LEFT_HEADER, POLICY_HEADER, left_for, left_header, policy_header
from .openapi import JSON, described, fields_of
from .problems import CONTENT_TYPE, NotAcceptable, problem_of
from .reading import ApiReader
from .waiting import LOOK_EVERY, WaitingPlaces

MARK_HEADER = "X-CSRF-Token"
"""The header in which a script of a page shows that it is of the session whose cookie is sent."""

_log = Logger()


class ApiSection(Section):
    """The API, its description, and the page that shows it."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._reader = ApiReader(parts)
        self._watched = WaitingPlaces()
        self._files = ApiFiles(parts, self._reader, WaitingPlaces())
        self._description = b""

    @classmethod
    def routes(cls) -> Iterator[tuple[Route, str]]:
        """Return every route of the table, and those of the description."""
        yield from super().routes()
        for at, call in enumerate(CALLS):
            yield Route(_pattern(call), call.method, call.act), f"call_{at}"

    def __getattr__(self, name: str) -> Callable[..., Awaitable[bytes | None]]:
        """Return what answers a route of the table."""
        kind, _, at = name.partition("_")
        if kind != "call" or not at.isdecimal() or int(at) >= len(CALLS):
            raise AttributeError(name)
        call = CALLS[int(at)]

        async def answered(request: Request, **named: str) -> bytes | None:
            return await self._answered(call, request, named)

        return answered

    @page(Act.SEE_STATIC, f"{PREFIX}/openapi.json")
    def openapi(self, request: Request) -> bytes:
        """Send the description of the API."""
        self._description = self._description or written(described(self.parts.urls.public))
        return self._tagged(request, self._description, "no-cache")

    @page(Act.SEE_STATIC, "/api")
    def shown_api(self, request: Request) -> bytes:
        """Show the routes of the API, and what each takes and answers."""
        lines = [
            ApiLine(
                call.method, call.url, call.words, call.act.word, (*call.query, *fields_of(call)), call.answer.__name__
            )
            for call in ROUTES
        ]
        return self.shown(request, "api", ApiPage(tuple(lines), f"{self.parts.urls.prefix}{PREFIX}/openapi.json"))

    # --- a call ---------------------------------------------------------------------------------------------

    async def _answered(self, call: ApiCall, request: Request, named: Mapping[str, str]) -> bytes | None:
        try:
            self.parts.access.check_role(visitor_of(request), call.act)
            if call.method == "POST":
                _check_meant(request, self.parts)
            values = {**read_path(call, named), **read_query(call, request.args or {})}
            if call.raw:
                await self._tell_limits(call, request)
                await self._files.of(call)(request, values)
                return None
            told = await self._told(call, request, values)
        except CancelledError:
            raise  # the visitor left
        except Exception as error:
            if request.startedWriting:
                raise  # which cuts the connection: half a log must not look like a whole one
            failure = Failure()
            if isinstance(error, LimitReached):
                await self._tell_limits(call, request)
            return problem_answer(request, error, self.parts, failure)
        await self._tell_limits(call, request)
        body = written(codec.encode(told))
        return self._tagged(request, body, "no-store" if call.secret else "no-cache")

    async def _told(self, call: ApiCall, request: Request, values: Mapping[str, Any]) -> AttrsInstance:
        if call.message is None:
            return await self._reader.of(call.read)(request, values)
        content = request.content.read() if request.content is not None and call.method == "POST" else b""
        body = read_body(call, request.getHeader("content-type") or "", content)
        key, token = request.getHeader(KEY_HEADER) or "", request.getHeader(TOKEN_HEADER) or ""
        message = message_of(call, values, body, key=key, token=token)
        if self.parts.upstream.questions is None:
            raise Unavailable("no metaserver is asked by these pages")
        waits = float(values.get("wait") or 0)
        seen = await self._newest() if waits else 0  # before the answer: what happens after it is not missed
        told = await self.parts.upstream.questions.act(shown_by(request), message, call.answer)
        if isinstance(told, RequestStatus) and waits:
            return await self._moved(request, message, told, waits, seen)
        return told

    async def _newest(self) -> int:
        """Return the number of the newest event: as it was told where it is, else as it is stored."""
        live = self.parts.upstream.live
        if live is not None and live.last:
            return live.last
        return (await self.parts.pages.overview(self.parts.clock.wall())).last_event

    async def _moved(
        self, request: Request, message: AttrsInstance, told: RequestStatus, left: float, seen: int
    ) -> AttrsInstance:
        """Return the status of a request once it is another than the asker has, has ended, or time is over.

        ``left`` is in seconds; ``seen`` is the newest event from before ``told``. Raises LimitReached where too many
        wait already.
        """
        questions, later = self.parts.upstream.questions, self.parts.tools.later
        known = request.getHeader("if-none-match") or _tag(written(codec.encode(told)))
        with self._watched.place("requests are watched already: ask without wait"):
            while left > 0 and told.state == RequestState.WAITING.value and known == _tag(written(codec.encode(told))):
                await later(min(left, LOOK_EVERY))
                left -= LOOK_EVERY
                newest = await self._newest()
                if questions is not None and newest != seen:
                    seen, told = newest, await questions.act(shown_by(request), message, RequestStatus)
        return told

    async def _tell_limits(self, call: ApiCall, request: Request) -> None:
        """Send how much who asks may have, and what is left of what a route counts against, where that is limited."""
        questions = self.parts.upstream.questions
        left = [one for one in await left_for(request, questions) if one.name == call.counted] if call.counted else []
        if left:
            request.setHeader(LEFT_HEADER, left_header(left))
        if policies := policy_header(left, self.parts.tools.policies()):
            request.setHeader(POLICY_HEADER, policies)

    def _tagged(self, request: Request, body: bytes, caching: str) -> bytes:
        """Return a body with its entity tag, or nothing where who asks has it already."""
        tag = _tag(body)
        request.setHeader("ETag", tag)
        said = [one.strip() for one in (request.getHeader("if-none-match") or "").split(",")]
        if request.method in (b"GET", b"HEAD") and (tag in said or "*" in said):
            request.setResponseCode(304)
            request.setHeader("Cache-Control", caching)
            return b""
        return answer(request, body, JSON, caching)


@attrs.frozen
class ApiLine:
    """A route of the API, as its page shows it."""

    method: str
    path: str
    words: str
    act: str
    takes: tuple[str, ...]
    answer: str


@attrs.frozen
class ApiPage:
    """The page of the API: its routes, and where its description is."""

    lines: tuple[ApiLine, ...]
    description: str


def problem_answer(request: Request, error: BaseException, parts: Parts, failure: Failure) -> bytes:
    """Return an error as a problem; what is a defect is logged."""
    said_by = f"{shown_path(request)} {parts.clock.wall()} {id(failure)}"
    reference = hashlib.sha256(said_by.encode()).hexdigest()[:8]
    said = problem_of(error, reference, known=bool(shown_by(request).secret) or bool(visitor_of(request).name))
    if said.ours:
        _log.failure("{path} failed, error {number}", failure, path=shown_path(request), number=reference)
    request.setResponseCode(said.status)
    for name, value in said.headers.items():
        request.setHeader(name, value)
    return answer(request, said.body(f"{parts.urls.public.rstrip('/')}/api"), CONTENT_TYPE, "no-store")


def _check_meant(request: Request, parts: Parts) -> None:
    """Raise where a browser may have been made to ask: who shows a token does so on purpose, others send JSON.

    Raises Unauthorised, NotAcceptable.
    """
    shown = shown_by(request).secret
    if shown.startswith(TOKEN_PREFIX):
        return
    if (request.getHeader("content-type") or "").partition(";")[0].strip().lower() != JSON:
        raise NotAcceptable("what changes something is sent as application/json, or with a token")
    if shown:
        check_mark(request, parts.jar, request.getHeader(MARK_HEADER) or "")


def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:24]}"'


def _pattern(call: ApiCall) -> str:
    """Return the path of a route as the application writes it."""
    return call.url.replace("{", "<").replace("}", ">")
