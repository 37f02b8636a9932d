"""The build servers, from domain values to what their templates show.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from buildtool.model.farm.access_uri import access_link
from buildtool.model.matching.ranges import spanned
from buildtool.model.servers import Capability, Offer, Server
from buildtool.model.text import moment_words
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.pages import Overview, RunningBuild, ServerLine

from ..urls import Urls, server_anchor
from . import badges, words
from .common import ITEMS_SHOWN, cut, listed, moment, more, sentence
from .views import Badge, GoesOn, Moment

SERVERS_PER_PAGE = 40
"""Build servers on one page of their list."""


@frozen
class Presence:
    """The time since when a build server is there, or was last: ``before`` stands before the moment."""

    before: str
    when: Moment


@frozen
class OfferLine:
    """One platform that a build server builds for, and how."""

    platform: str
    kind: str


@frozen
class RunningLink:
    """A build that runs on a build server, and for how long."""

    url: str
    text: str
    going: GoesOn


@frozen
class ServerCard:
    """One build server; ``held`` says that it was paused, so that it can be resumed.

    ``access`` is how it is reached, empty for who may not know it; ``access_url`` the same where it may be a link.
    """

    name: str
    anchor: str
    badge: Badge
    presence: Presence
    trouble: str
    tone: str
    held: bool
    load: str
    running: tuple[RunningLink, ...]
    offers: tuple[OfferLine, ...]
    more_offers: str
    projects: str
    machine: tuple[tuple[str, str], ...]
    host_info: str
    admin: str
    software: str
    sandbox: str
    access: str = ""
    access_url: str = ""


@frozen
class ServersPage:
    """A page of the build servers; ``first`` and ``further`` are empty where there is nowhere to go."""

    headline: str
    servers: tuple[ServerCard, ...]
    first: str = ""
    further: str = ""


@frozen
class MachineLine:
    """One build server in a line; ``on`` of its slots are in use, ``held`` are given to no build now."""

    name: str
    url: str
    badge: Badge
    on: int
    held: int
    free: int
    load: str
    under: str


SLOTS_DRAWN = 16
"""So many slots of a build server are drawn."""


def machine_line(line: ServerLine, urls: Urls, now: float) -> MachineLine:
    """Return one build server in a line; ``now`` is wall time in seconds."""
    server, most = line.server, line.server.capability.max_builds
    running = len(line.running) + line.hidden
    left = max(0, most - running)
    held = server.paused or server.draining or server.closed
    takes = server.connected and not held and server.quarantined_until <= now
    drawn_on = min(running, SLOTS_DRAWN)
    drawn_left = min(left, SLOTS_DRAWN - drawn_on)
    arches = dict.fromkeys(str(dict(one.platform).get("arch", "")) for one in server.capability.offers)
    what = ", ".join(filter(None, list(arches)[:ITEMS_SHOWN]))
    trouble = " ".join(_troubles(server, now))
    return MachineLine(
        server.name,
        urls.server(server.name),
        badges.server(server, running, now),
        drawn_on,
        0 if takes else drawn_left,
        drawn_left if takes else 0,
        f"{running} of {words.count(most, 'slot')} in use",
        cut(trouble or what),
    )


def servers_page(
    lines: Sequence[ServerLine], overview: Overview, urls: Urls, now: float, *, at: int = 1, name: str = ""
) -> ServersPage:
    """Return a page of the build servers; ``lines`` holds one more than a page when there are further ones."""
    cards = tuple(server_card(line, urls, now) for line in lines[:SERVERS_PER_PAGE])
    headline = (
        f"{overview.servers_connected:,} of {words.count(overview.servers_known, 'build server')} connected; "
        f"{words.count(overview.running, 'build')} running, {words.count(overview.slots, 'slot')}."
    )
    return ServersPage(
        headline if overview.servers_known else "Machines that build, given by their owners.",
        cards,
        first=urls.servers() if at > 1 or name else "",
        further=urls.servers(at + 1) if len(lines) > SERVERS_PER_PAGE else "",
    )


def server_card(line: ServerLine, urls: Urls, now: float) -> ServerCard:
    """Return one build server. E-mail addresses are masked, except in what says whom to ask about it."""
    server, offered = line.server, line.server.capability
    return ServerCard(
        name=server.name,
        anchor=server_anchor(server.name),
        badge=badges.server(server, len(line.running) + line.hidden, now),
        presence=_presence(server, now),
        trouble=" ".join(_troubles(server, now)),
        tone="bad" if server.quarantined_until > now else "wait",
        held=bool(server.paused),
        load=f"{len(line.running) + line.hidden} of {offered.max_builds} at once",
        running=tuple(_running(it, urls, now) for it in line.running[:ITEMS_SHOWN]),
        offers=tuple(_offer(it) for it in offered.offers[:ITEMS_SHOWN]),
        more_offers=more(len(offered.offers)),
        projects=listed([f"{skill.project} (recipe {skill.recipe_version})" for skill in offered.skills]),
        machine=tuple((name, cut(text)) for name, text in words.machine(offered.machine[:ITEMS_SHOWN])),
        host_info=words.without_addresses(cut(offered.host_info)),
        admin=cut(offered.admin),
        software=cut(offered.software),
        sandbox=_sandbox(offered),
        access=cut(offered.access_uri),
        access_url=access_link(offered.access_uri),
    )


def _sandbox(offered: Capability) -> str:
    """Return in which sandbox it builds, and what keeps that from being a better one."""
    level = "none" if offered.sandbox is SandboxLevel.NONE else offered.sandbox.value
    notes = "; ".join(words.without_addresses(cut(note)) for note in offered.sandbox_notes[:ITEMS_SHOWN])
    return f"{level}: {notes}" if notes else level


def _presence(server: Server, now: float) -> Presence:
    if server.connected:
        return Presence("Connected", moment(server.since, now))
    if server.missing_since:
        return Presence("Missing since", moment(server.missing_since, now))
    return Presence("Last seen", moment(server.last_seen, now))


def _troubles(server: Server, now: float) -> Iterator[str]:
    """Return, each in a sentence, why a build server is given no builds, or may soon be given none."""
    if server.paused:
        yield sentence(f"Paused by the operator: {server.paused}")
    if server.draining:
        yield "It finishes what it has and takes nothing more."
    if server.connected and server.closed:
        yield sentence(f"It takes nothing now: {words.without_addresses(server.closed)}")
    away = server.away_until(now)
    if away and not server.connected:
        yield f"Its owner said that it is away, until {moment_words(away)}."
    if server.quarantined_until > now:
        why = server.quarantine_reason or "it broke repeatedly"
        yield sentence(f"Given no builds for another {words.duration(server.quarantined_until - now)}: {why}")
    elif server.strikes > 1:
        yield f"{words.count(server.strikes, 'build')} broke here, one after the other."


def _offer(it: Offer) -> OfferLine:
    compiler = dict(it.tools).get("CC_VERSION", "")[:40]
    how = f"{it.kind.words}, {compiler}" if compiler else it.kind.words
    return OfferLine(cut(words.platform(spanned(it), words.HAS)), how)


def _running(it: RunningBuild, urls: Urls, now: float) -> RunningLink:
    begun = it.attempt.offered_at if it.attempt.accepted_at is None else it.attempt.accepted_at
    text = f"{it.build.spec.project} {words.revision(it.build.spec.revision)}, for"
    going = GoesOn(text, words.duration(now - begun), f"{begun:.3f}")
    return RunningLink(urls.build(it.build.id), f"build {it.build.id}", going)
