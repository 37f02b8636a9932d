"""What the metaserver says of watches, line by line.

Tested by tests/programs/metaserver/test_operator_commands.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from buildtool.model.text import moment_words
from buildtool.model.triggers.trigger import short_ref
from buildtool.protocol.projects.watches import WatchesFound, WatchStatus


def watch_lines(told: WatchesFound) -> Iterator[str]:
    """Yield the watches that there are, and how each stands, for people."""
    if not told.found:
        yield "nobody watches a branch: bin/startcompile.py --watch main you@example.org would"
    for one in told.found:
        yield from status_lines(one)
    if told.more:
        yield "there are more: --json with the API's after"


def status_lines(one: WatchStatus) -> Iterator[str]:
    """Yield how a watch stands."""
    source = f" of {one.source}" if one.source else ""
    since = moment_words(one.made)
    yield f"watch {one.watch}: {one.project} {short_ref(one.ref)}{source}, for {one.email}, since {since}"
    when = f"what came is told {one.digest}" if one.digest else "each new binary is told"
    asks = "new commits are asked for" if one.asks else "nothing is asked for"
    waits = {0: "", 1: "; 1 commit has none yet"}.get(one.awaited, f"; {one.awaited} commits have none yet")
    yield f"  {when}; {asks}{waits}"
    if one.said:
        yield f"  {one.said}"
