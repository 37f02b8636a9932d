"""Frozen values: what is asked, built, stored and offered. Times are wall time in seconds.

docs/architecture.rst lists the words. The test is tests/model/test_keys.py.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from attrs import frozen

from buildtool.model.access.confirmation import UNCONFIRMED
from buildtool.model.access.tokens import Access
from buildtool.model.lifecycle import AttemptEnd, AttemptState, BuildState, JoinReason, RequestState
from buildtool.model.options import Canonical, digest_of
from buildtool.model.servers import OfferKind, Server
from buildtool.model.trust.evidence import ANYTHING, NOTHING_KNOWN, Evidence, EvidencePolicy

__all__ = [
    "AnsweredRequest",
    "Artifact",
    "Attempt",
    "AttemptEnd",
    "AttemptState",
    "AuditEvent",
    "Beat",
    "Build",
    "BuildSpec",
    "BuildState",
    "Demand",
    "ExpiryShift",
    "JoinReason",
    "Mail",
    "Refusal",
    "RememberedFailure",
    "Request",
    "RequestState",
    "Row",
    "ShelfKey",
]


class ShelfKey(NamedTuple):
    """The key of finished work of one kind: everything that an artifact is made from, except the platform.

    A tuple, since each decision looks keys up dozens of times, and a tuple needs no call for its hash.
    """

    project: str
    source: str
    recipe_version: int
    options_digest: str
    revision: str


@frozen
class BuildSpec:
    """The inputs of a Build. ``platform`` is the *required* artifact platform; ``machine`` who can build (no key).

    ``policy`` is the least that has to be known of how it is made.
    """

    project: str
    source: str
    revision: str
    recipe_version: int
    options: Canonical
    platform: Canonical
    machine: Canonical = ()
    native: bool = False
    policy: EvidencePolicy = ANYTHING

    def key(self) -> str:
        """Return the BuildKey: a digest that is equal exactly where the canonical inputs are."""
        own = [self.project, self.recipe_version, self.source, self.revision, self.options, self.platform, self.native]
        return digest_of([*own, *self.policy.demands(), *self.policy.source.marks])

    @cached_property
    def shelf(self) -> ShelfKey:
        """The shelf on which this Build's artifact will stand."""
        # Asked for several times in a decision, and held by the indexes: one digest and one value for all of them.
        return ShelfKey(self.project, self.source, self.recipe_version, digest_of(self.options), self.revision)

    @property
    def demand_class(self) -> tuple[object, ...]:
        """What decides which servers can build it: Builds of one class have the same answer."""
        return (self.project, self.recipe_version, self.platform, self.machine, self.native, self.policy)


@frozen
class Demand:
    """The needs of a Request, complete after defaults: a spec with its exact revision, and which others would do.

    ``acceptable`` lists full commit ids, nearest first; its first is the spec's own revision. ``ref`` and ``revrange``
    are what the requester typed.
    """

    spec: BuildSpec
    ref: str
    revrange: str
    acceptable: tuple[str, ...]

    @property
    def shelves(self) -> tuple[ShelfKey, ...]:
        """The shelves that may hold a satisfying artifact, nearest first."""
        own = self.spec.shelf
        return (own,) if self.acceptable == (own.revision,) else self._shelves

    @cached_property
    def _shelves(self) -> tuple[ShelfKey, ...]:
        # A range has up to two thousand, each decision asks several times, and the indexes hold these very keys.
        own = self.spec.shelf
        return tuple(
            own if revision == own.revision else own._replace(revision=revision) for revision in self.acceptable
        )


@frozen
class Request:
    """A submission that was admitted; ids rise in the order of admission.

    ``answer`` names what was answered at admission; ``joined`` says why it waits for the Build ``build_id``. Requests
    that were made together have consecutive ids: ``group`` is the first, ``group_size`` how many they are. They are
    told by one mail when the last has ended; ``group_due`` says that there is something to tell. ``asker`` is the
    network address it came from, empty for what the farm's own programs asked for. ``share`` is whose turns it takes in
    the order, ``nice`` by how many rounds it is put back, ``base`` the round in which it came, negative before that was
    looked at (``scheduling/order``).
    """

    id: int
    client_id: str
    body_digest: str
    email: str
    demand: Demand
    force: bool
    admitted_at: float
    expires_at: float
    state: RequestState = RequestState.WAITING
    build_id: int | None = None
    joined: JoinReason = JoinReason.OWN
    artifact_id: int | None = None
    answer: str = ""
    reason: str = ""
    ended_at: float | None = None
    group: int | None = None
    group_size: int = 0
    group_due: bool = False
    asker: str = ""
    share: str = ""
    nice: int = 0
    base: float = -1.0

    @property
    def held(self) -> bool:
        """Whether it waits, or waited to its end, until its e-mail address is confirmed."""
        return self.answer == UNCONFIRMED


@frozen
class Build:
    """The work for one BuildKey.

    It stands in the queue where the best-placed of those who wait for it does, whose id is ``place``, and is charged to
    them: ``share``, ``nice`` and ``base`` are theirs. Retries keep its ``tag`` (``scheduling/order``).

    ``broken_on`` names the distinct servers that broke while building, ``failed_on`` those on which the project
    failed, ``failed_platform``, ``failed_kind`` and ``failed_evidence`` what that was seen on. ``epoch`` is the number
    of its last Attempt, ``deciding_epoch`` of the one whose log tells the outcome. ``delays`` counts the retries that
    were due to contact lost before a start; ``not_before`` is when the next may be made, ``started_at`` when a build
    server first took it.
    """

    id: int
    key: str
    spec: BuildSpec
    place: int
    created_at: float
    state: BuildState = BuildState.QUEUED
    epoch: int = 0
    not_before: float = 0.0
    delays: int = 0
    broken_on: tuple[str, ...] = ()
    failed_on: tuple[str, ...] = ()
    forced: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    deciding_epoch: int | None = None
    artifact_id: int | None = None
    reason: str = ""
    failed_platform: Canonical = ()
    failed_kind: OfferKind = OfferKind.NATIVE
    failed_evidence: Evidence = NOTHING_KNOWN
    share: str = ""
    nice: int = 0
    base: float = 0.0
    tag: float = 0.0


@frozen
class Attempt:
    """One execution of a Build on one build server, bound to one ``platform`` that the server offers.

    ``evidence`` is the most that is believed of what it makes: what its server announced at the login in which it was
    given the Build, and no more than that server says once it is made.

    ``suspected`` and ``struck`` say what a missed Lease cost, to be taken back should the Attempt come back: its server
    among those that the Build broke on, and a strike. ``frozen_at`` is since when it stands still, if it does.
    """

    build_id: int
    epoch: int
    server: str
    session: int
    platform: Canonical
    kind: OfferKind
    offered_at: float
    state: AttemptState = AttemptState.OFFERED
    accepted_at: float | None = None
    ended_at: float | None = None
    end: AttemptEnd | None = None
    reason: str = ""
    log_tail: str = ""
    suspected: bool = False
    struck: bool = False
    evidence: Evidence = NOTHING_KNOWN
    frozen_at: float | None = None
    rested: float = 0.0  # seconds that it stood still before, which no limit counts
    processor: float | None = None  # seconds of processors that it used, as far as its server measured them

    @property
    def key(self) -> tuple[int, int]:
        return (self.build_id, self.epoch)


@frozen
class Artifact:
    """A stored output. ``platform`` is what it was really built for; ``digest`` the SHA-256 of its bytes, in hex.

    ``withdrawn`` says why it is no longer given out (its file is gone), or is empty. ``need`` is what its files need,
    as its build server measured them: it may be less than ``platform``, of which it says nothing else.
    """

    id: int
    shelf: ShelfKey
    options: Canonical
    platform: Canonical
    kind: OfferKind
    build_id: int
    epoch: int
    server: str
    digest: str
    content_digest: str
    size: int
    name: str
    built_at: float
    seconds: float = 0.0
    withdrawn: str = ""
    evidence: Evidence = NOTHING_KNOWN
    need: Canonical = ()


@frozen
class RememberedFailure:
    """A final failure of a Build, remembered until ``until``, with its platform and how it was built.

    ``evidence`` is what is known of how: a demand that would not take a success made so is not told the failure.
    """

    build_id: int
    shelf: ShelfKey
    platform: Canonical
    until: float
    reason: str
    kind: OfferKind = OfferKind.NATIVE
    evidence: Evidence = NOTHING_KNOWN


@frozen
class Refusal:
    """A server's no to a Build, or breakage on it, the ``count``-th; remembered until ``until``.

    With a ``count`` of 0 the server said nothing: until then the Build waits for a better one.
    """

    build_id: int
    server: str
    until: float
    reason: str
    count: int = 1


@frozen
class Mail:
    """One mail of the outbox, written in the transaction of the outcome it tells of.

    ``key`` identifies address, Build and outcome; the Message-ID is made from it. The body is rendered from the
    database when the mail is sent. A ``summary`` tells of all Requests that were made together; its outcome is that of
    the one that ended last. One about a ``server`` tells its owner that it is missing; it has no Request. ``asker``
    says against whose share of mails it counts: the network address that the Request came from. One with a
    ``purpose`` (``confirmation.LIVES``) tells a code for its address; it has no Request. One ``about`` a watch, by its
    topic and ref, tells of the binary that the Build made; nor has it one.
    """

    key: str
    email: str
    build_id: int | None
    request_ids: tuple[int, ...]
    outcome: RequestState
    created_at: float
    summary: bool = False
    server: str = ""
    asker: str = ""
    purpose: str = ""
    about: str = ""


@frozen
class Beat:
    """A time at which the metaserver was there, so that the next start knows how long it was not."""

    at: float


@frozen
class ExpiryShift:
    """A delay by so many seconds of when open Requests expire or, with ``failures``, of when those are forgotten.

    It stands for the change of all these rows; what is in memory is changed with it.
    """

    seconds: float
    failures: bool


@frozen
class AuditEvent:
    """One row of the events table: what happened to whom, and the seconds that it took or saved, which are added up."""

    kind: str
    subject: str
    detail: str = ""
    seconds: float = 0.0


@frozen
class AnsweredRequest:
    """A Request that was answered before: its id, the digest of its body, and the answer given."""

    request_id: int
    body_digest: str
    answer: str


Row = Request | Build | Attempt | Server | Refusal | Artifact | RememberedFailure | Mail | Beat | ExpiryShift | Access
"""What a decision writes: each value is the whole row of its kind and key."""
