"""A badge: a small picture with a project's name and state, for pages elsewhere. Pure."""

from __future__ import annotations

from markupsafe import escape

from buildtool.model.records import BuildState
from buildtool.model.text import printable

from . import badges

_COLOURS = {"ok": "#1a7f37", "bad": "#b42318", "busy": "#0a58ca", "wait": "#7a4b00", "quiet": "#59636e"}
"""White stands out from each by at least 4.5 to 1."""

_NAME_LIMIT = 40
_CHAR = 7
"""Pixels that a character takes at most, about."""


def badge_svg(project: str, state: BuildState | None) -> bytes:
    """Return the badge of a project, by the state of a build; ``state`` is None where none was decided."""
    name = printable(project, _NAME_LIMIT)
    shown = badges.BUILD[state] if state is not None else None
    word, colour = (shown.text, _COLOURS[shown.tone]) if shown else ("no build", _COLOURS["quiet"])
    left, right = 12 + _CHAR * len(name), 12 + _CHAR * len(word)
    said = escape(f"{name}: {word}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{said}">'
        f"<title>{said}</title>"
        f'<rect width="{left + right}" height="20" rx="3" fill="#343a40"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2:g}" y="14">{escape(name)}</text>'
        f'<text x="{left + right / 2:g}" y="14">{word}</text></g></svg>\n'
    ).encode()
