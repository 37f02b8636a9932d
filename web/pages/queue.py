"""The queue: who waits for what, in order. Pure: ``now`` is wall time in seconds, links come from ``urls``."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from buildtool.ports.pages import BuildLine
from buildtool.protocol.pages.farm_view import FarmView

from ..urls import Urls
from . import words
from .builds import build_row
from .now import WaitGroupRow, wait_group
from .views import BuildRow


@frozen
class QueueGroup:
    """A group of builds that wait for the same: the first in the queue, and how many follow."""

    group: WaitGroupRow
    rows: tuple[BuildRow, ...]
    more: str


@frozen
class QueuePage:
    """The queue by what is waited for; ``rows`` are what waits where the metaserver does not say for what."""

    lead: str
    groups: tuple[QueueGroup, ...]
    rows: tuple[BuildRow, ...]
    unseen: str


def queue_page(view: FarmView | None, lines: Mapping[int, BuildLine], urls: Urls, now: float) -> QueuePage:
    """Return the queue; ``lines`` are the builds that ``view`` names, or some that wait where there is none.

    ``now`` is wall time in seconds.
    """
    if view is None:
        rows = tuple(build_row(one, urls, now) for one in lines.values())
        return QueuePage("The metaserver does not say what is waited for.", (), rows, "")
    count = sum(group.count for group in view.waiting) + view.unseen
    groups = []
    for group in view.waiting:
        found = tuple(build_row(lines[number], urls, now) for number in group.builds if number in lines)
        left = group.count - len(group.builds)
        more = f"and {words.count(left, 'more build')} behind them" if left > 0 else ""
        groups.append(QueueGroup(wait_group(group, urls), found, more))
    waits = f"{words.count(count, 'build waits', 'builds wait')}, by what is waited for, the first in the queue first."
    unseen = f"Of {words.count(view.unseen, 'further build')} it was not looked at why." if view.unseen else ""
    return QueuePage(waits if count else "Nothing waits.", tuple(groups), (), unseen)
