"""What the metaserver says of those who are told, line by line.

Tested by tests/programs/metaserver/test_operator_commands.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from buildtool.model.text import moment_words
from buildtool.protocol.projects.targets import TargetsFound, TargetStatus


def target_lines(told: TargetsFound) -> Iterator[str]:
    """Yield who is told what comes of builds, and how that goes on, for people."""
    if not told.found:
        yield "nobody is told: a project's tell = [github_status(...), ...] names who is"
    for one in told.found:
        yield from _lines(one)
    if told.more:
        yield "there are more: --json with the API's after"


def _lines(one: TargetStatus) -> Iterator[str]:
    yield one.name
    yield f"  told last at {moment_words(one.told)}" if one.told is not None else "  was told nothing yet"
    if one.waiting and one.oldest is not None:
        things = "1 thing waits" if one.waiting == 1 else f"{one.waiting} things wait"
        yield f"  {things}, since {moment_words(one.oldest)}"
    if one.given_up:
        yield f"  given up: {one.given_up}"
    if one.error:
        yield f"  {one.error}"
