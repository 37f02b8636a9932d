"""The logs of builds: as plain text, their index, what is found in them, and a page to read them."""

from __future__ import annotations

from attrs import AttrsInstance, evolve
from twisted.web.server import Request

from buildtool.errors import Expired, LimitReached, NotFound
from buildtool.model.access.rights import Act
from buildtool.model.logs.index import FoundInLog, LogIndex
from buildtool.model.records import Build
from buildtool.ports.pages import SEARCHED_LIMIT, BuildDetail
from buildtool.protocol import codec
from buildtool.protocol.http_headers import ByteSpan, asked_span, has_copy
from buildtool.protocol.json_text import written
from buildtool.protocol.logs.answers import found_answer, index_answer, index_tag

from ..answers import TEXT, answer, headers, number, plain, query_value
from ..pages.build import deciding_epoch
from ..pages.log import LINES, LogCard, LogFacts, LogPage, LogQuestion, absent_card, first_line, log_card
from ..pages.views import PageLink
from ..section import Parts, Section, page
from ..streaming import send_log

JSON = "application/json"
GONE = 410
TOO_MANY = 429


class LogsSection(Section):
    """The logs of builds."""

    @page(Act.SEE_LOG, "/logs/<build_id>")
    async def log(self, request: Request, build_id: str) -> bytes | None:
        """Send the log of the deciding Attempt, or of ``?attempt=``, or a range of it, as plain text."""
        detail = await self.detail(request, build_id, Act.SEE_LOG)
        build = detail.build
        epoch = epoch_of(build, query_value(request, "attempt"))
        try:
            extent = await self.parts.logs.state(build.id, epoch)
        except NotFound:
            if _has_expired(detail, epoch):
                request.setResponseCode(GONE)
            return plain(request, f"{absent_words(detail, epoch)}\n")
        header = None if request.getHeader("if-range") else request.getHeader("range")
        span = asked_span(header, extent.length)
        request.setHeader("Accept-Ranges", "bytes")
        request.setHeader("Log-Finished", "yes" if extent.finished else "no")
        if span is None:
            request.setResponseCode(416)
            request.setHeader("Content-Range", f"bytes */{extent.length}")
            return plain(request, f"The log has {extent.length} bytes.\n")
        if span.partial:
            request.setResponseCode(206)
            request.setHeader("Content-Range", span.content_range)
        await self._send(request, build.id, epoch, span)
        return None

    async def _send(self, request: Request, build_id: int, epoch: int, span: ByteSpan) -> None:
        headers(request, TEXT, span.end - span.start, "no-cache")
        if request.method != b"HEAD":
            await send_log(request, self.parts.logs, build_id, epoch, span)

    @page(Act.SEE_LOG, "/logs/<build_id>/index")
    async def index(self, request: Request, build_id: str) -> bytes:
        """Send the index of a log as JSON; with ``?from=`` what is new since the one that said so as its ``next``."""
        detail = await self.detail(request, build_id, Act.SEE_LOG)
        build = detail.build
        epoch, since = epoch_of(build, query_value(request, "attempt")), query_value(request, "from") or "0"
        await check_log_kept(self.parts, detail, epoch)
        start = 0 if since == "0" else number(since, "byte")
        extent = await self.parts.logs.state(build.id, epoch)
        index = await self.parts.logs.index(build.id, epoch)
        tag = index_tag(index, start, finished=extent.finished)
        request.setHeader("ETag", f'"{tag}"')
        if has_copy(request.getHeader("if-none-match"), tag):
            request.setResponseCode(304)
            return b""
        told = index_answer(index, start, finished=extent.finished, length=max(extent.length, index.length))
        return _json(request, told)

    @page(Act.SEE_LOG, "/logs/<build_id>/search")
    async def search(self, request: Request, build_id: str) -> bytes:
        """Send the lines of a log that have the text ``?q=``, as JSON; in capitals or not without ``&case=1``."""
        detail = await self.detail(request, build_id, Act.SEE_LOG)
        build = detail.build
        epoch, query = epoch_of(build, query_value(request, "attempt")), query_value(request, "q")
        await check_log_kept(self.parts, detail, epoch)
        await self.parts.logs.state(build.id, epoch)
        if not is_query(query):
            request.setResponseCode(400)
            return plain(request, f"A search is for some text in a line, of at most {SEARCHED_LIMIT} bytes.\n")
        try:
            found = await self._found(build.id, epoch, query, case=bool(query_value(request, "case")))
        except LimitReached as error:
            request.setResponseCode(TOO_MANY)
            request.setHeader("Retry-After", "1")
            return plain(request, f"{error}\n")
        return _json(request, found_answer(found))

    async def _found(self, build_id: int, epoch: int, query: str, *, case: bool) -> FoundInLog:
        return await self.parts.logs.search(build_id, epoch, query.encode(), fold=not case)

    @page(Act.SEE_LOG, "/build/<build_id>/log")
    async def reader(self, request: Request, build_id: str) -> bytes:
        """Show a log, or a part of it from the line ``?from=`` on, or what is found of ``?q=``."""
        detail = await self.detail(request, build_id, Act.SEE_LOG)
        build = detail.build
        epoch, start = epoch_of(build, query_value(request, "attempt")), query_value(request, "from")
        query = query_value(request, "q")
        question = LogQuestion(
            number(start, "line") if start else 0, query if is_query(query) else "", bool(query_value(request, "case"))
        )
        card = await card_of(self.parts, detail, epoch, question)
        others = [it.epoch for it in detail.attempts if it.accepted_at is not None and it.epoch != epoch]
        urls = self.parts.urls
        shown = LogPage(
            id=build.id,
            build=urls.build(build.id),
            headline=f"Attempt {epoch} of build {build.id}",
            card=card,
            attempts=tuple(PageLink(urls.log_page(build.id, other), f"attempt {other}") for other in others),
        )
        return self.shown(request, "log", shown, "builds")


async def card_of(
    parts: Parts, detail: BuildDetail, epoch: int, question: LogQuestion | None = None, index: LogIndex | None = None
) -> LogCard:
    """Return the log of an Attempt for a page; why there is none where it is not there. Raises StorageUnavailable.

    ``index`` is that of the log, if it was read already.
    """
    build, logs, asked = detail.build, parts.logs, question or LogQuestion()
    try:
        extent = await logs.state(build.id, epoch)
        index = await logs.index(build.id, epoch) if index is None else index
        facts = LogFacts(build, epoch, index, extent.finished, question=asked)
        if asked.query:
            found = await logs.search(build.id, epoch, asked.query.encode(), fold=not asked.case)
            facts = evolve(facts, found=found)
        lines = await logs.lines(build.id, epoch, first_line(facts), LINES)
    except NotFound:
        return absent_card(build, epoch, absent_words(detail, epoch), parts.urls)
    return log_card(facts, lines, parts.urls)


async def check_log_kept(parts: Parts, detail: BuildDetail, epoch: int) -> None:
    """Raise Expired for a log that is said to have expired, and is not there any more; StorageUnavailable."""
    if not (detail.log_gone and _has_expired(detail, epoch)):
        return
    try:
        await parts.logs.state(detail.build.id, epoch)
    except NotFound:
        raise Expired(absent_words(detail, epoch)) from None


def is_query(text: str) -> bool:
    """Return whether a text can be searched for."""
    return bool(text) and "\n" not in text and len(text.encode(errors="replace")) <= SEARCHED_LIMIT


def absent_words(detail: BuildDetail, epoch: int) -> str:
    """Return why there is no log of an Attempt."""
    build = detail.build.id
    if _has_expired(detail, epoch) and detail.log_gone:
        return f"The log of build {build}, attempt {epoch}, {detail.log_gone}."
    if _has_expired(detail, epoch):
        return f"The log of build {build}, attempt {epoch}, is not kept any more: it has expired, or was damaged."
    return f"No log of build {build}, attempt {epoch}, has arrived."


def _has_expired(detail: BuildDetail, epoch: int) -> bool:
    """Return whether an Attempt without a log must have had one: each that was begun and has ended has one at first."""
    found = [it for it in detail.attempts if it.epoch == epoch]
    return not found or (found[0].ended_at is not None and found[0].accepted_at is not None)


def _json(request: Request, told: AttrsInstance) -> bytes:
    return answer(request, written(codec.encode(told)), JSON, "no-cache")


def epoch_of(build: Build, wanted: str) -> int:
    """Return the epoch of the Attempt whose log is wanted. Raises NotFound."""
    if wanted:
        epoch = number(wanted, "attempt")
        if epoch > build.epoch:
            raise NotFound(f"build {build.id} has no attempt {epoch}")
        return epoch
    chosen = deciding_epoch(build)
    if chosen is None:
        raise NotFound(f"build {build.id} has no log: no build server has begun it")
    return chosen
