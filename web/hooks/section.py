"""What forges deliver: passed on to the metaserver, which alone knows whose word it is.

Tested by tests/web/hooks/test_section.py.
"""

from __future__ import annotations

from twisted.web.server import Request

from buildtool.errors import BuildToolError, NotFound, NotRunning, TooLong, Unavailable
from buildtool.model.access.rights import Act
from buildtool.model.hooks.signing import HEADERS, HOOK_LIMIT
from buildtool.ports.pages import Questions
from buildtool.protocol.hooks.messages import DeliverHook, HookAnswered, packed_body

from ..answers import NOT_KEPT, TEXT, answer, retry_after, status_of, words_of
from ..section import Section, page

DELIVERED_AT = (b"POST /hook/", b"POST /change_hook/")
"""How the first line of a delivery begins, of which more is taken than of other requests."""


TRIES, AGAIN = 12, 0.5
"""How often a metaserver is asked again that does not answer, and after how many seconds: forges wait for ten."""

_HEADER, _PROJECT = 300, 80
"""Most bytes of a header, and of the name of a project."""


class HooksSection(Section):
    """The addresses at which forges deliver."""

    @page(Act.PING, "/hook/<project>", method="POST")
    async def deliver(self, request: Request, project: str) -> bytes:
        """Take a delivery to a project."""
        return await self._passed_on(request, project)

    @page(Act.PING, "/change_hook/github", method="POST")
    async def deliver_to_any(self, request: Request) -> bytes:
        """Take a delivery to the project whose secret it is signed by, of several the one with its repository."""
        return await self._passed_on(request, "")

    async def _passed_on(self, request: Request, project: str) -> bytes:
        asked = self.parts.upstream.questions
        if asked is None:
            raise Unavailable("these pages take no deliveries")
        if len(project.encode()) > _PROJECT or "\0" in project:
            raise NotFound("no project has such a name")
        try:
            body = request.content.read() if request.content is not None else b""
            size = len(body)
        except TooLong:
            body, size = b"", HOOK_LIMIT + 1
        headers = {name: value for name in HEADERS if (value := _said(request, name))}
        message = DeliverHook(project, headers, packed_body(body), size, request.isSecure())
        try:
            told = await self._told(asked, message)
        except BuildToolError as error:
            for header, value in retry_after(error).items():
                request.setHeader(header, value)
            told = HookAnswered(status_of(error), words_of(error))
        request.setResponseCode(told.status)
        return answer(request, f"{told.words}\n".encode(), TEXT, NOT_KEPT)

    async def _told(self, asked: Questions, message: DeliverHook) -> HookAnswered:
        """Return the metaserver's answer, for which a start of it is waited: what it has taken it takes once."""
        for _ in range(TRIES):
            try:
                return await asked.tell(message, HookAnswered)
            except (Unavailable, NotRunning):
                await self.parts.tools.later(AGAIN)
        return await asked.tell(message, HookAnswered)


def _said(request: Request, name: str) -> str:
    """Return the value of a header; one that stands there twice was made up, and is none of the two."""
    values = request.requestHeaders.getRawHeaders(name.encode(), [])
    return b", ".join(values)[:_HEADER].decode("utf-8", "replace")
