"""What the headers of an HTTP request ask for, by the rules of RFC 9110: which bytes, and only if they are others.

Werkzeug reads the headers; here they are applied to what there is.
"""

from __future__ import annotations

import base64

from attrs import frozen
from werkzeug.http import parse_etags, parse_range_header

NOT_KEPT = "Not-Kept"
"""A header that tells what has expired from what is damaged: both are gone (status 410)."""


@frozen
class ByteSpan:
    """The bytes from ``start`` up to, not including, ``end`` of ``length``; ``partial`` when a part was asked for."""

    start: int
    end: int
    length: int
    partial: bool = True

    @property
    def content_range(self) -> str:
        """The value of the header Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{self.length}"


def asked_span(header: str | None, length: int) -> ByteSpan | None:
    """Return which of ``length`` bytes a Range header asks for, None when there are no such bytes (status 416).

    A header that is absent, malformed, or asks for several ranges asks for everything, as the RFC allows.
    """
    asked = parse_range_header(header)
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return ByteSpan(0, length, length, partial=False)
    start, end = asked.ranges[0]
    # Not by Range.range_for_length: to that the last 99 of 10 bytes are none, to the RFC they are all.
    span = ByteSpan(
        start if start >= 0 else max(0, length + start), length if end is None else min(end, length), length
    )
    return span if span.start < span.end else None


def has_copy(if_none_match: str | None, digest: str) -> bool:
    """Return whether an If-None-Match header names ``digest``: the client has that copy already."""
    return parse_etags(if_none_match).contains_weak(digest)


def digest_header(digest: str) -> str:
    """Return the value of the header Repr-Digest (RFC 9530) for a SHA-256 in hex digits."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def is_unchanged(if_range: str | None, digest: str) -> bool:
    """Return whether a range of ``digest`` continues what the sender of this If-Range has. Weak tags never match."""
    return if_range is None or parse_etags(if_range).is_strong(digest)
