"""What templates show: frozen values of words, links and figures, with nothing left to decide.

Those of one page alone stand beside what makes them.
"""

from __future__ import annotations

from typing import NamedTuple

from attrs import Factory, field, frozen


@frozen
class Badge:
    """A state: its word, its tone (``ok``, ``bad``, ``busy``, ``wait`` or ``quiet``), which is a colour, and its icon.

    ``icon`` names a symbol of ``templates/icons.html``: each tone has one of its own shape, some states another.
    """

    tone: str
    text: str
    icon: str = field(default=Factory(lambda self: self.tone, takes_self=True))


@frozen
class PageLink:
    """A link with its words; ``under`` is said beside it."""

    url: str
    text: str
    under: str = ""


@frozen
class Moment:
    """A point in time: ``iso`` for machines, ``full`` in UTC to the second, ``words`` as an age."""

    iso: str
    full: str
    words: str


@frozen
class GoesOn:
    """The duration of what goes on: ``text`` stands before it, it began at the wall time ``since``, in seconds."""

    text: str
    took: str
    since: str


@frozen
class Note:
    """One sentence that needs attention."""

    tone: str
    text: str
    link: PageLink | None = None


@frozen
class Zip:
    """An artifact in a list."""

    url: str
    title: str
    size: str


class BuildRow(NamedTuple):
    """One Build in a list: ``under`` says on which machine, or why there is none, ``when`` when it was asked for.

    ``since`` is the wall time since which it takes so long, of what runs.
    """

    id: int
    url: str
    badge: Badge
    project: str
    options: str
    subject: str
    revision: str
    short: str
    ref: str
    platform: str
    under: str
    took: str
    when: Moment
    who: str
    zip: Zip | None
    since: str = ""


@frozen
class ConfirmPage:
    """The page of a code or link: what it does, or what came of it, with the words of the ``button`` that does it.

    The button is sent to ``action``, or to the page itself.
    """

    title: str
    text: str
    button: str = ""
    action: str = ""


@frozen
class ErrorPage:
    """An error, in one line."""

    title: str
    text: str
