"""Fetch the newest binary of a branch that there is, and say how far it is behind. Nothing is built.

Tested by tests/requester/test_latest.py and tests/e2e/test_latest.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from buildtool.errors import NotFound
from buildtool.model.text import duration_words
from buildtool.ports.requester import Tone
from buildtool.protocol.projects.latest import AskLatest, LatestFound
from buildtool.requester.outcome import ExitCode, RequestResult
from buildtool.requester.requester import Requester
from buildtool.requester.text import artifact_lines, clean

STALE = 300.0
"""Seconds after which it is said how long ago the branch was looked at."""


async def fetch_latest(requester: Requester, messages: Sequence[AskLatest], *, download: bool) -> list[RequestResult]:
    """Find the newest binary of each of several kinds, and fetch it if wished. Raises BuildToolError."""
    results = list[RequestResult]()
    for message in messages:
        found, milliseconds = await requester.asked(message, LatestFound)
        lines = newest(found, requester.wall())
        if found.artifact is None:
            if len(messages) > 1:
                requester.console.say(lines[0], Tone.BAD)
            error = NotFound(lines[0])
            results.append(RequestResult(ExitCode.NONE_THERE, milliseconds=milliseconds, error=error, latest=found))
            continue
        for line in lines:
            requester.console.say(line)
        there = RequestResult(ExitCode.OK, milliseconds=milliseconds, latest=found)
        results.append(await requester.brought(found.artifact, found.project, there, download=download))
    return results


def newest(found: LatestFound, now: float) -> list[str]:
    """Return what was found, in lines; without a binary one that says what to do. ``now`` is wall time in seconds."""
    branch, made = clean(found.branch), found.artifact
    if made is None:
        history = f"its newest {found.looked:,} revisions were" if found.more else "all of it was"
        none = f"{clean(found.project)} has no binary of {branch} that would do: {history} looked at"
        return [f"{none}, and nothing is built by --latest; say --revision {branch} instead, and it is"]
    since = f", of {duration_words(max(0.0, now - found.at))} ago" if found.at > 0 else ""
    said = [f"newest of {branch} with a binary: {clean(made.revision)[:12]}, {behind_words(found)}{since}"]
    if found.age > STALE:
        said.append(f"{branch} is where it was {duration_words(found.age)} ago: its origin does not answer since")
    return [*said, *artifact_lines(made)]


def behind_words(found: LatestFound) -> str:
    """Return how far what was found is behind its branch."""
    branch = clean(found.branch)
    if not found.behind:
        return f"which is where {branch} is"
    return f"{found.behind:,} commit{'s' if found.behind > 1 else ''} behind {branch}"
