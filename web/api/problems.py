"""Problems as RFC 9457 has them: each error has its status, the code that the command line uses, and its one line."""

from __future__ import annotations

import json
from collections.abc import Mapping

from attrs import frozen
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from buildtool import errors

from ..answers import retry_after, status_of
from ..sessions import OtherSite

CONTENT_TYPE = "application/problem+json"


class NotAcceptable(errors.BuildToolError):
    """A request whose body is of a type that the API does not take."""

    code = "content-type"
    status, title = 415, "Unsupported media type"

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that go with it: none."""
        return {}


class NoSuchRange(errors.BuildToolError):
    """A range of bytes of which there is none among the ``length`` that there are."""

    code = "range"
    status, title = 416, "Range not satisfiable"

    def __init__(self, message: str = "", length: int = 0) -> None:
        """``length`` is in bytes."""
        super().__init__(message)
        self.length = length

    @property
    def headers(self) -> Mapping[str, str]:
        """The header that says how much there is."""
        return {"Content-Range": f"bytes */{self.length}"}


@frozen
class ApiProblem:
    """A problem: its status, what kind it is, and in one line what is wrong and what would be right."""

    status: int
    code: str
    title: str
    detail: str
    headers: Mapping[str, str]
    ours: bool = False

    def body(self, base: str) -> bytes:
        """Return the problem as JSON; ``base`` is the URL of the page that explains each code."""
        said = {"type": f"{base}#{self.code}", "title": self.title, "status": self.status, "code": self.code}
        return json.dumps({**said, "detail": self.detail}).encode() + b"\n"


def problem_of(error: BaseException, reference: str, *, known: bool) -> ApiProblem:
    """Return the problem that an error is; ``reference`` finds it in the log where it is a defect.

    ``known`` says that who asks has shown who they are: else what they may not they are to sign in for.
    """
    detail = " ".join(str(error).split())
    match error:
        case NotAcceptable() | NoSuchRange():
            return ApiProblem(error.status, error.code, error.title, detail, error.headers)
        case errors.InternalError():
            return _defect(reference)
        case errors.BuildToolError():
            status, headers = status_of(error), retry_after(error)
            if status == 403 and not known and not isinstance(error, OtherSite):  # noqa: PLR2004 - what they may not
                status, headers["WWW-Authenticate"] = 401, 'Bearer realm="build farm"'
            if isinstance(error, errors.BadOffset):
                headers["Log-Length"] = str(error.length)
            return ApiProblem(status, error.code, _TITLES[status], detail or error.code, headers)
        case MethodNotAllowed():
            allowed = ", ".join(sorted({*(error.valid_methods or ()), "HEAD"} & {"GET", "HEAD", "POST"}))
            if "GET" not in allowed:
                allowed = "POST"
            return ApiProblem(405, "method", "Method not allowed", f"this takes {allowed}", {"Allow": allowed})
        case HTTPException():
            return ApiProblem(404, "not-found", "Not found", "there is no such route in this version of the API", {})
    return _defect(reference)


def _defect(reference: str) -> ApiProblem:
    words = f"this failed; the log of the pages has the details as error {reference}"
    return ApiProblem(500, "internal", "Something broke", words, {}, ours=True)


_TITLES = {
    400: "Bad request", 401: "Sign in", 403: "Not allowed", 404: "Not found", 409: "Conflict", 410: "Gone",
    413: "Too long", 422: "Cannot be done", 429: "Too much", 502: "The origin does not answer", 503: "Not available",
}  # fmt: skip
