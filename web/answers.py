"""Small steps between a request and its answer: reading a query, setting headers, what is said of an error."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping

from attrs import field, frozen
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from buildtool.errors import (
    BadOffset,
    BuildToolError,
    Conflict,
    Damaged,
    DecodeError,
    EncodeError,
    Expired,
    InternalError,
    LimitReached,
    NewerDatabase,
    NotFound,
    Overloaded,
    ProtocolMismatch,
    RepositoryUnreachable,
    StillThere,
    StorageUnavailable,
    TooLong,
    Unauthorised,
    Unavailable,
    UnknownRef,
    UsageError,
)
from buildtool.model.text import quoted

from .delivery import delivered
from .monitoring.access_log import without_secrets

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

NOT_KEPT = "no-store"
"""Of an answer that is kept nowhere."""

OK = 200

ALLOWED = "GET, HEAD"
"""The methods of every page."""

_NUMBER = re.compile(r"[1-9][0-9]{0,17}\Z")


def query_value(request: Request, name: str) -> str:
    """Return a query's value, the last of several, "" for none. Raises NotFound for what is no text."""
    values: list[bytes] = (request.args or {}).get(name.encode(), [b""])
    try:
        return values[-1].decode()
    except UnicodeDecodeError as error:
        raise NotFound(f"{name} is no text") from error


def check_names(request: Request, known: Collection[str]) -> None:
    """Raise UsageError where a query has a name that is not ``known``: to leave it out silently would mislead."""
    unknown = [name for name in request.args or {} if name.decode("utf-8", "replace") not in known]
    if unknown:
        said = quoted(unknown[0].decode("utf-8", "replace"), 40)
        raise UsageError(f"{said} means nothing here: there are {', '.join(known)}")


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
    """Return ``body`` as it goes out, announced by its headers; what may be kept nowhere goes out as it is."""
    headers(request, content_type, len(body), caching)
    return body if caching == NOT_KEPT or request.code != OK else delivered(request, body)


def plain(request: Request, text: str) -> bytes:
    """Return ``text`` as a page of its own."""
    return answer(request, text.encode(), TEXT, "no-cache")


def shown_path(request: Request) -> str:
    """Return the path that was asked for, fit for a log: bounded, without secrets or what a terminal obeys."""
    path: bytes = request.path
    return ascii(without_secrets(path[:200].decode("utf-8", "replace")))


STATUSES: Mapping[type[BuildToolError], int] = {
    DecodeError: 400,
    EncodeError: 400,
    UsageError: 422,
    UnknownRef: 422,
    RepositoryUnreachable: 502,
    Unauthorised: 403,
    NotFound: 404,
    Expired: 410,
    Conflict: 409,
    StillThere: 409,
    BadOffset: 409,
    Damaged: 410,
    TooLong: 413,
    LimitReached: 429,
    Overloaded: 503,
    StorageUnavailable: 503,
    NewerDatabase: 503,
    Unavailable: 503,
    ProtocolMismatch: 503,
}
"""The status of each kind of error; of two that an error is of, the narrower one's."""

AGAIN = 5
"""Seconds after which it is worth trying again where nothing says better."""

_CANNOT = 422


def status_of(error: BuildToolError) -> int:
    """Return the status of an error."""
    return next((STATUSES[one] for one in type(error).__mro__ if one in STATUSES), _CANNOT)


def retry_after(error: BuildToolError) -> dict[str, str]:
    """Return the header that says after how many seconds to try again, where that is worth it."""
    again = max(AGAIN, math.ceil(getattr(error, "again", 0.0)))
    return {"Retry-After": str(again)} if status_of(error) in (429, 503) else {}


@frozen
class Problem:
    """A status, a title, one line of text, and headers that go with it; ``ours`` when it is a defect of the program."""

    status: int
    title: str
    text: str
    headers: Mapping[str, str] = field(factory=dict)
    ours: bool = False


def words_of(error: BuildToolError) -> str:
    """Return what visitors are told of an error: of what is ours to mend neither path nor host."""
    match error:
        case StorageUnavailable():
            return "the database cannot be used at the moment; try again soon"
        case Unavailable():
            return "the metaserver does not answer, try again later"
        case _:
            return str(error)


def problem(error: BaseException, number: str) -> Problem:
    """Return what to say about ``error``; ``number`` finds it in the log of the pages when it is a defect."""
    match error:
        case MethodNotAllowed():
            text = f"This page can be read, with {ALLOWED}; it takes nothing else."
            return Problem(405, "Method not allowed", text, {"Allow": ALLOWED})
        case HTTPException():
            return Problem(404, "Not found", "There is no page here.")
        case StorageUnavailable() | NewerDatabase():
            text = "The database cannot be read at the moment; try again soon."
            return Problem(503, "Not available", text, retry_after(error))
        case InternalError():
            pass
        case BuildToolError():
            status, said = status_of(error), str(error)
            status = 400 if status == _CANNOT else status  # on a page it is what was typed that is not understood
            return Problem(status, _TITLES[status], f"{said[:1].upper()}{said[1:]}.", retry_after(error))
    text = f"This page failed. The log of the pages has the details as error {number}."
    return Problem(500, "Something broke", text, ours=True)


_TITLES = {
    400: "Not understood", 403: "Not allowed", 404: "Not found", 409: "Not now", 410: "Gone", 429: "Too much",
    502: "Not available", 503: "Not available",
}  # fmt: skip
