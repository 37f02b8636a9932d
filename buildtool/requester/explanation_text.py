"""What a requester reads who asked why: lines made of an explanation, without a clock or a terminal."""

from __future__ import annotations

from buildtool.model.options import shown
from buildtool.model.records import BuildState
from buildtool.model.text import duration_words
from buildtool.protocol.messages import Explanation, Found, WhyLine
from buildtool.requester.text import clean

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


def explained(said: Explanation) -> list[str]:
    """Return an explanation for people, the verdict first."""
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
    halted = [f"  {clean(said.reason)}"] if said.reason and said.verdict == BuildState.QUEUED.value else []
    lines = [head, *halted, *(_line(reason) for reason in said.reasons)]
    if said.nearest_server:
        lines.append(f"  nearest machine: {clean(said.nearest_server)}")
    if said.ahead:
        lines.append(f"  {said.ahead} {'build waits' if said.ahead == 1 else 'builds wait'} before it")
    lines += _estimate(said)
    if said.artifact is not None:
        nearer = "1 nearer revision has" if said.steps == 1 else f"{said.steps} nearer revisions have"
        near = f"; {nearer} none" if said.steps else ", exactly as asked"
        lines += [f"  {_artifact(said.artifact)}{near}"]
    if said.nearest_artifact is not None:
        lines.append(f"nearest artifact: {_artifact(said.nearest_artifact)}")
        lines += [f"  {clean(difference)}" for difference in said.differences]
    if said.page_url:
        lines.append(f"page: {clean(said.page_url)}")
    return lines


def _line(reason: WhyLine) -> str:
    names = ", ".join(clean(name) for name in reason.servers[:NAMES_SAID])
    more = f" and {reason.count - NAMES_SAID} more" if reason.count > NAMES_SAID else ""
    return f"  {names}{more}:{' each' if reason.count > 1 else ''} {clean(reason.words)}"


def _estimate(said: Explanation) -> list[str]:
    if said.seconds is None:
        return []
    basis = f" (from {clean(said.basis)})" if said.basis else ""
    words = duration_words(said.seconds)
    match said.verdict:
        case "queued" | "joined" if not said.server:  # a build that waits, which may be one that would be joined
            return [f"  it may start in about {words}{basis}"]
        case "dispatched":
            return [f"  it takes about {words}{basis}"]
        case _:
            return [f"  it may be done in about {words}{basis}"]


def _artifact(found: Found) -> str:
    made = f"revision {clean(found.revision)[:12]}, {clean(shown(found.platform))}"
    return f"{clean(found.name)} of build {found.build_id} ({made}, {found.kind.value} on {clean(found.server)})"
