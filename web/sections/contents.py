"""The files in the artifact of a build: their list, and each of them alone."""

from __future__ import annotations

import hashlib

from twisted.web.server import Request

from buildtool.errors import NotFound
from buildtool.model.access.rights import Act
from buildtool.protocol.http_headers import has_copy

from ..access import visitor_of
from ..answers import check_names, headers, number, query_value
from ..pages.details.contents import MANY, disposition_of, files_page, type_of
from ..section import Section, artifact_for, page
from ..streaming import send_pieces

FILE_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What a file carries besides what every answer does: where it is shown all the same, it can do nothing."""


class ContentsSection(Section):
    """The files in artifacts."""

    @page(Act.SEE_ARTIFACT, "/build/<build_id>/files")
    async def files(self, request: Request, build_id: str) -> bytes:
        """Show a page of the files in the artifact of a build. Raises NotFound, Damaged."""
        check_names(request, ("skip", "part"))
        build, said, urls = number(build_id, "build"), query_value(request, "skip"), self.parts.urls
        reader, made = await artifact_for(self.parts, visitor_of(request), build)
        skip = number(said, "file") if said else 0
        found = await reader.files(made.digest, skip, MANY)
        if skip and not found.files:
            raise NotFound(f"the artifact has {found.count} files")
        shown = files_page(build, made.name, urls.artifact(made.digest, made.name), found, skip, urls)
        return self.shown(request, "files", shown, "builds")

    @page(Act.SEE_ARTIFACT, "/build/<build_id>/file")
    async def file(self, request: Request, build_id: str) -> bytes | None:
        """Send the file ``?name=`` in the artifact of a build. Raises NotFound, Damaged, UsageError."""
        check_names(request, ("name",))
        reader, made = await artifact_for(self.parts, visitor_of(request), number(build_id, "build"))
        name = query_value(request, "name")
        tag = hashlib.sha256(f"{made.digest} {name}".encode()).hexdigest()[:32]
        opened = await reader.open(made.digest, name)
        try:
            known = has_copy(request.getHeader("if-none-match"), tag)
            first = b"" if known or request.method == b"HEAD" else await opened.read()
            for header, value in FILE_HEADERS.items():  # from here on nothing is answered but the file
                request.setHeader(header, value)
            request.setHeader("Content-Disposition", disposition_of(name))
            request.setHeader("ETag", f'"{tag}"')
            if known:
                request.setResponseCode(304)
                return b""
            headers(request, type_of(name), opened.file.size, "no-cache")
            if request.method == b"HEAD":
                return None
            request.write(first)
            await send_pieces(request, opened.read)
        finally:
            opened.close()
        return None
