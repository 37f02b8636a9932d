"""The root of the site: what every answer carries, and what never reaches the routes."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from .access import Access, remember_visitor

SECURITY_HEADERS = {
    "Server": "buildtool",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""On every answer, errors included."""

_IN_QUERY = "%=&+/:;,?@!$'()*~"
"""What stands in a query as it is, besides letters and digits."""


class RootResource(Resource):
    """The root resource: puts the security headers on every answer, and makes every request one that routes can read.

    ``access`` finds out who sends it, by all that was sent. The Host header plays no part in any answer, so none
    reaches the routes, which refuse odd ones in ways of their own. A path that is no text is a path where nothing is, a
    header that is none is not there; one wrong method is like another.
    """

    isLeaf = True

    def __init__(self, routes: IResource, access: Access, page_at: Callable[[str], str]) -> None:
        """``page_at`` returns where the page of a path is, "" where there is none."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._routes = routes
        self._access = access
        self._page_at = page_at

    def render(self, request: Request) -> bytes | int:
        """Return what the routes say."""
        for name, value in SECURITY_HEADERS.items():
            request.setHeader(name, value)
        remember_visitor(request, self._access.visitor(request))  # before anything that was sent is left out
        for header, values in tuple(request.requestHeaders.getAllRawHeaders()):
            if not all(map(_is_text, values)):
                request.requestHeaders.removeHeader(header)
        request.requestHeaders.setRawHeaders(b"host", [b"localhost"])
        if request.method not in (b"GET", b"HEAD", b"POST"):
            request.method = b"PUT"
        if not _is_text(b"/".join(request.postpath or ())):
            request.postpath = [b"\xef\xbf\xbd"]
        if place := self._without_slash(request):
            request.setResponseCode(308)
            request.setHeader("Location", place)
            return b""
        said: bytes | int = self._routes.render(request)
        return said

    def _without_slash(self, request: Request) -> str:
        """Return where the page is that is asked for with a slash too many at its end, "" for any other request."""
        path: bytes = request.path
        if len(path) < 2 or not path.endswith(b"/") or request.method == b"PUT" or not _is_text(path):  # noqa: PLR2004 - "/"
            return ""
        place = self._page_at(path.rstrip(b"/").decode())
        query = request.uri.partition(b"?")[2]
        return place and place + (f"?{quote(query, safe=_IN_QUERY)}" if query else "")


def _is_text(said: bytes) -> bool:
    try:
        said.decode()
    except UnicodeDecodeError:
        return False
    return True
