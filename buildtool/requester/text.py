"""What a requester reads: lines made of messages, without a clock or a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from buildtool.model.options import shown
from buildtool.model.records import BuildState, RequestState
from buildtool.model.text import one_line
from buildtool.protocol.messages import Found, RequestStatus

__all__ = ["answered", "clean", "ended", "how_to_go_on", "moved", "request_id_words", "waits", "where_to_look"]

clean = one_line
"""Makes one harmless line of a text that came over the wire."""


def request_id_words(told: RequestStatus) -> str:
    """Return what ``--cancel`` takes: the Request's number and the token that proves that it is one's own."""
    return f"{told.request_id}-{clean(told.token)}"


def waits(told: RequestStatus) -> bool:
    """Return whether the Request has not ended."""
    return told.state == RequestState.WAITING.value


def answered(told: RequestStatus, milliseconds: float) -> list[str]:
    """Return what was answered to a submission."""
    if told.answer == "hit" and told.artifact is not None:
        return [f"hit: found in {milliseconds:.0f} ms", *_artifact(told.artifact)]
    if told.answer == "known-failure":
        return [
            f"failed before, in build {told.build_id}: {clean(told.reason)}",
            "nothing was built again; --force does",
        ]
    if not waits(told):
        return []  # an old answer, given again: its end is told
    build = f"build {told.build_id}"
    if told.answer == "joined":
        return [f"joined {build} ({_place(told)})", *_why(told)]
    if told.answer == "queued" or told.build_state == BuildState.QUEUED.value:
        return [f"queued as {build}: no build server can take it now", *_why(told)]
    return [f"dispatched as {build}, {_place(told)}"]


def _place(told: RequestStatus) -> str:
    if told.build_state == BuildState.QUEUED.value:
        return "queued"
    return f"building on {clean(told.server)}" if told.server else clean(told.build_state) or "waiting"


def _why(told: RequestStatus) -> list[str]:
    return [f"  {clean(line)}" for line in told.why]


def _artifact(found: Found) -> list[str]:
    when = datetime.fromtimestamp(found.built_at, UTC) if 0 <= found.built_at < 2**33 else None
    built = f"{when:%Y-%m-%d %H:%M} UTC" if when else "some time ago"
    return [
        f"artifact: {clean(found.name)}, {found.size} bytes, revision {clean(found.revision)[:12]}",
        f"  built {built} by {clean(found.server)} ({found.kind.value}) for {clean(shown(found.platform))}",
        f"  SHA-256 {clean(found.digest)}",
    ]


def how_to_go_on(told: RequestStatus, email: str, program: str) -> list[str]:
    """Return what somebody who stops waiting needs: that mail will come, where to look, how to cancel."""
    return [f"mail will go to {email}", *where_to_look(told, program)]


def where_to_look(told: RequestStatus, program: str) -> list[str]:
    """Return where a Request that waits can be looked at, and the command that cancels it."""
    page = [f"page: {clean(told.page_url)}"] if told.page_url else []
    return [*page, f"cancel with: {program} --cancel {request_id_words(told)}"]


def moved(before: RequestStatus, now: RequestStatus) -> list[str]:
    """Return what has changed for a Request that still waits."""
    if (now.build_id, now.build_state, now.epoch, now.server) == (
        before.build_id, before.build_state, before.epoch, before.server,
    ):  # fmt: skip
        return []
    if now.build_state == BuildState.QUEUED.value:
        again = " again" if now.epoch else ""
        return [f"build {now.build_id} is queued{again}", *_why(now)]
    attempt = f", attempt {now.epoch}" if now.epoch > 1 else ""
    return [f"build {now.build_id}: {_place(now)}{attempt}"]


def ended(told: RequestStatus) -> list[str]:
    """Return how a Request ended; for a success what came of it."""
    reason = f": {clean(told.reason)}" if told.reason else ""
    build = f"build {told.build_id}" if told.build_id is not None else "the request"
    match told.state:
        case RequestState.SATISFIED.value:
            head = f"{build} succeeded"
            return [head, *(_artifact(told.artifact) if told.artifact is not None else ())]
        case RequestState.FAILED.value:
            return [f"{build} failed{reason}", *_log(told)]
        case RequestState.UNBUILDABLE.value:
            return [f"{build} cannot be built, it broke on several machines{reason}", *_log(told)]
        case RequestState.CANCELLED.value:
            return [f"request {told.request_id} is cancelled"]
        case RequestState.EXPIRED.value:
            return [f"request {told.request_id} has expired before it could be built{reason}"]
        case _:
            return [f"request {told.request_id}: {clean(told.state)}{reason}"]


def _log(told: RequestStatus) -> list[str]:
    return [f"log: {clean(told.log_url)}"] if told.log_url else []
