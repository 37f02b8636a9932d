"""Build servers: what they announce, what they hold of Attempts, and their state. Times are wall time in seconds.

The test is tests/model/test_matching.py.
"""

from __future__ import annotations

import enum

from attrs import field, frozen

from buildtool.model.options import Canonical
from buildtool.model.trust.evidence import Evidence, SandboxLevel


class QuickEnum(enum.Enum):
    """An enumeration whose members are quick to look up: ``Enum`` makes their hashes anew each time, in Python."""

    __hash__ = object.__hash__  # one object stands for each member


class HeldState(QuickEnum):
    """The state of an Attempt that a build server holds: it builds, or has an artifact or another end to deliver."""

    BUILDING = "building"
    DONE = "done"
    ENDED = "ended"


class Verdict(QuickEnum):
    """The order about an Attempt that a build server holds."""

    GO_ON = "go on"
    DELIVER = "deliver"
    DROP = "drop"


class OfferKind(QuickEnum):
    """The way in which a build server makes binaries of a platform; other things equal, the first is preferred."""

    NATIVE = "native"
    CROSS = "cross"
    EMULATED = "emulated"

    @property
    def words(self) -> str:
        """What people are told: of how it is made, not only by what."""
        return "cross-compiled" if self is OfferKind.CROSS else self.value


SYSTEM_ROOT = "ROOT"
"""The role among an offer's tools that names the files of another system in which it builds: ``bookworm-arm64``."""

ROOT_PATH = "/usr/local/bin:/usr/bin:/bin"
"""PATH in the files of another system."""

OFFER_RANK: dict[OfferKind, int] = {OfferKind.NATIVE: 0, OfferKind.CROSS: 1, OfferKind.EMULATED: 2}


RATED_KINDS = frozenset(
    "server-connected server-disconnected server-fenced server-draining server-closed server-opened attempt-frozen "
    "attempt-thawed".split()
)
"""Kinds of events of which a build server may cause as many as it likes."""


@frozen
class Held:
    """An Attempt that a build server says it has, and what it has of it; ``frozen`` while its owner is in the way."""

    build_id: int
    epoch: int
    state: HeldState = HeldState.BUILDING
    frozen: bool = False

    @property
    def key(self) -> tuple[int, int]:
        return (self.build_id, self.epoch)


@frozen
class OwnerNotice:
    """The wishes of a machine's owner as the farm hears of them.

    ``closed`` says why no builds are taken now, empty where they are, and ``until`` when they are taken again (wall
    time, 0 where that is not known). In the spans ``away`` (wall time) the machine may be missing.
    """

    closed: str = field(default="", metadata={"sent": 200, "kept": "start"})
    until: float = 0.0
    away: tuple[tuple[float, float], ...] = field(default=(), metadata={"members": 16})


@frozen
class HeldVerdict:
    """A verdict on an Attempt that a build server holds, and the reason."""

    build_id: int
    epoch: int
    verdict: Verdict
    reason: str = field(default="", metadata={"sent": 100, "kept": "start"})


@frozen
class Offer:
    """One platform that a build server can make binaries of, and how; ``tools`` are for the recipe (CC, STRIP …).

    Of the properties in ``up_to`` it makes what is asked for, from the value in ``platform``, the oldest, to the one
    there. In a tool's command line ``{libc_version}`` stands for the one that is made.
    """

    platform: Canonical = field(metadata={"members": 100})
    kind: OfferKind = OfferKind.NATIVE
    tools: tuple[tuple[str, str], ...] = field(default=(), metadata={"members": 200})
    up_to: Canonical = field(default=(), metadata={"members": 16})


@frozen
class ProjectSkill:
    """A project that a build server is configured for: with which recipe version and which option descriptions."""

    project: str = field(metadata={"most": 80})
    recipe_version: int
    options_digest: str = field(metadata={"most": 64})


NOTES_MOST = 16
"""Most notes that a build server announces about its sandbox."""

NOTE_LIMIT = 300
"""Most characters of one of them."""

_PAIR_BYTES = 200
"""Bytes that a property takes in memory besides the text of its value, about."""


@frozen
class Capability:
    """The announcement of a build server: platforms, machine properties (memory and disk in MiB), and projects.

    ``sandbox`` is the least level in which it builds, as its self-test proved it at the start; ``sandbox_notes`` say
    what keeps that from being higher, and how it is mended. ``access_uri`` is how those who may log in reach it.
    """

    offers: tuple[Offer, ...] = field(metadata={"members": 64})
    machine: Canonical = field(metadata={"members": 100})
    skills: tuple[ProjectSkill, ...] = field(metadata={"members": 200})
    max_builds: int = 1
    host_info: str = field(default="", metadata={"kept": "start"})
    admin: str = field(default="", metadata={"kept": "start"})
    software: str = field(default="", metadata={"most": 200})
    sandbox: SandboxLevel = SandboxLevel.NONE
    sandbox_notes: tuple[str, ...] = field(default=(), metadata={"members": NOTES_MOST, "most": NOTE_LIMIT})
    access_uri: str = field(default="", metadata={"kept": "start"})

    @property
    def evidence(self) -> Evidence:
        """What is known of whatever is built there from now on."""
        return Evidence(self.sandbox)

    def size(self) -> int:
        """Return about how many bytes of memory this takes."""
        pairs = [pair for offer in self.offers for pair in (*offer.platform, *offer.tools, *offer.up_to)]
        texts = sum(_PAIR_BYTES + len(str(value)) for _, value in (*pairs, *self.machine))
        return texts + len(self.host_info) + len(self.admin) + len(self.access_uri) + sum(map(len, self.sandbox_notes))

    def skill(self, project: str) -> ProjectSkill | None:
        """Return what this server announces of ``project``, or None."""
        return next((skill for skill in self.skills if skill.project == project), None)


@frozen
class Server:
    """A build server as the metaserver knows it. ``session`` is the number of its newest login.

    ``strikes`` counts breakages since its last finished build; ``quarantined_until`` is 0 when it is not.
    ``missing_since`` is when contact was lost, 0 for one that is there or said good-bye; ``missing_told`` says that its
    owner was mailed about that. ``paused`` says why its operator lets it take nothing, or is empty, ``finishing`` that
    it is to be noted when it has nothing more; ``draining`` that it finishes what it has and takes nothing more in this
    Session. ``instance`` is the digest of what names the build directory of its newest login, empty for one that does
    not say; ``origin`` the address that login came from. ``used_at`` is when it last began a build, 0 if it never did.
    ``owner`` is the e-mail address of its owner, by the key of its newest login. ``closed``, ``closed_until`` and
    ``away`` are what its owner wishes now, as in ``OwnerNotice``.
    One that is ``forgotten`` is not known any more, and its row goes.
    """

    name: str
    session: int
    capability: Capability
    connected: bool
    since: float
    last_seen: float
    strikes: int = 0
    quarantines: int = 0
    quarantined_until: float = 0.0
    quarantine_reason: str = ""
    missing_since: float = 0.0
    missing_told: bool = False
    paused: str = ""
    finishing: bool = False
    draining: bool = False
    instance: str = ""
    origin: str = ""
    used_at: float = 0.0
    owner: str = ""
    closed: str = ""
    closed_until: float = 0.0
    away: tuple[tuple[float, float], ...] = ()
    forgotten: bool = False

    @property
    def takes(self) -> bool:
        """Whether it may be given builds, if it has a free slot."""
        return self.connected and not (self.quarantined_until or self.paused or self.draining or self.closed)

    def away_until(self, now: float) -> float:
        """Return until when its owner said that it is away, in seconds of wall time; 0 where they did not."""
        return max((ends for begins, ends in self.away if begins <= now < ends), default=0.0)
