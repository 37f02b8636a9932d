"""Jinja2, set up once: everything escaped, nothing undefined, every template compiled before the first visitor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined, Template
from jinja2.bccache import Bucket
from markupsafe import Markup, escape

from buildtool import __version__
from buildtool.model.farm.deployment import UNNAMED, Deployment
from buildtool.model.text import block

from .live.hub import Silence
from .pages.common import moment
from .pages.views import BuildRow, Zip
from .urls import Urls

PAGES = (
    "status",
    "queue",
    "builds",
    "servers",
    "machine",
    "own_machines",
    "build",
    "files",
    "log",
    "confirm",
    "error",
    "api",
    "sign_in",
    "audit",
    "acts",
    "ask",
    "matrix",
)


def showable(value: object) -> object:
    """Return ``value`` without what a page may not hold, or what turns the direction of the text after it.

    What a macro made is Markup, not str, and went through here in parts. Nearly all text is printable throughout,
    which is found out much faster than by searching.
    """
    if type(value) is str and not value.isprintable():
        return block(value, len(value))
    return value


def rows_of(rows: Sequence[BuildRow]) -> Markup:
    """Return the rows of a list of builds.

    Not a template: fifty rows with twenty texts each are most of a page, and it would take ten times as long. All texts
    are escaped together, since a call for each would take longer than all the rest.
    """
    texts: list[str] = []
    for row in rows:
        zipped = row.zip or _NO_ZIP
        texts += row[3:11]
        texts += (row.url, row.who, zipped.url, zipped.title)
    safe = escaped(texts)
    made = [_row(row, safe[at : at + _TEXTS]) for row, at in zip(rows, range(0, len(safe), _TEXTS), strict=True)]
    return Markup("".join(made))  # noqa: S704 - each text in it was escaped


def escaped(texts: Sequence[str]) -> list[str]:
    """Return each of several texts as it stands in a page, harmless and escaped."""
    if not "".join(texts).isprintable():  # an LF is not, so there is none in texts that are
        return [str(escape(showable(text))) for text in texts]
    return str.split(escape("\n".join(texts)), "\n") if texts else []  # as str: each would else become Markup again


_NO_ZIP = Zip("", "", "")
_TEXTS = 12
"""So many texts of a row are from outside, or may hold what is."""

_ROW = (
    '<tr><th scope="row" class="tight"><a href="%s">#%d</a></th>'
    '<td class="tight corner"><span class="state %s"><svg class="icon" aria-hidden="true"><use href="#i-%s"/></svg>%s'
    '</span></td><td>%s<span class="under"><code>%s</code></span></td>'
    '<td>%s<span class="under"><code title="%s">%s</code> %s</span></td>'
    '<td>%s<span class="under">%s</span></td>'
    '<td class="num">%s<span class="under"><time datetime="%s">%s</time> (%s)</span></td>'
    '<td data-name="Asked by">%s</td><td class="tight">%s</td></tr>\n'
)
_ZIP = '<a href="%s" title="%s">zip</a> <span class="soft small">%s</span>'


def _row(row: BuildRow, texts: Sequence[str]) -> str:
    badge, when, zipped = row.badge, row.when, row.zip
    project, options, subject, revision, short, ref, platform, under, url, who, zip_url, zip_title = texts
    return _ROW % (
        url, row.id, badge.tone, badge.icon, badge.text, project, options,
        subject, revision, short, ref, platform, under,
        f'<span data-since="{row.since}">{row.took}</span>' if row.since else row.took,
        when.iso, when.full, when.words, who, _ZIP % (zip_url, zip_title, zipped.size) if zipped is not None else "",
    )  # fmt: skip


class _CompiledTemplates(BytecodeCache):
    """The code of templates, for all of a process: to compile them takes most of the time in which pages are set up."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Set the code of a template, if one with the same text was compiled before."""
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled."""
        if bucket.code is not None:
            self._code[bucket.key, bucket.checksum] = bucket.code


_COMPILED = _CompiledTemplates()


def templates(
    urls: Urls, silence: Silence, deployment: Callable[[], Deployment] = lambda: UNNAMED
) -> dict[str, Template]:
    """Return every page's template by name, compiled; ``silence`` and ``deployment`` are told on each page."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=showable,
        auto_reload=False,
        bytecode_cache=_COMPILED,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    environment.globals.update(urls=urls, version=__version__, silence=silence, moment_at=moment, deployment=deployment)

    environment.globals["rows_of"] = rows_of
    for name in environment.list_templates():  # others, too: pages load them when they are shown first
        environment.get_template(name)
    return {name: environment.get_template(f"{name}.html") for name in PAGES}
