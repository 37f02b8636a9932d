"""What ``svn --xml`` answers, read with a parser that takes no document type: no entities, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping
from xml.parsers import expat

from attrs import frozen

from buildtool.errors import MachineFault

DEPTH_LIMIT = 16
"""How deep elements may lie in one another; svn's own answers need five."""

COUNT_LIMIT = 100_000
"""How many elements one answer may have."""


@frozen
class Element:
    """An element: the names from the root down to it, joined by ``/``, and its attributes."""

    path: str
    attributes: Mapping[str, str]


def elements(data: bytes) -> list[Element]:
    """Return all elements in the order in which they begin. Raises MachineFault for what svn would never say."""
    found: list[Element] = []
    open_: list[str] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        open_.append(name)
        if len(open_) > DEPTH_LIMIT or len(found) >= COUNT_LIMIT:
            raise MachineFault("svn answered with more than can be read")
        found.append(Element("/".join(open_), attributes))

    def end(_name: str) -> None:
        open_.pop()

    def declared(*_said: object) -> None:
        raise MachineFault("svn answered with a document type, which it never does by itself")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = declared
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise MachineFault(f"svn answered with something that is not XML: {error}") from error
    return found


def revisions(data: bytes) -> list[int]:
    """Return the revisions that a ``svn log --xml`` lists, in its order. Raises MachineFault."""
    return [_number(one.attributes.get("revision", "")) for one in elements(data) if one.path == "log/logentry"]


def unclean(data: bytes) -> list[str]:
    """Return the paths that a ``svn status --xml`` lists. Raises MachineFault."""
    return [one.attributes.get("path", "?") for one in elements(data) if one.path.endswith("/entry")]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):  # noqa: PLR2004 - digits of the largest revision
        raise MachineFault(f"svn answered with the revision {text[:40]!r}")
    return int(text)
