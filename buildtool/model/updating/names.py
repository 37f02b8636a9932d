"""Which of some tags is the newest version, and which versions that lie beside the one that runs are kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

_VERSION = re.compile(r"\D*?(\d{1,9}(?:\.\d{1,9}){0,8})(.*)\Z", re.DOTALL)
_EARLY = re.compile(r"[-_.]?(dev|alpha|a|beta|b|c|rc|pre|preview)[-_.]?(\d{0,9})\Z", re.IGNORECASE)
_ORDER = {"dev": 0, "alpha": 1, "a": 1, "beta": 2, "b": 2, "c": 3, "rc": 3, "pre": 3, "preview": 3}
_RELEASE = 4

VersionKey = tuple[tuple[int, ...], int, int]
"""What tags are ordered by: the numbers, how early it is, and the number of that."""


def version_key(tag: str) -> VersionKey | None:
    """Return what orders a tag such as ``v1.10`` or ``release-2.0rc1``, None for one that names no version."""
    found = _VERSION.match(tag)
    if found is None:
        return None
    numbers = [int(one) for one in found[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()  # 1.0 is 1
    if not found[2]:
        return tuple(numbers), _RELEASE, 0
    early = _EARLY.match(found[2])
    return None if early is None else (tuple(numbers), _ORDER[early[1].lower()], int(early[2] or 0))


def newest_tag(tags: Iterable[str], pattern: str) -> str:
    """Return the tag of the highest version among those that match a pattern, "" where none does.

    Of two that name one version, it is the one that comes last in the alphabet.
    """
    keyed = [(key, tag) for tag in tags if fnmatchcase(tag, pattern) and (key := version_key(tag)) is not None]
    return max(keyed)[1] if keyed else ""


def superfluous(there: Iterable[str], needed: Iterable[str], past: Sequence[str], keep: int) -> tuple[str, ...]:
    """Return which versions can go: all but those that are needed and the ``keep`` newest of the ``past`` ones.

    ``past`` begins with the one that held last.
    """
    wanted = {one for one in needed if one}
    there = set(there)
    kept = [one for one in past if one in there and one not in wanted][:keep]
    return tuple(sorted(there - wanted - set(kept)))
