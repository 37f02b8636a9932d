"""Jinja2, set up once: everything escaped, nothing undefined, every template compiled before the first visitor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import CodeType

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined, Template
from jinja2.bccache import Bucket
from markupsafe import Markup, escape

from buildtool import __version__
from buildtool.model.farm.deployment import UNNAMED, Deployment
from buildtool.model.text import block

from .live.hub import Silence
from .pages.common import moment
from .pages.views import BuildRow
from .urls import Urls

PAGES = (
    "status",
    "queue",
    "builds",
    "servers",
    "machine",
    "build",
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


def rows_of(rows: Iterable[BuildRow]) -> Markup:
    """Return the rows of a list of builds.

    Not a template: fifty rows with twenty texts each are most of a page, and it would take four times as long.
    """
    return Markup("".join(map(_row, rows)))  # noqa: S704 - each text in it was escaped


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


def _row(row: BuildRow) -> str:
    badge, when, zipped = row.badge, row.when, row.zip
    return _ROW % (
        escape(row.url), row.id, badge.tone, badge.icon, badge.text,
        _text(row.project), _text(row.options), _text(row.subject), _text(row.revision), _text(row.short),
        _text(row.ref), _text(row.platform), _text(row.under), _took(row), when.iso, when.full, when.words,
        _text(row.who), _ZIP % (escape(zipped.url), _text(zipped.title), zipped.size) if zipped is not None else "",
    )  # fmt: skip


def _took(row: BuildRow) -> str:
    return f'<span data-since="{row.since}">{row.took}</span>' if row.since else row.took


def _text(text: str) -> Markup:
    return escape(showable(text))


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
    return {name: environment.get_template(f"{name}.html") for name in PAGES}
