"""The version of the protocol, and the message that every connection begins with.

The test is tests/protocol/test_transcripts.py.
"""

from __future__ import annotations

from attrs import field, frozen

from buildtool.protocol.limits import TOGETHER

PROTOCOL_VERSION = 3
"""The major version, compared in the first message. It is not raised any more: see ``CAPABILITIES``."""

PROTOCOL_MINOR = 1
"""Raised with each release that adds a field or a message. Who does not know a field ignores it, and gives one that is
absent its default, so it needs one; ``tests/protocol/transcripts`` keeps the texts of each minor version."""

EVENTS = "events"
"""The capability of a metaserver that tells the pages of events."""

REQUESTS = "requests"
"""The capability of a metaserver that answers ``AskRequests`` and ``AskRefs``."""

SANDBOX = "sandbox"
"""The capability of a metaserver that keeps to the least level of a sandbox that a submission accepts."""

LATEST = "latest"
"""The capability of a metaserver that answers ``AskLatest``."""

CAPABILITIES: tuple[str, ...] = (EVENTS, REQUESTS, SANDBOX, LATEST)
"""What this program understands beyond 3.0 that a peer may not be sent unless it names it in its Hello: whatever would
be misunderstood if it were ignored."""

SOFTWARE = "buildtool"


@frozen
class Hello:
    """The first message of every connection, each way: who is there, as a value of ``PrincipalRole``.

    The metaserver answers with its own, in which ``authority`` is the fingerprint of the authority of its farm, where
    it has one, and ``projects`` the digest of what a person is answered to ``AskProjects``. ``protocol`` and ``minor``
    are the version.
    """

    protocol: int
    role: str = field(metadata={"most": 40})
    software: str = field(metadata={"most": 200})
    minor: int = 0
    capabilities: tuple[str, ...] = field(default=(), metadata={"most": 40, "members": 64})
    authority: str = field(default="", metadata={"most": 64})
    projects: str = field(default="", metadata={"most": 64})


DESCRIBED = 500_000
"""Most bytes of the JSON of all descriptions, as they are sent."""


@frozen
class AskProjects:
    """A question for the projects that the caller may see, and their options."""


@frozen
class ProjectsDescribed:
    """An answer: the descriptions of projects as one JSON text, and its SHA-256."""

    digest: str = field(metadata={"most": 64, "sent": 64})
    text: str = field(metadata={"most": DESCRIBED, "sent": DESCRIBED})


@frozen
class AskRequests:
    """A question for the newest requests of the caller, at most so many, the newest first."""

    most: int = TOGETHER


REFS = 500
"""Most refs in one answer."""


@frozen
class AskRefs:
    """A question for the newest branches and tags of a project, in one of its sources ("" for the usual one)."""

    project: str = field(metadata={"most": 80})
    source: str = field(default="", metadata={"most": 400})


@frozen
class RefsFound:
    """An answer: names of branches and tags, the newest first."""

    names: tuple[str, ...] = field(metadata={"sent": 200, "members": REFS, "members_sent": REFS})


def hello_of(role: str, protocol: int = PROTOCOL_VERSION) -> Hello:
    """Return this program's Hello in a role, in the major version ``protocol``."""
    return Hello(protocol, role, SOFTWARE, PROTOCOL_MINOR, CAPABILITIES)
