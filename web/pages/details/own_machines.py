"""The page of all machines of one owner: what they did this month and in all.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from buildtool.model.guest.history import first_month
from buildtool.model.text import size_words
from buildtool.ports.pages import ServerLine
from buildtool.ports.work import WorkFound, WorkLine

from ...urls import Urls
from .. import badges, words
from ..views import Badge
from .work import WorkCard, builds_of, processor_hours, summed, work_card


@frozen
class OwnMachine:
    """One machine in a row: builds and processor hours of the running month, and of all."""

    name: str
    url: str
    badge: Badge
    month_builds: str
    month_hours: str
    builds: str
    hours: str
    size: str


@frozen
class OwnMachinesPage:
    """All machines of the visitor; ``owner`` is empty where they are not signed in."""

    owner: str
    lead: str
    machines: tuple[OwnMachine, ...]
    work: WorkCard | None


SIGNED_OUT = OwnMachinesPage("", "Whoever lends machines sees here what they did, once signed in.", (), None)


def own_machines_page(
    owner: str,
    lines: Sequence[ServerLine],
    found: tuple[WorkFound, WorkFound],
    sees: Callable[[str], bool],
    urls: Urls,
    now: float,
) -> OwnMachinesPage:
    """Return the machines of an owner; ``found`` is what they did by project, and what each did."""
    together, each = found
    this_month = [one for one in each.lines if one.month == first_month(now, 1)]
    machines = tuple(
        _machine(
            line,
            summed(one for one in this_month if one.server == line.server.name),
            summed(one for one in each.lines if one.server == line.server.name),
            urls,
            now,
        )
        for line in lines
    )
    month = summed(this_month)
    lead = (
        f"{words.count(len(machines), 'machine')}. This month: {words.count(builds_of(month), 'build')}, "
        f"{processor_hours(month)} processor hours, {size_words(month.size)} of artifacts."
        if machines
        else f"No machine of {owner} has connected yet."
    )
    return OwnMachinesPage(owner, lead, machines, work_card(together, sees, now))


def _machine(line: ServerLine, month: WorkLine, total: WorkLine, urls: Urls, now: float) -> OwnMachine:
    server = line.server
    return OwnMachine(
        server.name,
        urls.server(server.name),
        badges.server(server, len(line.running) + line.hidden, now),
        f"{builds_of(month):,}",
        processor_hours(month),
        f"{builds_of(total):,}",
        processor_hours(total),
        size_words(total.size),
    )
