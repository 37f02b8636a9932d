"""What the metaserver says of triggers, line by line.

Tested by tests/programs/metaserver/test_operator_commands.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from buildtool.model.text import moment_words
from buildtool.model.triggers.trigger import short_ref
from buildtool.protocol.projects.triggers import TriggersFound, TriggerStatus


def trigger_lines(told: TriggersFound) -> Iterator[str]:
    """Yield what asks for builds by itself, when it looks, and what came of it, for people."""
    if not told.found:
        yield "nothing asks for builds by itself: a project's triggers = [on_push(), ...] would"
    for one in told.found:
        yield from _lines(one)
    if told.more:
        yield "there are more: --json with the API's after"


def _lines(one: TriggerStatus) -> Iterator[str]:
    builds = "1 build" if one.builds == 1 else f"{one.builds} builds"
    mailed = {0: "nobody is mailed", 1: "1 address is mailed"}.get(one.to, f"{one.to} addresses are mailed")
    yield f"{one.project}: {one.name}"
    yield f"  looks at {', '.join(map(short_ref, one.refs))} {one.when}, for {builds} of a commit; {mailed}"
    if one.failing:
        yield f"  the last look failed: {one.said}"
    elif one.asked is None:
        yield "  has asked for nothing yet"
    else:
        yield f"  {one.said}, at {moment_words(one.asked)}"
    yield f"  looks next at {moment_words(one.next)}"
