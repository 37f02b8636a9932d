"""Lists of builds for programs: CSV, JSON and Atom. The same search gives the same bytes while nothing changes.

Pure; times are wall time in seconds.
"""

from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree as ET  # only to write: nothing is parsed

from buildtool.model.farm.deployment import UNNAMED, Deployment
from buildtool.model.options import shown
from buildtool.model.text import block
from buildtool.ports.pages import BuildLine, BuildsFound

from ..urls import Urls
from . import badges, words
from .builds import took_seconds, who
from .common import dated

MOST = 1_000
"""Most builds of a list for programs; CSV and JSON say where it goes on."""

IN_FEED = 50
"""Builds of a feed: the newest."""

_ATOM = "http://www.w3.org/2005/Atom"
_MAILTO = "mailto:"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that spreadsheets would compute."""

Value = str | int | float | None

COLUMNS = (
    "build", "url", "state", "project", "options", "platform", "revision", "ref", "subject", "asked", "started",
    "ended", "took_seconds", "machine", "attempts", "reason", "requests", "asked_by", "artifact_url", "artifact_sha256",
    "artifact_bytes",
)  # fmt: skip
"""What is told of a build, in this order."""


def record(line: BuildLine, urls: Urls) -> dict[str, Value]:
    """Return what is told of a build, by column; None for what it does not have."""
    # What still runs has taken no time yet: it would be another one at each visit.
    took = took_seconds(line, 0.0) if line.ended_at is not None else None
    values: tuple[Value, ...] = (
        line.id, urls.absolute(urls.build(line.id)), line.state.value, line.project, shown(line.options),
        shown(line.platform), line.revision, line.ref or None,
        words.without_addresses(line.subject) or None, _at(line.created_at),
        _at(line.started_at), _at(line.ended_at), None if took is None else round(took, 3), line.server or None,
        line.epoch, words.without_addresses(line.reason) or None, line.requests, who(line) or None,
        urls.artifact(line.digest, line.name) if line.digest else None, line.digest or None,
        line.size if line.digest else None,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def as_csv(found: BuildsFound, urls: Urls) -> str:
    """Return builds as CSV (RFC 4180) with a line of names. No cell is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for value in record(line, urls).values()] for line in found.lines)
    return text.getvalue()


def as_json(found: BuildsFound, line: str, urls: Urls) -> str:
    """Return builds as JSON, with the search, where it goes on (or null), and how far was searched."""
    whole: dict[str, object] = {"query": line, "next": further(found, line, urls, "json") or None}
    whole |= {"searched_to": found.stopped, "builds": [record(it, urls) for it in found.lines]}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def further(found: BuildsFound, line: str, urls: Urls, form: str) -> str:
    """Return where a list for programs goes on, whole, or an empty text."""
    if found.stopped is not None:
        return urls.absolute(urls.builds(line, before=found.stopped, form=form))
    return urls.absolute(urls.builds(line, before=found.lines[-1].id, form=form)) if found.more else ""


def as_atom(found: BuildsFound, line: str, urls: Urls, farm: Deployment = UNNAMED) -> str:
    """Return builds as an Atom feed (RFC 4287); what a build becomes is told by its entry, which changes.

    Its author is the ``farm``, as it calls itself.
    """
    ET.register_namespace("", _ATOM)
    feed = ET.Element(_name("feed"))
    own = urls.absolute(urls.builds(line, form="atom"))
    _add(feed, "title", f"{farm.title} builds: {line}" if line else f"{farm.title} builds")
    _add(feed, "id", own)
    _add(feed, "link", rel="self", href=own)
    _add(feed, "link", rel="alternate", type="text/html", href=urls.absolute(urls.builds(line)))
    _add(feed, "updated", _at(max(map(_changed, found.lines), default=0.0)) or "")
    author = _add(feed, "author")
    _add(author, "name", farm.title)
    if farm.title_url:
        _add(author, "uri", farm.title_url)
    if farm.contact_url.startswith(_MAILTO):
        _add(author, "email", farm.contact)
    for build in found.lines:
        _entry(feed, build, urls)
    ET.indent(feed, " ")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(feed, encoding="unicode")}\n'


def _entry(feed: ET.Element, line: BuildLine, urls: Urls) -> None:
    where = urls.absolute(urls.build(line.id))
    entry = _add(feed, "entry")
    platform = words.platform(line.platform)
    _add(entry, "title", f"{line.project} {badges.BUILD[line.state].text}: {platform}, {words.revision(line.revision)}")
    _add(entry, "id", where)
    _add(entry, "link", href=where)
    _add(entry, "published", _at(line.created_at) or "")
    _add(entry, "updated", _at(_changed(line)) or "")
    told = [
        words.without_addresses(line.subject),
        f"options: {shown(line.options)}" if line.options else "",
        words.without_addresses(line.reason),
    ]
    _add(entry, "summary", "; ".join(filter(None, told)) or f"Build {line.id}")


def _changed(line: BuildLine) -> float:
    return max(line.created_at, line.started_at or 0.0, line.ended_at or 0.0)


def _add(parent: ET.Element, name: str, text: str = "", **attributes: str) -> ET.Element:
    made = ET.SubElement(parent, _name(name), attributes)
    made.text = block(text, len(text)) or None
    return made


def _name(name: str) -> str:
    return f"{{{_ATOM}}}{name}"


def _at(when: float | None) -> str | None:
    return None if when is None else dated(when)[0]


def _cell(value: Value) -> Value:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
