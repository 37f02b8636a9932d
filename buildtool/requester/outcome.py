"""How a request ends for the program that made it: exit codes, and what ``--json`` prints.

Tested by tests/requester/test_requester.py and tests/requester/test_matrix.py.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from buildtool import errors
from buildtool.model.lifecycle import RequestState
from buildtool.model.text import one_line
from buildtool.requester.text import request_id_words

if TYPE_CHECKING:
    from buildtool.protocol.messages import Explanation, FoundArtifact, RequestStatus
    from buildtool.protocol.projects.latest import LatestFound
    from buildtool.protocol.projects.watches import WatchStatus


class ExitCode(enum.IntEnum):
    """The exit codes of ``startcompile.py``; they are part of its interface and never change their meaning."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    FAILED = 3
    UNBUILDABLE = 4
    CANCELLED = 5
    EXPIRED = 6
    UNAVAILABLE = 7
    REFUSED = 8
    DOWNLOAD = 9
    WAITING = 10
    SUPERSEDED = 14
    NONE_THERE = 15
    INTERRUPTED = 130
    UNREAD = 141


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "hit or built; or accepted, and mail will come",
    ExitCode.INTERNAL: "a defect, here or in the metaserver; or the output could not be written",
    ExitCode.USAGE: "an unknown option, a wrong value, a wrong configuration",
    ExitCode.FAILED: "the project does not build as asked",
    ExitCode.UNBUILDABLE: "it broke on several machines",
    ExitCode.CANCELLED: "the request was cancelled",
    ExitCode.EXPIRED: "nobody could build it in time",
    ExitCode.UNAVAILABLE: "the metaserver cannot be reached",
    ExitCode.REFUSED: "refused by the metaserver (unknown revision, repository unreachable, ...)",
    ExitCode.DOWNLOAD: "the artifact could not be fetched, verified or written",
    ExitCode.WAITING: "still waiting when the deadline came, not failed; the request goes on",
    ExitCode.SUPERSEDED: "a request for a newer commit took its place (--supersede)",
    ExitCode.NONE_THERE: "there is no binary that would do, and none is built (--latest)",
    ExitCode.INTERRUPTED: "interrupted; the request goes on",
    ExitCode.UNREAD: "nobody read what was printed to its end, as with | head -1",
}
"""What each exit code says, for ``--help``."""

_OF_STATE = {
    RequestState.WAITING.value: ExitCode.OK,
    RequestState.SATISFIED.value: ExitCode.OK,
    RequestState.FAILED.value: ExitCode.FAILED,
    RequestState.UNBUILDABLE.value: ExitCode.UNBUILDABLE,
    RequestState.CANCELLED.value: ExitCode.CANCELLED,
    RequestState.EXPIRED.value: ExitCode.EXPIRED,
    RequestState.SUPERSEDED.value: ExitCode.SUPERSEDED,
}


@frozen
class RequestResult:
    """The result of a request. ``path`` is where the artifact lies, "" when it was not fetched; ``error`` why not.

    ``explanation`` is the answer to ``explain`` or ``why``, ``latest`` that to ``--latest``, ``watch`` that to
    ``watch``.
    """

    exit: ExitCode
    told: RequestStatus | None = None
    milliseconds: float = 0.0
    path: str = ""
    error: errors.BuildToolError | None = None
    explanation: Explanation | None = None
    latest: LatestFound | None = None
    watch: WatchStatus | None = None


SEVERITY: tuple[ExitCode, ...] = (
    ExitCode.OK,
    ExitCode.WAITING,
    ExitCode.NONE_THERE,
    ExitCode.SUPERSEDED,
    ExitCode.CANCELLED,
    ExitCode.EXPIRED,
    ExitCode.FAILED,
    ExitCode.UNBUILDABLE,
    ExitCode.DOWNLOAD,
    ExitCode.REFUSED,
    ExitCode.UNAVAILABLE,
    ExitCode.USAGE,
    ExitCode.INTERNAL,
    ExitCode.INTERRUPTED,
)
"""Exit codes, the worst last."""


def worst(results: Sequence[RequestResult]) -> ExitCode:
    """Return the worst exit code of several."""
    return max((result.exit for result in results), key=SEVERITY.index, default=ExitCode.OK)


def exit_of_state(told: RequestStatus) -> ExitCode:
    """Return the exit code for the status of a Request."""
    return _OF_STATE.get(told.state, ExitCode.INTERNAL)


def exit_of_error(error: errors.BuildToolError) -> ExitCode:
    """Return the exit code for an error that ended the asking."""
    if isinstance(error, errors.UsageError | errors.ConfigurationError):
        return ExitCode.USAGE
    if isinstance(error, errors.Unavailable):
        return ExitCode.UNAVAILABLE
    if isinstance(error, errors.OutputUnread):
        return ExitCode.UNREAD
    if isinstance(error, errors.InternalError | errors.DecodeError | errors.EncodeError | errors.OutputLost):
        return ExitCode.INTERNAL
    return ExitCode.REFUSED


def all_as_json(results: Sequence[RequestResult], code: ExitCode) -> dict[str, object]:
    """Return the one object that ``--json`` prints for several builds; ``code`` is the exit code."""
    return {"exit": int(code), "requests": [as_json(result) for result in results]}


def as_json(result: RequestResult) -> dict[str, object]:
    """Return the one object that ``--json`` prints."""
    told, error = result.told, result.error
    found: dict[str, object] = {
        "exit": int(result.exit),
        "error": None if error is None else {"code": error.code, "message": one_line(str(error))},
        "milliseconds": round(result.milliseconds, 1),
        "path": result.path or None,
    }
    if result.watch is not None:
        return found | attrs.asdict(result.watch)
    if result.explanation is not None:
        return found | {"explanation": _explanation(result.explanation)}
    if result.latest is not None:
        latest = result.latest
        return found | attrs.asdict(latest, recurse=False) | {"artifact": _artifact(latest.artifact)}
    return found if told is None else status_as_json(told) | found


def status_as_json(told: RequestStatus) -> dict[str, object]:
    """Return how a Request stands as plain data."""
    plain = attrs.asdict(told, recurse=False) | {"why": list(told.why), "artifact": _artifact(told.artifact)}
    plain["sandbox"] = told.sandbox.value
    del plain["token"]  # the second half of what cancel takes: said once
    return plain | {"cancel_id": request_id_words(told)}


def _artifact(found: FoundArtifact | None) -> dict[str, object] | None:
    if found is None:
        return None
    return attrs.asdict(found, recurse=False) | {
        "platform": {name: list(v) if isinstance(v, tuple) else v for name, v in found.platform},
        "kind": found.kind.value,
        "sandbox": found.sandbox.value,
        "need": dict(found.need),
    }


def _explanation(said: Explanation) -> dict[str, object]:
    return attrs.asdict(said, recurse=False) | {
        "artifact": _artifact(said.artifact),
        "nearest_artifact": _artifact(said.nearest_artifact),
        "differences": list(said.differences),
        "reasons": [attrs.asdict(line) | {"servers": list(line.servers)} for line in said.reasons],
    }
