"""Triggers: what of a project's asks for builds by itself.

A trigger looks at its repository by its schedule, and asks for what its refs are at then where that is not what it
asked for last. So a look that was missed, came twice or came late changes nothing: what is asked for follows from what
the repository says, and never from who said that something happened there.

The test is tests/project/test_triggers.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from attrs import frozen

from buildtool.model.platforms import Value
from buildtool.model.triggers.schedule import Schedule

__all__ = ["BRANCHES", "TAGS", "TRIGGER", "VARIANTS", "Trigger", "Variant", "is_ref_pattern", "short_ref"]

BRANCHES, TAGS = "refs/heads/", "refs/tags/"
"""What the full names of branches and of tags begin with."""


_PATTERN = re.compile(r"[^\x00-\x20\x7f~^:?\[\\\ud800-\udfff]{1,200}")
_NO_REF = re.compile(r"\.\.|//|/\.|[/.]\Z|@\{|\.lock(?:/|\Z)")
"""What no ref has in its name."""


def is_ref_pattern(text: str, ref: str) -> bool:
    """Return whether a ref may be called as ``text`` says, with * for any text; ``ref`` is its full name."""
    return bool(_PATTERN.fullmatch(text)) and not _NO_REF.search(ref)


def short_ref(ref: str) -> str:
    """Return a ref's full name as people say it."""
    return ref.removeprefix(BRANCHES).removeprefix(TAGS)


TRIGGER = "trigger:"
"""What the names begin with under which triggers ask: those of their shares."""

VARIANTS = 64
"""Most builds of a commit that one trigger asks for."""


@frozen
class Variant:
    """One build of a commit that is asked for: compile options and system options, by name."""

    options: Mapping[str, Value]
    platform: Mapping[str, Value]


@frozen
class Trigger:
    """One trigger of a project, by a ``name`` of its own there.

    ``patterns`` are those of full names of refs, with ``*`` for any text. Each of ``to``, addresses, is mailed of each
    commit once all ``variants`` of it have ended; with an empty ``to`` no mail is sent. ``nice`` is by how many rounds
    these requests stand back; with ``supersede`` a newer commit takes the place of what waits for an older one of it.
    With ``past`` the first look asks for what it finds; else that was there before the trigger was, and is left.
    With ``polled`` its schedule is what the project says of all such.
    """

    name: str
    patterns: tuple[str, ...]
    schedule: Schedule
    variants: tuple[Variant, ...]
    to: tuple[str, ...] = ()
    source: str = ""
    nice: int = 0
    supersede: bool = True
    past: bool = False
    polled: bool = False

    def is_of(self, ref: str) -> bool:
        """Return whether it is about a ref, by its full name."""
        return any(fnmatchcase(ref, pattern) for pattern in self.patterns)
