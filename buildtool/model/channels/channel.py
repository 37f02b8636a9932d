"""Channels: names for the newest revision of a branch, or the newest tag, of which everything is there.

The test is tests/model/channels/test_channel.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from attrs import frozen

from buildtool.model.platforms import version_key
from buildtool.model.triggers.trigger import TAGS, Variant, short_ref

CHANNEL = "channel:"
"""What stands before a channel's name where a branch's may stand, which has no ``:`` in it."""

_EARLY = frozenset({"a", "alpha", "b", "beta", "c", "rc", "pre", "preview", "dev", "snapshot"})
"""Words in the name of a tag that say that it comes before the version that is named."""


@frozen
class ReleaseChannel:
    """A channel of a project, by a ``name`` of its own there.

    It follows the branch ``ref`` (a full name, or HEAD), or the tags that a pattern of full names fits. A revision is
    in it once there is each of its ``variants``.
    """

    name: str
    ref: str
    variants: tuple[Variant, ...]
    source: str = ""

    @property
    def of_tags(self) -> bool:
        """Whether it follows tags, and no branch."""
        return self.ref.startswith(TAGS)

    @property
    def words(self) -> str:
        """What it follows, for people."""
        return f"tags {short_ref(self.ref)}" if self.of_tags else short_ref(self.ref)


def tagged(channel: ReleaseChannel, refs: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the tags that a channel follows, by short names, with their commits: the highest version first."""
    found = [(short_ref(name), commit) for name, commit in refs.items() if fnmatchcase(name, channel.ref)]
    return tuple(sorted(found, key=lambda one: (_version(one[0]), one[0]), reverse=True))


def _version(tag: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that orders tags by version: 1.2-rc1, 1.2, 1.2-p1, 1.2.1, 1.10."""
    parts = [
        (2, part) if isinstance(part, int) else (0 if part.lower() in _EARLY else 1, part) for part in version_key(tag)
    ]
    return (*parts, (1, ""))
