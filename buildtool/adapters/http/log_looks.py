"""What is known of a log, and what is found in it, as JSON: the same as the pages answer.

Tested by tests/adapters/http/test_transfer_site.py.
"""

from __future__ import annotations

from functools import partial
from urllib.parse import parse_qs

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.web import http

from buildtool.adapters.http.handling import LIVE, NUMBER, Oversight, log_state
from buildtool.adapters.http.routes import Admission, HttpRefusal, HttpResponse, IncomingRequest
from buildtool.adapters.storage.logs import LogStore
from buildtool.concurrency.backpressure import BodyReader
from buildtool.errors import NotFound, Unavailable
from buildtool.model.logs.index import FoundInLog
from buildtool.ports.pages import SEARCHED_LIMIT
from buildtool.protocol import codec
from buildtool.protocol.http_headers import has_copy
from buildtool.protocol.json_text import written
from buildtool.protocol.logs.answers import found_answer, index_answer, index_tag

_JSON = (("Content-Type", "application/json"),)


@frozen
class _Text:
    """A text as the content of an answer."""

    data: bytes
    start: int = 0

    @property
    def end(self) -> int:
        return len(self.data)

    async def read(self, start: int, size: int) -> bytes:
        return self.data[start : start + size]

    def close(self) -> None:
        """Nothing is held open."""


class LogLooks:
    """The handler of what is asked about logs."""

    def __init__(self, logs: LogStore, oversight: Oversight) -> None:
        self._logs = logs
        self._reads = oversight.reads

    def admit(self, request: IncomingRequest, build_id: int, epoch: int, what: str) -> Admission:
        handler = self._index if what == "index" else self._search
        return Admission(partial(handler, build_id=build_id, epoch=epoch))

    async def _index(self, request: IncomingRequest, _body: BodyReader, build_id: int, epoch: int) -> HttpResponse:
        await self._check_seen(request, build_id)
        since = _asked(request).get("from", "0")
        if not NUMBER.fullmatch(since):
            raise HttpRefusal(http.BAD_REQUEST, "an index takes ?from=<byte>, a whole number")
        state = await log_state(self._logs, self._reads, build_id, epoch)
        index = await self._logs.index(build_id, epoch)
        tag = index_tag(index, int(since), finished=state.finished)
        headers = (*LIVE, ("ETag", f'"{tag}"'))
        if has_copy(request.header("If-None-Match"), tag):
            return HttpResponse(http.NOT_MODIFIED, "", headers)
        length = max(state.length, index.length)
        told = index_answer(index, int(since), finished=state.finished, length=length)
        return HttpResponse(http.OK, "", (*headers, *_JSON), _Text(written(codec.encode(told))))

    async def _search(self, request: IncomingRequest, _body: BodyReader, build_id: int, epoch: int) -> HttpResponse:
        await self._check_seen(request, build_id)
        asked = _asked(request)
        text = asked.get("q", "").encode(errors="replace")
        if not text or b"\n" in text or len(text) > SEARCHED_LIMIT:
            raise HttpRefusal(
                http.BAD_REQUEST, f"a search takes ?q=<text in a line>, of at most {SEARCHED_LIMIT} bytes, and &case=1"
            )
        await log_state(self._logs, self._reads, build_id, epoch)
        searching: Deferred[FoundInLog] = Deferred.fromCoroutine(
            self._logs.search(build_id, epoch, text, fold=not asked.get("case"))
        )
        request.when_lost(searching.cancel)
        try:
            found = await searching
        except CancelledError:
            raise Unavailable("nobody waits for what was searched for") from None
        return HttpResponse(http.OK, "", (*LIVE, *_JSON), _Text(written(codec.encode(found_answer(found)))))

    async def _check_seen(self, request: IncomingRequest, build_id: int) -> None:
        if not await self._reads.log(request, build_id):
            raise NotFound("there is no such log: the build may not have started")


def _asked(request: IncomingRequest) -> dict[str, str]:
    """Return what a query says, the last of what it says twice. Raises HttpRefusal."""
    try:
        given = parse_qs(request.query, keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise HttpRefusal(http.BAD_REQUEST, "too much is asked about a log") from None
    return {name: values[-1] for name, values in given.items()}
