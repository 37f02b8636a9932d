"""How an answer goes out: not at all to who has it, packed to who can unpack it, and a part of it to who wants that.

A page is packed for visitors without a cookie only: what is secret on a page of somebody who is signed in must not be
found out by how well it packs together with what others had them ask for. Streams and logs do not come through here.
"""

from __future__ import annotations

import hashlib
import zlib

from twisted.web.server import Request
from werkzeug.http import parse_accept_header

from buildtool.concurrency.bounded_cache import BoundedCache
from buildtool.errors import NotFound
from buildtool.protocol.http_headers import has_copy

LEAST = 600
"""Bytes below which packing gains nothing."""

LEVEL = 1
"""How hard pages are packed: the least costs a third of what the usual does, and gains nine tenths."""

PACKED_KEPT = 2 * 1024 * 1024
"""In how many bytes packed answers are kept by their tag: in one second many ask for the same."""

_PACKED = "-gz"
_TAG = 24
_PART_MOST = 80

_kept: BoundedCache[str, bytes] = BoundedCache(PACKED_KEPT)


def packed(body: bytes, level: int) -> bytes:
    """Return a body as gzip has it; the same at any time."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def delivered(request: Request, body: bytes, tag: str = "", ready: bytes = b"") -> bytes:
    """Return the body that goes out for ``body``, and set the headers that say so: none to who has it already.

    ``tag`` is what identifies the content, where that is known; ``ready`` is the body, packed, where it is so already.
    The headers of type and caching are set by then.
    """
    tag = tag or hashlib.sha256(body).hexdigest()[:_TAG]
    if len(body) >= LEAST:
        request.responseHeaders.addRawHeader(b"Vary", b"Accept-Encoding")
        accepted = request.getHeader(b"accept-encoding")
        if accepted and _unpacks(accepted.decode()) and (ready or request.getHeader(b"cookie") is None):
            request.setHeader(b"Content-Encoding", b"gzip")
            body = ready or _packed(tag, body)
            tag += _PACKED
    request.setHeader(b"ETag", f'"{tag}"'.encode())
    known = request.getHeader(b"if-none-match")
    if known and request.method in (b"GET", b"HEAD") and has_copy(known.decode(), tag):
        request.setResponseCode(304)
        for name in ("Content-Type", "Content-Length", "Content-Encoding"):
            request.responseHeaders.removeHeader(name)
        return b""
    request.setHeader(b"Content-Length", str(len(body)).encode())
    return body


def _packed(tag: str, body: bytes) -> bytes:
    found = _kept.get(tag)
    if found is None:
        found = packed(body, LEVEL)
        _kept.put(tag, found, len(found) + 200)
    return found


def _unpacks(accepted: str) -> bool:
    """Return whether who sends this Accept-Encoding header takes gzip."""
    return parse_accept_header(accepted).quality("gzip") > 0


def part_of(text: str, name: str) -> str:
    """Return the element of a page with this id. Raises NotFound.

    The page is of our own templates: every element ends, and whatever is from outside has no ``<`` in it.
    """
    usual = name.replace("-", "").replace("_", "").replace(".", "")
    at = text.find(f' id="{name}"') if usual.isascii() and usual.isalnum() and len(name) <= _PART_MOST else -1
    start = text.rfind("<", 0, at)
    if at < 0 or start < 0:
        raise NotFound("the page has no such part")
    kind = text[start + 1 : at].split(maxsplit=1)[0]
    depth, place = 1, at
    while depth:
        opens, ends = _next(text, f"<{kind}", place), text.find(f"</{kind}>", place)
        if ends < 0:
            raise NotFound("the page has no such part")
        if 0 <= opens < ends:
            depth, place = depth + 1, opens + 1
        else:
            depth, place = depth - 1, ends + len(kind) + 3
    return text[start:place]


def _next(text: str, begin: str, place: int) -> int:
    """Return where a tag begins next, -1 for nowhere."""
    while (place := text.find(begin, place)) >= 0:
        if text[place + len(begin)] in " >\n":
            return place
        place += 1
    return -1
