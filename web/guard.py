"""The root of the site: what every answer carries, and what never reaches the routes."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from buildtool.errors import ProtocolMismatch, Unauthorised, Unavailable

from .access import Access, remember_visitor, shown_by
from .sessions import SESSION_PREFIX, CookieJar, SessionReader, check_origin, secret_of

SECURITY_HEADERS = {
    "Server": "buildtool",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with "no-referrer" browsers send forms of ours with the origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""On every answer, errors included."""

_IN_QUERY = "%=&+/:;,?@!$'()*~"
"""What stands in a query as it is, besides letters and digits."""


HSTS = "max-age=31536000"
"""For how many seconds browsers come by HTTPS only, where the pages are reached so."""

_SAFE = (b"GET", b"HEAD")


@frozen
class Gatekeeper:
    """The check before every route: who sends a request, and that no page of another site has it sent.

    ``access`` says who a visitor is by their connection, ``sessions`` who by a token or session; ``refused`` answers
    what no route sees.
    """

    access: Access
    jar: CookieJar
    sessions: SessionReader
    refused: Callable[[Request, BaseException], bytes]

    def secret(self, request: Request) -> str:
        """Return the secret that a request shows, "" for none. Raises Unauthorised where it is not to be answered."""
        remember_visitor(request, self.access.visitor(request))
        if request.method not in _SAFE:
            check_origin(request, self.jar.urls)
        return secret_of(request, self.jar)

    async def known(self, request: Request, secret: str) -> None:
        """Find out who shows a secret. A session that holds no more is none; raises Unauthorised for such a token.

        Raises Unavailable where only the metaserver knows, and does not answer.
        """
        before = shown_by(request).by
        session = secret.startswith(SESSION_PREFIX)
        try:
            remember_visitor(request, await self.sessions.read(before, secret), secret)
        except Unauthorised:
            if not session:
                raise
            self.jar.set(request, "session", "", 0)
        except (Unavailable, ProtocolMismatch):
            if not session or request.method not in _SAFE:
                raise


class RootResource(Resource):
    """The root resource: puts the security headers on every answer, and makes every request one that routes can read.

    ``gate`` finds out who sends it, by all that was sent. The Host header plays no part in any answer, so none
    reaches the routes, which refuse odd ones in ways of their own. A path that is no text is a path where nothing is, a
    header that is none is not there; one wrong method is like another.
    """

    isLeaf = True

    def __init__(self, routes: IResource, gate: Gatekeeper, page_at: Callable[[str], str]) -> None:
        """``page_at`` returns where the page of a path is, "" where there is none."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._routes = routes
        self._gate = gate
        self._page_at = page_at

    def render(self, request: Request) -> bytes | int:
        """Return what the routes say, once it is known who asks."""
        for name, value in SECURITY_HEADERS.items():
            request.setHeader(name, value)
        if self._gate.jar.https:
            request.setHeader("Strict-Transport-Security", HSTS)
        try:
            secret = self._gate.secret(request)  # before anything that was sent is left out
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            said = self._gate.refused(request, error)
            return said if request.method != b"HEAD" else b""
        if not secret:
            return self._routed(request)
        Deferred.fromCoroutine(self._known(request, secret))
        return NOT_DONE_YET

    async def _known(self, request: Request, secret: str) -> None:
        left = list[object]()
        request.notifyFinish().addBoth(left.append)
        try:
            await self._gate.known(request, secret)
            said = self._routed(request) if not left else NOT_DONE_YET
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            said = self._gate.refused(request, error)
        if isinstance(said, bytes) and not left:
            request.write(said if request.method != b"HEAD" else b"")
            request.finish()

    def _routed(self, request: Request) -> bytes | int:
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
