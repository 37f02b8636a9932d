"""Static files of the package: read once, served under names that carry their digest, so that caches keep them."""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from attrs import frozen

from .delivery import packed

_TYPES: Mapping[str, str] = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "ask.js": "text/javascript; charset=utf-8",
    "log.css": "text/css; charset=utf-8",
    "log.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
}


@frozen
class Asset:
    """One static file: the name under which it is served, its content type, its bytes, and the same packed."""

    served: str
    content_type: str
    body: bytes
    digest: str
    packed: bytes


@cache
def load_assets() -> Mapping[str, Asset]:
    """Return every static file by its name in ``static/``, read and packed once.

    Raises FileNotFoundError when the package lacks one.
    """
    return {name: _load(name, content_type) for name, content_type in _TYPES.items()}


def load_text(name: str) -> bytes:
    """Return a file of the package. Raises FileNotFoundError when it lacks it."""
    body = pkgutil.get_data(__package__, name)
    if body is None:
        raise FileNotFoundError(f"{__package__} has no {name}: install buildtool again")
    return body


def _load(name: str, content_type: str) -> Asset:
    body = load_text(f"static/{name}")
    stem, _, suffix = name.rpartition(".")
    digest = hashlib.sha256(body).hexdigest()[:12]
    return Asset(f"{stem}.{digest}.{suffix}", content_type, body, digest, packed(body, 9))
