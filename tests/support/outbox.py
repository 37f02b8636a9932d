"""An outbox in memory, and values to put into it."""

from collections.abc import Sequence

from attrs import define, evolve
from twisted.internet.defer import Deferred

from buildtool.errors import NotFound, StorageUnavailable
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildSpec,
    BuildState,
    Demand,
    Mail,
    Request,
    RequestState,
)
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import TRUSTED_ONLY
from buildtool.ports.metaserver import OutgoingMail

REVISION = "3f2a1b9c4d5e6f708192a3b4c5d6e7f8091a2b3c"
DIGEST = "9b74c9897bac770ffc029102a200c5de8b1a0e6a1f6f4c2b4a5d0e6f7a8b9c0d"
PPC = (
    ("arch", "ppc"),
    ("bits", 32),
    ("byteorder", "big"),
    ("libc", "glibc"),
    ("libc_version", "2.36"),
    ("os", "linux"),
)
OPTIONS = (("lto", True), ("opt", "O2"), ("with", ("readline", "ssl")))
SPEC = BuildSpec("lua", "", REVISION, 3, OPTIONS, PPC, policy=TRUSTED_ONLY)
NAME = "lua-3f2a1b9c4d5e-linux-ppc-0a1b2c3d.zip"
WALL = 1_700_000_000.0


def request(number: int = 17, email: str = "alice@example.org", ref: str = "v5.4", revrange: str = "") -> Request:
    demand = Demand(SPEC, ref, revrange, (REVISION,))
    return Request(number, f"client-{number}", "", email, demand, False, WALL, WALL + 7 * 86_400.0)


def build(state: BuildState = BuildState.SUCCEEDED) -> Build:
    return Build(12, SPEC.key(), SPEC, 17, WALL, state, epoch=1, deciding_epoch=1)


def attempt(epoch: int = 1, server: str = "orion", end: AttemptEnd = AttemptEnd.SUCCEEDED, reason: str = "") -> Attempt:
    made = Attempt(12, epoch, server, 4, PPC, OfferKind.CROSS, WALL + 1, evidence=TRUSTED_ONLY.least)
    return evolve(made, state=AttemptState.ENDED, accepted_at=WALL + 2, ended_at=WALL + 74.2, end=end, reason=reason)


def artifact() -> Artifact:
    return Artifact(
        5, SPEC.shelf, SPEC.options, PPC, OfferKind.CROSS, 12, 1, "orion", DIGEST, "c" * 64, 1_234_567, NAME,
        WALL + 75, 72.2, evidence=TRUSTED_ONLY.least,
    )  # fmt: skip


def outgoing(
    key: str = "12:satisfied:alice@example.org",
    email: str = "alice@example.org",
    outcome: RequestState = RequestState.SATISFIED,
) -> OutgoingMail:
    """Return a mail that tells of a finished build."""
    mail = Mail(key, email, 12, (17,), outcome, WALL)
    return OutgoingMail(mail, build(), (request(email=email),), artifact(), (attempt(),), 0)


@define
class KeptMail:
    """A mail of the outbox in memory: when it is due, and in which digest it is held."""

    mail: OutgoingMail
    due: float = 0.0
    digest: str = ""


class MemoryOutbox:
    """A ``ports.OutboxStore`` in memory. ``broken`` makes every call fail; ``changed`` tells of every mark."""

    def __init__(self, *mails: OutgoingMail) -> None:
        self.waiting: dict[str, KeptMail] = {}
        self.done: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.broken = False
        self._watchers: list[Deferred[str]] = []
        for mail in mails:
            self.put(mail)

    def put(self, mail: OutgoingMail) -> None:
        self.waiting[mail.mail.key] = KeptMail(mail, mail.mail.created_at)

    def changed(self) -> Deferred[str]:
        """Return what fires with the key of the mail that is marked next."""
        watcher: Deferred[str] = Deferred()
        self._watchers.append(watcher)
        return watcher

    async def due(self, now: float, limit: int) -> Sequence[OutgoingMail]:
        self._check()
        found = sorted((one for one in self.waiting.values() if one.due <= now), key=lambda one: one.due)[:limit]
        digests = dict.fromkeys(one.digest for one in found if one.digest)
        return [*(one.mail for one in found if not one.digest), *map(self._digest, digests)]

    def _digest(self, name: str) -> OutgoingMail:
        members = tuple(one.mail for one in self._of(name))
        tries = max(member.tries for member in members)
        return OutgoingMail(evolve(members[0].mail, key=name), None, (), None, (), tries, members=members)

    def _of(self, key: str) -> list[KeptMail]:
        """The mails that a key stands for: those of a digest, or the one of that name."""
        held = [one for one in self.waiting.values() if one.digest == key]
        return held or ([self.waiting[key]] if key in self.waiting else [])

    async def hold(self, keys: Sequence[str], now: float, until: float) -> None:
        self._check()
        for one in self.waiting.values():
            if one.digest in keys:
                one.due = until
        alone = [self.waiting[key] for key in dict.fromkeys(keys) if key in self.waiting]
        for one in sorted(alone, key=lambda one: (one.mail.mail.created_at, one.mail.mail.key)):
            begun = f"digest:{one.mail.mail.key}", until
            one.digest, one.due = self._open_digest(one.mail.mail.email, now) or begun

    def _open_digest(self, email: str, now: float) -> tuple[str, float] | None:
        """Return the digest of an address that is not due and was not tried, and when it is due."""
        for name in dict.fromkeys(one.digest for one in self.waiting.values() if one.mail.mail.email == email):
            members = self._of(name)
            due = min(one.due for one in members)
            if name and due > now and not any(one.mail.tries for one in members):
                return name, due
        return None

    async def next_due(self) -> float | None:
        self._check()
        return min((one.due for one in self.waiting.values()), default=None)

    async def sent(self, key: str, now: float) -> None:
        self._end(key, "sent")

    async def deferred(self, key: str, next_try: float, reason: str) -> None:
        for one in self._marked(key):
            one.due, one.mail = next_try, evolve(one.mail, tries=one.mail.tries + 1)
        self.reasons[key] = reason
        self._tell(key)

    async def refused(self, key: str, now: float, reason: str) -> None:
        self._end(key, "refused")
        self.reasons[key] = reason

    async def withheld(self, keys: Sequence[str], now: float, reason: str) -> None:
        self._check()
        for key in keys:
            if self.waiting.pop(key, None) is not None:
                self.done[key], self.reasons[key] = "withheld", reason

    async def shift(self, seconds: float, now: float, latest: float) -> None:
        self._check()
        for one in self.waiting.values():
            one.due = min(one.due + seconds, latest) if one.mail.tries or one.digest else now

    def _marked(self, key: str) -> list[KeptMail]:
        """The mails that a mark is for: none where all were marked before."""
        self._check()
        found = self._of(key)
        if not found and key not in self.done and key.removeprefix("digest:") not in self.done:
            raise NotFound(f"no mail {key} is in the outbox")
        return found

    def _end(self, key: str, how: str) -> None:
        for one in self._marked(key):
            del self.waiting[one.mail.mail.key]
            self.done[one.mail.mail.key] = how
        self._tell(key)

    def _check(self) -> None:
        if self.broken:
            raise StorageUnavailable("the disk is full")

    def _tell(self, key: str) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(key)
