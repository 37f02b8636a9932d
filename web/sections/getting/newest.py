"""Addresses that stay: each leads to the newest binary of a branch that there is, for a script or a Dockerfile."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.web.server import Request
from werkzeug.http import quote_etag

from buildtool.errors import BuildToolError, NotFound, Unavailable, UnknownProject, UnknownRef
from buildtool.model.access.rights import Act
from buildtool.model.names import is_digest
from buildtool.model.properties import nearest
from buildtool.protocol import codec
from buildtool.protocol.api.routes import PREFIX
from buildtool.protocol.http_headers import has_copy
from buildtool.protocol.json_text import written
from buildtool.protocol.messages import FoundArtifact
from buildtool.protocol.projects.latest import LatestFound

from ...access import shown_by
from ...answers import TEXT, answer, retry_after, status_of, words_of
from ...pages.asking.stable import nothing_words, question
from ...section import Section, page

JSON = "application/json"

_FOUND, _UNCHANGED, _WRONG, _NOWHERE, _CANNOT = 302, 304, 400, 404, 422


class GetSection(Section):
    """The addresses that stay."""

    @page(Act.SEE_ARTIFACT, "/get/<project>/<path:branch>/<platform>")
    async def newest(self, request: Request, project: str, branch: str, platform: str) -> bytes:
        """Send a visitor to the newest artifact of a branch, or tell of it. Raises BuildToolError to browsers only."""
        request.setHeader("Vary", "Accept")
        try:
            return self._led(request, *await self._found(request, project, branch, platform))
        except CancelledError:
            raise  # the visitor left
        except BuildToolError as error:
            return _refused(request, error)

    async def _found(
        self, request: Request, project: str, branch: str, platform: str
    ) -> tuple[LatestFound, FoundArtifact]:
        questions, known = self.parts.upstream.questions, await self.parts.projects.read(shown_by(request))
        if questions is None:
            raise Unavailable("no metaserver is asked by these pages")
        options = known.options.get(project)
        if options is None:
            raise NotFound(f"there is no project {project!r:.60}{nearest(project[:60], list(known.options))}")
        asked = question(project, options, branch, platform, _pairs(request))
        found = await questions.act(shown_by(request), asked, LatestFound)
        if found.artifact is None or not is_digest(found.artifact.digest):
            raise NotFound(nothing_words(found, platform))
        return found, found.artifact

    def _led(self, request: Request, found: LatestFound, made: FoundArtifact) -> bytes:
        """Return nothing, and lead to an artifact; who shows a token is led to where it is sent along."""
        for name, value in (
            ("X-Artifact-SHA256", made.digest),
            ("X-Revision", made.revision),
            ("X-Behind", f"{found.behind}"),
            ("X-Build", f"{made.build_id}"),
            ("Cache-Control", "no-cache"),
        ):
            request.setHeader(name, value)
        if JSON in (request.getHeader("accept") or ""):
            return answer(request, written(codec.encode(found)), JSON, "no-cache")
        request.setHeader("ETag", quote_etag(made.digest))
        if has_copy(request.getHeader("if-none-match"), made.digest):
            request.setResponseCode(_UNCHANGED)
            return b""
        here = shown_by(request).secret and self.parts.tools.artifacts is not None
        request.setResponseCode(_FOUND)
        request.setHeader("Location", self.parts.urls.path(f"{PREFIX}/artifacts/{made.digest}") if here else made.url)
        request.setHeader("Content-Length", "0")
        return b""


def _refused(request: Request, error: BuildToolError) -> bytes:
    """Answer in one line what is wrong; a browser is shown a page. Raises BuildToolError for that."""
    nowhere = isinstance(error, UnknownRef | UnknownProject)
    if "text/html" in (request.getHeader("accept") or ""):
        raise NotFound(str(error)) if nowhere else error
    status = status_of(error)
    request.setResponseCode(_NOWHERE if nowhere else _WRONG if status == _CANNOT else status)
    for name, value in retry_after(error).items():
        request.setHeader(name, value)
    return answer(request, f"{words_of(error)}\n".encode(), TEXT, "no-store")


def _pairs(request: Request) -> list[tuple[str, str]]:
    """Return what stands in the query by name. Raises NotFound for what is no text."""
    try:
        return [(name.decode(), text.decode()) for name, texts in (request.args or {}).items() for text in texts]
    except UnicodeDecodeError as error:
        raise NotFound("the address is no text") from error
