"""What pages pass on of a delivery, and how the metaserver has it answered; the same rules as for ``messages``."""

from __future__ import annotations

import base64
import binascii
import zlib

from attrs import field, frozen

from buildtool.errors import DecodeError
from buildtool.model.hooks.signing import HOOK_LIMIT

__all__ = ["DeliverHook", "HookAnswered", "packed_body", "unpacked_body"]

PACKED = 560_000
"""Most bytes of a body as it is passed on; texts of forges shrink to a fifth."""

_FAST = 1


@frozen
class DeliverHook:
    """A delivery of a forge to a project, or, with an empty ``project``, to the one that its repository says.

    ``headers`` are those that count, by names in small letters. ``body`` is packed, and empty where ``size``, the bytes
    that came or one more than are taken, are too many. ``by_tls`` says whether it came by TLS, as far as the farm's own
    proxies say.
    """

    project: str = field(metadata={"most": 80})
    headers: dict[str, str] = field(metadata={"most": 1_000, "members": 30}, repr=False)
    body: str = field(metadata={"most": PACKED}, repr=False)
    size: int
    by_tls: bool


@frozen
class HookAnswered:
    """The answer to a delivery: the HTTP status, and a line for its sender."""

    status: int
    words: str = field(metadata={"most": 1_000, "sent": 1_000, "kept": "start"})


def packed_body(body: bytes) -> str:
    """Return a body as it is passed on, "" for one that is too large for that."""
    if len(body) > HOOK_LIMIT:
        return ""
    text = base64.b64encode(zlib.compress(body, _FAST)).decode()
    return text if len(text) <= PACKED else ""


def unpacked_body(text: str) -> bytes:
    """Return the body that was packed. Raises DecodeError."""
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(base64.b64decode(text, validate=True), HOOK_LIMIT + 1)
    except (binascii.Error, zlib.error, ValueError):
        raise DecodeError("a body that is not packed") from None
    if len(found) > HOOK_LIMIT or not reader.eof:
        raise DecodeError("a body that is not packed, or too large")
    return found
