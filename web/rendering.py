"""Jinja2, set up once: everything escaped, nothing undefined, every template compiled before the first visitor."""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType
from typing import Any

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined, Template
from jinja2.bccache import Bucket
from markupsafe import Markup

from buildtool import __version__
from buildtool.concurrency.bounded_cache import remembering, size_of_text
from buildtool.model.text import block

from .live.hub import Silence
from .pages.common import moment
from .pages.views import BuildRow
from .urls import Urls

ROWS_KEPT = 4 * 1024 * 1024
"""In how many bytes rows of lists of builds are kept as they were rendered: from one visit to the next, most look the
same."""

PAGES = ("status", "builds", "servers", "build", "log", "confirm", "error", "api")


def showable(value: object) -> object:
    """Return ``value`` without what a page may not hold, or what turns the direction of the text after it.

    What a macro made is Markup, not str, and went through here in parts. Nearly all text is printable throughout,
    which is found out much faster than by searching.
    """
    if type(value) is str and not value.isprintable():
        return block(value, len(value))
    return value


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


def templates(urls: Urls, silence: Silence) -> dict[str, Template]:
    """Return every page's template by name, compiled; ``silence`` is told on each page."""
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
    environment.globals.update(urls=urls, version=__version__, silence=silence, moment_at=moment)

    @remembering(ROWS_KEPT, lambda text, row: size_of_text(text) + row.weight)
    def text_of(row: BuildRow) -> str:
        parts: Any = environment.get_template("parts.html").module
        return str(parts.build_row(row))

    def rows_of(rows: Iterable[BuildRow]) -> Markup:
        return Markup("".join(map(text_of, rows)))  # noqa: S704 - the template has escaped what is in it

    environment.globals["rows_of"] = rows_of
    return {name: environment.get_template(f"{name}.html") for name in PAGES}
