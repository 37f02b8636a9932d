"""The logs of builds, as plain text."""

from __future__ import annotations

from twisted.web.server import Request

from buildtool.errors import NotFound
from buildtool.model.access.rights import Act
from buildtool.model.records import Build
from buildtool.protocol.http_headers import ByteSpan, asked_span

from ..answers import TEXT, headers, number, plain, query_value
from ..pages.build import deciding_epoch
from ..section import Section, page
from ..streaming import send_log


class LogsSection(Section):
    """The logs of builds."""

    @page(Act.SEE_LOG, "/logs/<build_id>")
    async def log(self, request: Request, build_id: str) -> bytes | None:
        """Send the log of the deciding Attempt, or of ``?attempt=``, or a range of it, as plain text."""
        build = (await self.detail(request, build_id, Act.SEE_LOG)).build
        epoch = _epoch(build, query_value(request, "attempt"))
        try:
            extent = await self.parts.logs.state(build.id, epoch)
        except NotFound:
            return plain(request, f"No log of build {build.id}, attempt {epoch}, has arrived.\n")
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


def _epoch(build: Build, wanted: str) -> int:
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
