"""Small steps between a request and its answer: reading a query, setting headers."""

from __future__ import annotations

import re

from twisted.web.server import Request

from buildtool.errors import NotFound

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

_NUMBER = re.compile(r"[1-9][0-9]{0,17}\Z")


def asked(request: Request, name: str) -> str:
    """Return a query's value, the last of several, "" for none. Raises NotFound for what is no text."""
    values: list[bytes] = (request.args or {}).get(name.encode(), [b""])
    try:
        return values[-1].decode()
    except UnicodeDecodeError as error:
        raise NotFound(f"{name} is no text") from error


def number(text: str, what: str) -> int:
    """Return the number of a build or attempt, written the one way we write it. Raises NotFound."""
    if not _NUMBER.match(text):
        raise NotFound(f"there is no {what} of this number")
    return int(text)


def headers(request: Request, content_type: str, length: int, caching: str) -> None:
    """Set the headers of what follows: its type, its length in bytes, and how long it may be kept."""
    request.setHeader("Content-Type", content_type)
    request.setHeader("Content-Length", str(length))
    request.setHeader("Cache-Control", caching)


def answer(request: Request, body: bytes, content_type: str, caching: str) -> bytes:
    """Return ``body``, announced by its headers."""
    headers(request, content_type, len(body), caching)
    return body


def plain(request: Request, text: str) -> bytes:
    """Return ``text`` as a page of its own."""
    return answer(request, text.encode(), TEXT, "no-cache")


def shown_path(request: Request) -> str:
    """Return the path that was asked for, fit for a log: bounded, and without anything that a terminal obeys."""
    path: bytes = request.path
    return ascii(path[:200].decode("utf-8", "replace"))
