"""What the metaserver says of triggers, line by line.

Tested by tests/programs/metaserver/test_operator_commands.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from buildtool.model.text import moment_words
from buildtool.model.triggers.trigger import short_ref
from buildtool.protocol.projects.triggers import HookStatus, TriggersFound, TriggerStatus


def trigger_lines(told: TriggersFound) -> Iterator[str]:
    """Yield what asks for builds by itself, when it looks, and what came of it, for people."""
    if not told.found:
        yield "nothing asks for builds by itself: a project's triggers = [on_push(), ...] would"
    for one in told.found:
        yield from _lines(one)
    for hook in told.hooks:
        yield from _hook_lines(hook)
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
    if one.next is None:
        yield "  looks next when a hook is delivered; one that is lost is made up for by the next, or by look PROJECT"
    else:
        yield f"  looks next at {moment_words(one.next)}"


def _hook_lines(one: HookStatus) -> Iterator[str]:
    yield f"{one.project}: deliveries of forges"
    yield "  none was taken yet" if one.taken is None else f"  the last, {one.said}, at {moment_words(one.taken)}"
    if one.refused:
        counts = ", ".join(f"{found.count} {found.reason}" for found in one.refused)
        yield f"  refused since the start: {counts}"
    if one.refused_at is not None:
        yield f"  the last that was refused, at {moment_words(one.refused_at)}: {one.why}"
