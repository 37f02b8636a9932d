"""Logs: in from build servers, out to whoever follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from urllib.parse import parse_qs

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as WaitedLongEnough
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web import http

from buildtool.adapters.http.handling import (
    LIVE,
    NUMBER,
    Oversight,
    TicketReader,
    asked_part,
    length_needed,
    log_state,
    number,
)
from buildtool.adapters.http.routes import Admission, Headers, HttpRefusal, HttpResponse, IncomingRequest
from buildtool.adapters.storage.logs import LogStore
from buildtool.concurrency.backpressure import BodyReader
from buildtool.errors import BadOffset, DecodeError, Expired, NotFound, TooLong
from buildtool.model.logs.marks import LogMark
from buildtool.model.tickets import TicketKind
from buildtool.protocol.logs.marks import LOG_MARKS, read_marks

LOG_WAIT = 30.0
"""The longest that a follower of a log waits for an answer, in seconds."""

LOG_ANSWER = 1024 * 1024
"""Most bytes of log in one answer to a follower; who asks for the log without ``offset`` gets all of it."""


class LogHandler:
    """The handler of logs: in from build servers, out to followers."""

    def __init__(self, tickets: TicketReader, logs: LogStore, reactor: IReactorTime, oversight: Oversight) -> None:
        self._reads = oversight.reads
        self._tickets = tickets
        self._stored = oversight.stored
        self._logs = logs
        self._reactor = reactor

    def admit(self, request: IncomingRequest, build_id: int, epoch: int) -> Admission:
        if request.method == b"POST":
            ticket = self._tickets.check(request, TicketKind.LOG, build_id, epoch)
            offset = number(request, "Upload-Offset", None)
            length_needed(request)
            if offset > ticket.max_bytes:
                raise TooLong(f"the log may have {ticket.max_bytes} bytes: nothing can be put at byte {offset}")
            marks = _marks(request)
            append = partial(
                self._append, build_id=build_id, epoch=epoch, offset=offset, limit=ticket.max_bytes, marks=marks
            )
            return Admission(append, ticket.max_bytes - offset)
        asked = _query(request)
        if "offset" not in asked and "wait" not in asked:
            return Admission(partial(self._whole, build_id=build_id, epoch=epoch))
        offset, wait = asked.get("offset", 0), min(float(asked.get("wait", 0)), LOG_WAIT)
        return Admission(partial(self._follow, build_id=build_id, epoch=epoch, offset=offset, wait=wait))

    async def _append(
        self,
        _request: IncomingRequest,
        body: BodyReader,
        build_id: int,
        epoch: int,
        offset: int,
        limit: int,
        marks: Sequence[LogMark],
    ) -> HttpResponse:
        length = None
        async for pieces in body:
            data = b"".join(pieces)
            length = await self._logs.append(build_id, epoch, offset, data, limit)
            offset += len(data)
            self._stored(build_id, epoch, len(data))
        if length is None or marks:  # they may stand anywhere in what has come
            length = await self._logs.append(build_id, epoch, offset, b"", limit, marks)
        return HttpResponse(http.OK, f"the log has {length} bytes", (*LIVE, ("Log-Length", str(length))))

    async def _whole(self, request: IncomingRequest, _body: BodyReader, build_id: int, epoch: int) -> HttpResponse:
        await self._check_seen(request, build_id)
        state = await log_state(self._logs, self._reads, build_id, epoch)
        code, span, headers = asked_part(request, state.length)
        if code == http.REQUESTED_RANGE_NOT_SATISFIABLE:
            return HttpResponse(code, f"the log has {state.length} bytes", (*LIVE, *headers))
        content = _LogPart(partial(self._logs.read, build_id, epoch), span.start, span.end)
        return HttpResponse(code, "", (*LIVE, *headers, *_log_headers(state.length, finished=state.finished)), content)

    async def _check_seen(self, request: IncomingRequest, build_id: int) -> None:
        """Raise NotFound for a log that who asks may not see, as for one that is not there."""
        if not await self._reads.log(request, build_id):
            raise NotFound("there is no such log: the build may not have started")

    async def _follow(
        self, request: IncomingRequest, _body: BodyReader, build_id: int, epoch: int, offset: int, wait: float
    ) -> HttpResponse:
        await self._check_seen(request, build_id)
        deadline = self._reactor.seconds() + wait
        if wait:
            request.busy()
        while True:
            changed = self._logs.changed(build_id, epoch)
            request.when_lost(changed.cancel)
            left = deadline - self._reactor.seconds()
            try:
                # Whoever waits says that the log is expected, though its first byte has not come.
                state = await log_state(self._logs, self._reads, build_id, epoch)
                length, finished = state.length, state.finished
            except NotFound as error:
                if not wait or isinstance(error, Expired):
                    changed.addErrback(_gave_up)
                    changed.cancel()
                    raise
                length, finished = 0, False
            if offset != length or finished or left <= 0 or request.lost:
                changed.addErrback(_gave_up)
                changed.cancel()
                break
            changed.addTimeout(left, self._reactor)
            changed.addErrback(_gave_up)
            await changed
        if offset > length:
            raise BadOffset(f"the log has {length} bytes, so there is nothing at byte {offset}", length)
        end = min(length, offset + LOG_ANSWER)
        content = _LogPart(partial(self._logs.read, build_id, epoch), offset, end)
        return HttpResponse(http.OK, "", (*LIVE, *_log_headers(length, finished=finished)), content)


def _gave_up(failure: Failure) -> None:
    failure.trap(CancelledError, WaitedLongEnough)


@frozen
class _LogPart:
    """A piece of a log as the content of an answer. It stays the same while the log grows, or is compressed."""

    source: Callable[[int, int], Awaitable[bytes]]
    start: int
    end: int

    async def read(self, start: int, size: int) -> bytes:
        return await self.source(start, size)

    def close(self) -> None:
        """Nothing is held open."""


def _log_headers(length: int, *, finished: bool) -> Headers:
    return (("Log-Length", str(length)), ("Log-Finished", "yes" if finished else "no"))


def _marks(request: IncomingRequest) -> tuple[LogMark, ...]:
    """Return the marks that come with a part of a log. Raises HttpRefusal."""
    text = request.header(LOG_MARKS)
    try:
        return () if text is None else read_marks(text)
    except DecodeError as error:
        raise HttpRefusal(http.BAD_REQUEST, f"the header {LOG_MARKS} has {error}") from error


def _query(request: IncomingRequest) -> dict[str, int]:
    try:
        given = parse_qs(request.query, keep_blank_values=True, max_num_fields=10)
    except ValueError:
        given = {"query": []}
    for name, values in given.items():
        if name not in {"offset", "wait"} or len(values) != 1 or not NUMBER.fullmatch(values[0]):
            raise HttpRefusal(http.BAD_REQUEST, "a log takes ?offset=<bytes>&wait=<seconds>, both whole numbers")
    return {name: int(values[0]) for name, values in given.items()}
