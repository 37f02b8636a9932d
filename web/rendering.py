"""Jinja2, set up once: everything escaped, nothing undefined, every template compiled before the first visitor."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from buildtool import __version__

from .urls import Urls

_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef]|[\ufffe\uffff"
    + "".join(chr(plane << 16 | last) for plane in range(1, 17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
"""Characters that no HTML page may hold (controls, half surrogates, noncharacters), or that turn the direction of
the text after them."""

PAGES = ("status", "builds", "servers", "build", "error")


def showable(value: object) -> object:
    """Return ``value`` with a replacement character for each that a page may not hold.

    What a macro made is Markup, not str, and went through here in parts. Nearly all text is printable throughout,
    which is found out much faster than by searching.
    """
    if type(value) is str and not value.isprintable():
        return _UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return value


def templates(urls: Urls) -> dict[str, Template]:
    """Return every page's template by name, compiled."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=showable,
        auto_reload=False,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    environment.globals.update(urls=urls, version=__version__)
    return {name: environment.get_template(f"{name}.html") for name in PAGES}
