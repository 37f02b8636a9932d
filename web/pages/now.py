"""The front page, from domain values to what its template shows.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from buildtool.model.records import Build, BuildState
from buildtool.model.text import size_words
from buildtool.ports.pages import BuildLine, Overview

from ..urls import Urls
from . import words
from .builds import build_row
from .views import BuildRow, Note, PageLink


@frozen
class Tile:
    """One figure of the front page."""

    name: str
    figure: str
    under: str
    url: str = ""


@frozen
class StatusPage:
    """The front page."""

    headline: str
    notes: tuple[Note, ...]
    tiles: tuple[Tile, ...]
    rows: tuple[BuildRow, ...]
    unseen: bool


def status_page(
    overview: Overview, latest: Sequence[BuildLine], urls: Urls, now: float, *, partly: bool = False
) -> StatusPage:
    """Return the front page: figures, what needs attention, and the latest builds.

    ``partly`` says that there may be builds which are not shown, since the visitor has no right to see them.
    """
    running, queued = (overview.builds.get(state, 0) for state in (BuildState.RUNNING, BuildState.QUEUED))
    ended = {state.value: overview.builds.get(state, 0) for state in BuildState}
    unsuccessful = ended["failed"] + ended["unbuildable"]
    connected = f"{overview.servers_connected:,} of {words.count(overview.servers_known, 'build server')} connected"
    oldest = overview.oldest_queued
    waits = (
        f"oldest {words.duration(now - oldest.created_at)}"
        if oldest
        else "not shown to you"
        if queued
        else "nothing waits"
    )
    tiles = (
        Tile("Running", f"{running:,}", f"{overview.running:,} of {words.count(overview.slots, 'slot')} in use",
             urls.builds(state="running")),
        Tile("Queued", f"{queued:,}", waits, urls.builds(state="queued")),
        Tile("Build servers", f"{overview.servers_connected:,}", f"of {overview.servers_known:,} known",
             urls.servers()),
        Tile("Requests waiting", f"{overview.requests_waiting:,}", _mails(overview.mails_unsent)),
        Tile("Succeeded", f"{ended['succeeded']:,}", f"{unsuccessful:,} not", urls.builds(state="succeeded")),
        Tile("Artifacts", f"{overview.artifacts:,}", size_words(overview.artifact_bytes)),
    )  # fmt: skip
    headline = f"{words.count(running, 'build')} running, {queued:,} queued; {connected}."
    rows = tuple(build_row(line, urls, now) for line in latest)
    unseen = partly and any(overview.builds.values())
    return StatusPage(headline, tuple(_notes(overview, urls, now, unseen=unseen)), tiles, rows, unseen)


def _mails(unsent: int) -> str:
    return f"{words.count(unsent, 'mail')} to be sent" if unsent else "all mail is sent"


def _notes(overview: Overview, urls: Urls, now: float, *, unseen: bool) -> list[Note]:
    notes = []
    oldest = overview.oldest_queued
    if overview.servers_connected == 0:
        waiting = (
            "What is queued waits until one connects."
            if overview.builds.get(BuildState.QUEUED)
            else "A request would wait until one connects."
        )
        notes.append(Note("bad", f"No build server is connected. {waiting}", PageLink(urls.servers(), "Build servers")))
    elif oldest is not None and overview.running < overview.slots:
        waited = words.duration(now - oldest.created_at)
        text = f"Slots are free, but a build has waited for {waited}: {_wants(oldest)}."
        notes.append(Note("wait", text, PageLink(urls.build(oldest.id), f"Build {oldest.id}")))
    if overview.mails_refused:
        refused = words.count(overview.mails_refused, "mail was", "mails were")
        notes.append(Note("wait", f"{refused} refused by the mail server for good; the pages of their builds say why."))
    if unseen:
        notes.append(Note("", "The figures count all builds of the farm, also those that are not shown to you."))
    return notes


def _wants(build: Build) -> str:
    needs = [f"{name} at least {text}" for name, text in words.machine(build.spec.machine)]
    return ", ".join([f"{build.spec.project} for {words.platform(build.spec.platform)}", *needs])
