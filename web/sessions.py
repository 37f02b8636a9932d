"""Who sends a request by a token or a session, and what keeps others from having a browser ask in their name.

A session is a cookie that only this site is sent, and no script can read. What changes something is asked for by this
site's own pages (``Origin``, ``Sec-Fetch-Site``), and, where a cookie says who asks, with a text that only pages of
that session have. Only the metaserver knows which secrets hold; what it said is believed for some seconds.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from attrs import define, evolve, field, frozen
from twisted.web.server import Request

from buildtool.concurrency.bounded_cache import BoundedCache
from buildtool.errors import Unauthorised
from buildtool.model.access.identities import token_digest
from buildtool.model.principal import Principal, PrincipalRole, Scope
from buildtool.ports.common import Clock
from buildtool.ports.pages import Questions
from buildtool.protocol.pages.visiting import AskVisitor, VisitorStatus

from .access import shown_by
from .urls import Urls

TOKEN_PREFIX, SESSION_PREFIX = "bt_", "bs_"

REMEMBERED = 256 * 1024
"""In how many bytes it is remembered who shows which secret."""

_WEIGHT = 600
_SECRET = 200

_ROLES = {role.value: role for role in PrincipalRole}


class OtherSite(Unauthorised):
    """A page of another site has a browser ask for something to be changed."""

    code = "other-site"


@frozen
class CookieJar:
    """The cookies of the pages below ``urls``: their names, and how they are set."""

    urls: Urls

    @property
    def https(self) -> bool:
        """Whether the pages are reached by HTTPS only."""
        return self.urls.public.lower().startswith("https:")

    def named(self, name: str) -> str:
        """Return the whole name of a cookie: browsers hold its prefix to what it promises."""
        if not self.https:
            return name
        return f"__Secure-{name}" if self.urls.prefix else f"__Host-{name}"

    def value(self, request: Request, name: str, most: int = _SECRET) -> str:
        """Return the value that was sent, at most so many characters of it, "" for none or for more than one."""
        wanted, found = self.named(name).encode(), list[bytes]()
        for header in request.requestHeaders.getRawHeaders(b"cookie", []):
            for part in header.split(b";"):
                key, _, value = part.strip().partition(b"=")
                if key == wanted:
                    found.append(value.strip(b'"'))
        return found[0].decode("ascii", "replace")[:most] if len(found) == 1 else ""

    def set(self, request: Request, name: str, value: str, seconds: int) -> None:
        """Send a value for the browser to keep for so many seconds, 0 to forget it."""
        secure = "; Secure" if self.https else ""
        text = f"{self.named(name)}={value}; Path={self.urls.prefix or '/'}; Max-Age={seconds}; HttpOnly; SameSite=Lax"
        request.responseHeaders.addRawHeader(b"set-cookie", f"{text}{secure}".encode())


def secret_of(request: Request, jar: CookieJar) -> str:
    """Return the token or session that a request shows, "" for none. Raises Unauthorised for two, or another scheme."""
    headers = request.requestHeaders.getRawHeaders(b"authorization", [])
    if not headers:
        session = jar.value(request, "session")
        return session if session.startswith(SESSION_PREFIX) else ""
    scheme, _, text = headers[0].decode("ascii", "replace").partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer":
        raise Unauthorised("who asks is shown by one header, Authorization: Bearer TOKEN")
    if not text.strip().startswith(TOKEN_PREFIX) or len(text) > _SECRET:
        raise Unauthorised("this token is none that holds here: it has expired, was revoked, or is of another farm")
    return text.strip()


@define(eq=False)
class SessionReader:
    """The visitors by what they show; ``questions`` asks the metaserver."""

    questions: Questions | None
    clock: Clock
    _known: BoundedCache[str, tuple[Principal, float]] = field(factory=lambda: BoundedCache(REMEMBERED), init=False)

    async def read(self, before: Principal, secret: str) -> Principal:
        """Return who shows a secret; ``before`` is who they are without. Raises Unauthorised, Unavailable."""
        digest = token_digest(secret)
        found = self._known.get(digest)
        if found is None or not found[1] - _BELIEVED <= self.clock.wall() < found[1]:
            if self.questions is None:
                raise Unauthorised("nobody signs in at these pages")
            question = AskVisitor(secret, before.address, before.trusted)
            told = await self.questions.tell(question, VisitorStatus)
            until = min(told.expires, self.clock.wall() + _BELIEVED)
            found = (_principal(told, digest), until)
            self._known.put(digest, found, _WEIGHT)
        return evolve(found[0], address=before.address)

    async def again(self, before: Principal, secret: str) -> Principal:
        """Return who shows a secret by what the metaserver says now. Raises what ``read`` does."""
        self.forget(secret)
        return await self.read(before, secret)

    def forget(self, secret: str) -> None:
        """Ask again who shows a secret, as after its end."""
        self._known.put(token_digest(secret), (Principal(PrincipalRole.STRANGER), 0.0), _WEIGHT)


_BELIEVED = 10.0


def _principal(told: VisitorStatus, digest: str) -> Principal:
    limits = Scope(told.projects, told.platforms, told.acts)
    role = _ROLES.get(told.role, PrincipalRole.STRANGER)
    return Principal(role, told.name, owner=told.owner, limits=limits, token=digest)


# --- what others may not have a browser ask for ---------------------------------------------------------------------


def check_origin(request: Request, urls: Urls) -> None:
    """Raise OtherSite where a page of another site has a browser ask for something to be changed."""
    fetched = request.getHeader("sec-fetch-site")
    if fetched == "same-origin":
        return  # which no page can make a browser say
    if fetched not in (None, "none"):
        raise OtherSite("this was asked for by a page of another site, which may not")
    origins = request.requestHeaders.getRawHeaders(b"origin", [])
    if origins:
        own = {urlsplit(urls.public).netloc.lower(), (request.getHeader("host") or "").lower()} - {""}
        if len(origins) > 1 or origins[0].decode("latin-1").lower().partition("://")[2] not in own:
            raise OtherSite("this was asked for by a page of another site, which may not")


def form_mark(secret: str) -> str:
    """Return the text that forms carry which were shown to who has a session, or the cookie of a browser."""
    return hashlib.sha256(f"form.{secret}".encode()).hexdigest()[:32]


def check_mark(request: Request, jar: CookieJar, mark: str) -> None:
    """Raise Unauthorised where what changes something comes from no page that was shown to who asks.

    A token is shown on purpose, by no browser of itself, and needs no such mark.
    """
    shown = shown_by(request).secret
    if shown.startswith(TOKEN_PREFIX):
        return
    secret = shown or jar.value(request, "browser")
    if not secret or not hmac.compare_digest(mark.encode("utf-8", "replace"), form_mark(secret).encode()):
        raise Unauthorised("this page is too old, or of another session: load it again, and ask once more")


def within_site(path: str, urls: Urls) -> str:
    """Return a path if it leads into these pages, else their front page: no answer leads elsewhere."""
    home = urls.status()
    plain = path.isascii() and path.isprintable() and not set(path) & {"\\", " "}
    if not plain or not path.startswith(home) or path.startswith("//") or "//" in path.partition("?")[0]:
        return home
    return path
