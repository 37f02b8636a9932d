"""What is in the channels of a project.

Tested by tests/metaserver/latest/test_channels.py.
"""

from __future__ import annotations

from attrs import field, frozen

LISTED = 20
"""Most channels of a project."""

MEMBERS = 64
"""Most artifacts of a channel."""


@frozen
class AskChannels:
    """A question: what is in the channels of a project."""

    project: str = field(metadata={"most": 80})


@frozen
class ChannelMember:
    """An artifact of a channel: its platform and options in words, its build, its name, SHA-256 and size in bytes."""

    platform: str = field(metadata={"most": 100, "sent": 100, "kept": "start"})
    options: str = field(metadata={"most": 300, "sent": 300, "kept": "start"})
    build_id: int
    name: str = field(metadata={"most": 255, "sent": 255})
    digest: str = field(metadata={"most": 64, "sent": 64})
    size: int


@frozen
class ChannelStatus:
    """The status of a channel: the revision that is in it, by ``ref`` where that is a tag, and its ``artifacts``.

    ``revision`` is empty while there is none of which all is there. ``follows`` says what the channel follows,
    ``wanted`` how many artifacts are in it. ``next`` is a newer revision, or tag, of which ``missing`` says what is not
    there yet.
    """

    project: str = field(metadata={"most": 80, "sent": 80})
    name: str = field(metadata={"most": 80, "sent": 80})
    follows: str = field(metadata={"most": 300, "sent": 300, "kept": "start"})
    wanted: int
    revision: str = field(metadata={"most": 100, "sent": 100})
    ref: str = field(metadata={"most": 300, "sent": 300, "kept": "start"})
    artifacts: tuple[ChannelMember, ...] = field(metadata={"members": MEMBERS})
    next: str = field(default="", metadata={"most": 300, "sent": 300, "kept": "start"})
    missing: tuple[str, ...] = field(default=(), metadata={"sent": 300, "members": MEMBERS})


@frozen
class ChannelsFound:
    """An answer: the channels of a project."""

    found: tuple[ChannelStatus, ...] = field(metadata={"members": LISTED})
