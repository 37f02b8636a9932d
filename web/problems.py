"""What a visitor is told about an error: a status and one line, never the inside of the program."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from buildtool.errors import NewerDatabase, NotFound, StorageUnavailable

ALLOWED = "GET, HEAD"
"""The methods of every page."""


@frozen
class Problem:
    """A status, a title, one line of text, and headers that go with it; ``ours`` when it is a defect of the program."""

    status: int
    title: str
    text: str
    headers: Mapping[str, str] = field(factory=dict)
    ours: bool = False


def problem(error: BaseException, number: str) -> Problem:
    """Return what to say about ``error``; ``number`` finds it in the log of the pages when it is a defect."""
    match error:
        case NotFound():
            said = str(error)
            return Problem(404, "Not found", f"{said[:1].upper()}{said[1:]}.")
        case MethodNotAllowed():
            text = f"This page can be read, with {ALLOWED}; it takes nothing else."
            return Problem(405, "Method not allowed", text, {"Allow": ALLOWED})
        case HTTPException():
            return Problem(404, "Not found", "There is no page here.")
        case StorageUnavailable() | NewerDatabase():
            text = "The database cannot be read at the moment; try again soon."
            return Problem(503, "Not available", text, {"Retry-After": "5"})
    text = f"This page failed. The log of the pages has the details as error {number}."
    return Problem(500, "Something broke", text, ours=True)
