"""Forms on pages: what they carry, how they are read, and the line that is said on the page after an act.

Tested by tests/web/sections/test_acts.py.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from attrs import frozen
from twisted.web.server import Request

from buildtool.errors import DecodeError
from buildtool.model.text import one_line
from buildtool.ports.pages import ShownVisitor

from .sessions import CookieJar, form_mark
from .urls import Urls

FIELDS = 60
"""Most fields of a form."""

SAID_LENGTH = 400
"""Most characters of the line that is said after an act."""

SAID_FOR = 60
"""Seconds for which that line waits for its page."""

BROWSER_FOR = 86_400
"""Seconds for which a browser is known that is not signed in."""

_FORM = "application/x-www-form-urlencoded"


@frozen
class Forms:
    """The forms of a page for who looks at it: ``who`` that is, and the mark that shows that a form is of theirs.

    ``once`` is another one for what is done anew. ``back`` is the page itself; ``may`` returns whether an act's route
    is open to them, so that its button is shown.
    """

    who: str
    mark: str
    once: str
    back: str
    may: Callable[[str], bool]


def browser_mark(request: Request, jar: CookieJar, shown: ShownVisitor, new_secret: Callable[[], str]) -> str:
    """Return the mark for the forms of a page; who is not signed in is known by a cookie, which is set for that."""
    secret = shown.secret or jar.value(request, "browser")
    if not secret:
        secret = new_secret()
        jar.set(request, "browser", secret, BROWSER_FOR)
    return form_mark(secret)


def read_form(request: Request) -> Mapping[str, str]:
    """Return the fields of a form; what stands in the address is none of them. Raises DecodeError."""
    pairs = read_pairs(request, FIELDS)
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DecodeError("the form has a field twice, or a NUL in one")
    return fields


def read_pairs(request: Request, most: int) -> list[tuple[str, str]]:
    """Return the fields of a form in their order, of which some may be said several times. Raises DecodeError."""
    kind = (request.getHeader("content-type") or "").partition(";")[0].strip().lower()
    body = request.content.read() if request.content is not None else b""
    if body and kind != _FORM:
        raise DecodeError("a form is what is sent here")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=most, errors="strict")
    except ValueError:
        raise DecodeError("the form cannot be read") from None
    if any("\0" in value for _, value in pairs):
        raise DecodeError("the form has a field twice, or a NUL in one")
    return pairs


def client_id(secret: str, what: str, once: str) -> str:
    """Return the id of what a form asks for: the same form sent twice asks once."""
    return hashlib.sha256(f"{secret}.{what}.{once}".encode()).hexdigest()[:32]


def say_next(request: Request, jar: CookieJar, words: str) -> None:
    """Send a line for the browser to keep, which the next page says once."""
    text = base64.urlsafe_b64encode(one_line(words, SAID_LENGTH).encode()).decode().rstrip("=")
    jar.set(request, "said", text, SAID_FOR)


def said_before(request: Request, jar: CookieJar) -> str:
    """Return the line that is to be said on this page, "" for none; the browser forgets it."""
    text = jar.value(request, "said", 4 * SAID_LENGTH)
    if not text:
        return ""
    jar.set(request, "said", "", 0)
    try:
        return one_line(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode(), SAID_LENGTH)
    except (binascii.Error, ValueError):
        return ""


def see_other(request: Request, place: str) -> bytes:
    """Return nothing, and lead to the page to go on with: ``place`` is a path of these pages."""
    request.setResponseCode(303)
    request.setHeader("Location", place)
    request.setHeader("Cache-Control", "no-store")
    return b""


def back_of(request: Request, urls: Urls) -> str:
    """Return the path of a page with its query, as forms on it lead back to it."""
    path, mark, query = request.uri.partition(b"?")
    text = (path + mark + query)[:1_000].decode("ascii", "replace")
    return f"{urls.prefix}{text}"
