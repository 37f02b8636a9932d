"""Which part of a Build's sources a build server asks the metaserver for, and how an address tells it.

``/sources/<build>/<epoch>`` is the Build's commit; what follows that names another part. A metaserver that does not
know these addresses yet answers that there is nothing.

Tested by tests/adapters/http/test_downloads.py.
"""

from __future__ import annotations

from enum import Enum
from urllib.parse import parse_qsl, quote

from attrs import frozen

from buildtool.errors import DecodeError

DEPTH_LIMIT = 20
"""How deep submodules may lie in one another."""

PATH_LIMIT = 4_096
"""Bytes of one path."""


class SourceKind(Enum):
    """A kind of part: a commit with its history, or the tags that reach it now."""

    COMMIT = "commit"
    TAGS = "tags"


@frozen
class SourcePart:
    """A part of a Build's sources: of its commit or, ``inside`` that, of the submodule at these paths in one another.

    Paths are as ``os.fsdecode`` makes them.
    """

    kind: SourceKind = SourceKind.COMMIT
    inside: tuple[str, ...] = ()

    def address(self) -> str:
        """Return what is added to the address of the Build's commit."""
        if self == WHOLE:
            return ""
        asked = "&".join(f"inside={quote(one, safe='/', errors='surrogateescape')}" for one in self.inside)
        return f"/{self.kind.value}" + (f"?{asked}" if asked else "")


WHOLE = SourcePart()
"""The Build's own commit."""


def read_part(kind: str, query: str) -> SourcePart:
    """Return the part that an address names, by what its path ends with ("" for the commit) and its query.

    Raises DecodeError.
    """
    try:
        said = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="surrogateescape",
            max_num_fields=DEPTH_LIMIT,
        )  # fmt: skip
    except ValueError as error:
        raise DecodeError(f"sources take ?inside=<path of a submodule>, at most {DEPTH_LIMIT} times") from error
    for name, value in said:
        size = len(value.encode("utf-8", "surrogateescape"))
        if name != "inside" or not 0 < size <= PATH_LIMIT or "\0" in value:
            raise DecodeError(f"sources take ?inside=<path of a submodule>, each of at most {PATH_LIMIT} bytes")
    return SourcePart(SourceKind(kind or "commit"), tuple(value for _, value in said))
