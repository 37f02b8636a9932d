"""What a requester reads: lines made of messages, without a clock or a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from buildtool.model.lifecycle import BuildState, RequestState
from buildtool.model.options import need_words, shown
from buildtool.model.servers import OfferKind
from buildtool.model.text import about, ahead_words, duration_words, one_line

if TYPE_CHECKING:
    from buildtool.model.project_options import Followed
    from buildtool.protocol.messages import Explanation, FoundArtifact, RequestStatus, Submit
    from buildtool.protocol.pages.farm_view import WhyLine
    from buildtool.protocol.projects.watches import WatchStatus

clean = one_line
"""Makes one harmless line of a text that came over the wire."""

_HOW = {kind.value: kind.words for kind in OfferKind}


def request_id_words(told: RequestStatus) -> str:
    """Return what ``cancel`` takes: the Request's number and the token that proves that it is one's own."""
    return f"{told.request_id}-{clean(told.token)}"


def waits(told: RequestStatus) -> bool:
    """Return whether the Request has not ended."""
    return told.state == RequestState.WAITING.value


def answered(told: RequestStatus, milliseconds: float) -> list[str]:
    """Return what was answered to a submission."""
    if told.answer == "hit" and told.artifact is not None:
        return [f"hit: found in {milliseconds:.0f} ms", *artifact_lines(told.artifact)]
    if told.answer == "known-failure":
        return [
            f"failed before, in build {told.build_id}: {clean(told.reason)}",
            "nothing was built again; --force does",
        ]
    if not waits(told) or told.build_id is None:
        # An old answer, given again, whose end is told; or it waits for something else than a build.
        return [clean(told.reason)] if waits(told) else []
    build = f"build {told.build_id}"
    if told.answer == "joined":
        return [f"joined {build} ({_place(told)})", *_why(told)]
    if told.answer == "queued" or told.build_state == BuildState.QUEUED.value:
        return [f"queued as {build}: no build server can take it now", *_why(told)]
    return [f"dispatched as {build}, {_place(told)}"]


def _place(told: RequestStatus) -> str:
    if told.build_state == BuildState.QUEUED.value:
        return "queued"
    how = f" ({_HOW.get(told.kind) or clean(told.kind)})" if told.kind else ""
    return f"building on {clean(told.server)}{how}" if told.server else clean(told.build_state) or "waiting"


def standing(told: RequestStatus) -> str:
    """Return in one line how a Request stands that has not ended."""
    if told.build_id is None:
        return f"request {told.request_id} waits: {clean(told.reason)}".removesuffix(": ")
    return f"request {told.request_id} waits for build {told.build_id} ({_place(told)})"


def _why(told: RequestStatus) -> list[str]:
    return [f"  {clean(line)}" for line in told.why]


def artifact_lines(found: FoundArtifact) -> list[str]:
    """Return what an artifact is: its name and revision, when and how it was made, what it needs, its digest."""
    when = datetime.fromtimestamp(found.built_at, UTC) if 0 <= found.built_at < 2**33 else None
    built = f"{when:%Y-%m-%d %H:%M} UTC" if when else "some time ago"
    how = f"{found.kind.value}{_kept(found)}"
    return [
        f"artifact: {clean(found.name)}, {found.size} bytes, revision {clean(found.revision)[:12]}",
        f"  built {built} by {clean(found.server)} ({how}) for {clean(shown(found.platform))}",
        *([f"  needs {clean(need_words(found.need, found.platform))}"] if found.need else []),
        f"  SHA-256 {clean(found.digest)}",
    ]


def _kept(found: FoundArtifact) -> str:
    """Return in which sandbox an artifact was made, behind something else; nothing where there was none."""
    return f", {found.sandbox.words}" if found.sandbox.value != "none" else ""


def raised(asked: Submit, told: RequestStatus) -> list[str]:
    """Return that the project demands more of the sandbox than was asked for, where it does."""
    if told.sandbox <= asked.sandbox:
        return []
    return [f"{clean(told.project)} is only taken if it is built in a {told.sandbox.value} sandbox: that counts"]


def how_to_go_on(told: RequestStatus, email: str, program: str) -> list[str]:
    """Return what a person who stops waiting needs: that mail will come, where to look, how to cancel."""
    return [f"mail will go to {addressee(email)}", *where_to_look(told, program)]


def addressee(email: str) -> str:
    """Return who is mailed: an address that is known here, or the one that the metaserver knows of a key."""
    return clean(email) or "the address of your key"


def where_to_look(told: RequestStatus, program: str) -> list[str]:
    """Return where a Request that waits can be looked at, and the command that cancels it."""
    page = [f"page: {clean(told.page_url)}"] if told.page_url else []
    return [*page, f"cancel with: {program} cancel {shlex.quote(request_id_words(told))}"]


def differs(before: RequestStatus, now: RequestStatus) -> bool:
    """Return whether a Request has moved, or its build stands still or goes on: not only that time went by."""
    if _stands_still(before) != _stands_still(now):
        return True
    return (now.state, now.build_id, now.build_state, now.epoch, now.server) != (
        before.state, before.build_id, before.build_state, before.epoch, before.server,
    )  # fmt: skip


def _stands_still(told: RequestStatus) -> bool:
    return told.build_state == BuildState.RUNNING.value and bool(told.why)


def moved(before: RequestStatus, now: RequestStatus) -> list[str]:
    """Return what has changed for a Request that still waits."""
    if not differs(before, now):
        return []
    if now.build_state == BuildState.QUEUED.value:
        again = " again" if now.epoch else ""
        return [f"build {now.build_id} is queued{again}", *_why(now)]
    attempt = f", attempt {now.epoch}" if now.epoch > 1 else ""
    return [f"build {now.build_id}: {_place(now)}{attempt}", *_why(now)]


def came_back(before: RequestStatus, now: RequestStatus, seconds: float) -> str:
    """Return the line about what changed for a Request while the metaserver was away for so many ``seconds``."""
    changed = [line.strip() for line in (moved(before, now) if waits(now) else ended(now)[:1])]
    return f"{_back(seconds)}: {'; '.join(changed) or 'nothing has changed'}"


def came_back_to(changed: Sequence[str], seconds: float) -> str:
    """Return that line for several Requests, of each of which that changed ``changed`` has the news."""
    return f"{_back(seconds)}: {'; '.join(changed) or 'nothing has changed'}"


def _back(seconds: float) -> str:
    return f"the metaserver is back after {duration_words(seconds)}; meanwhile"


def ended(told: RequestStatus) -> list[str]:
    """Return how a Request ended; for a success what came of it."""
    reason = f": {clean(told.reason)}" if told.reason else ""
    build = f"build {told.build_id}" if told.build_id is not None else "the request"
    match told.state:
        case RequestState.SATISFIED.value:
            head = f"{build} succeeded{reason}"
            return [head, *(artifact_lines(told.artifact) if told.artifact is not None else ())]
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


# --- why ------------------------------------------------------------------------------------------------

NAMES_SAID = 5
"""At most so many servers are named in one line; the others are counted."""

_VERDICTS = {
    "hit": "hit: there is an artifact that satisfies this",
    "joined": "join: build {build} would be waited for",
    "dispatched": "dispatch: {server} would build it at once",
    "known-failure": "failed before, in build {build}: {reason}",
    "": "it has just ended: ask again",
    BuildState.QUEUED.value: "build {build} waits",
    BuildState.RUNNING.value: "build {build} is being built on {server}",
}

_WOULD_QUEUE = "queue: no build server could take it now"
"""The verdict on what nobody has asked for yet, so that it has no build."""


def explained(said: Explanation, follows: Sequence[Followed] = ()) -> list[str]:
    """Return an explanation for people, the verdict first, with what ``follows`` from the options that were said."""
    verdict = _VERDICTS.get(said.verdict, "{verdict}{colon}{reason}")
    if said.verdict == BuildState.QUEUED.value and said.build_id is None:
        verdict = _WOULD_QUEUE
    head = verdict.format(
        build=said.build_id,
        server=clean(said.server),
        reason=clean(said.reason),
        verdict=clean(said.verdict),
        colon=": " if said.reason else "",
    )
    waits = said.verdict in (BuildState.QUEUED.value, BuildState.RUNNING.value, "joined")
    halted = [f"  {clean(said.reason)}"] if said.reason and waits else []
    lines = [head, *halted, *(_line(reason) for reason in said.reasons)]
    if said.nearest_server:
        lines.append(f"  nearest machine: {clean(said.nearest_server)}")
    if said.ahead:
        lines.append(f"  {ahead_words(said.ahead, said.ahead_own, said.ahead_shares)}")
    lines += _estimate(said)
    if said.artifact is not None:
        nearer = "1 nearer revision has" if said.steps == 1 else f"{said.steps} nearer revisions have"
        near = f"; {nearer} none" if said.steps else ", exactly as asked"
        lines += [f"  {_artifact_line(said.artifact)}{near}"]
    if said.nearest_artifact is not None:
        lines.append(f"nearest artifact: {_artifact_line(said.nearest_artifact)}")
        lines += [f"  {clean(difference)}" for difference in said.differences]
    if said.page_url:
        lines.append(f"page: {clean(said.page_url)}")
    return lines + [f"with {one.words()}" for one in follows]


def _line(reason: WhyLine) -> str:
    names = ", ".join(clean(name) for name in reason.servers[:NAMES_SAID])
    more = f" and {reason.count - NAMES_SAID} more" if reason.count > NAMES_SAID else ""
    return f"  {names}{more}:{' each' if reason.count > 1 else ''} {clean(reason.words)}"


def _estimate(said: Explanation) -> list[str]:
    if said.seconds is None:
        return []
    basis = f" (from {clean(said.basis)})" if said.basis else ""
    words = about(said.seconds)
    match said.verdict:
        case "queued" | "joined" if not said.server:  # a build that waits, which may be one that would be joined
            return [f"  it may start in {words}{basis}"]
        case "dispatched":
            return [f"  it takes {words}{basis}"]
        case _:
            return [f"  it may be done in {words}{basis}"]


def _artifact_line(found: FoundArtifact) -> str:
    made = f"revision {clean(found.revision)[:12]}, {clean(shown(found.platform))}"
    where = f"{found.kind.value} on {clean(found.server)}{_kept(found)}"
    return f"{clean(found.name)} of build {found.build_id} ({made}, {where})"


def watching(told: WatchStatus, program: str) -> list[str]:
    """Return what a watch does from now on, and how it ends."""
    when = f"what came is told together ({clean(told.digest)})" if told.digest else "each new binary is told"
    asks = "new commits are asked for" if told.asks else "nothing is asked for: it is told what others have built"
    lines = [f"watch {told.watch}: {clean(told.project)} {clean(told.ref)}; {when} to {clean(told.email)}; {asks}"]
    lines += [f"  {clean(told.said)}"] if told.said else []
    return [*lines, f"  {program} unwatch {told.watch} ends it"]
