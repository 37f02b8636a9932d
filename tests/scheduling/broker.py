"""A broker for tests: the real scheduler over a dictionary that stands for the database.

A batch of events is decided, committed and told as the metaserver's shell does it, except that a commit can be made
to fail at any batch. What was told is kept, so that a test can compare it with what is committed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from attrs import define, evolve, field

from buildtool.model.access.confirmation import MailAddress
from buildtool.model.access.identities import Identity, Invitation
from buildtool.model.access.tokens import Token
from buildtool.model.matching.shelves import Shelf, stocked
from buildtool.model.notices.notice import Notice
from buildtool.model.policy import Policy
from buildtool.model.records import (
    AnsweredRequest,
    Artifact,
    Attempt,
    AttemptState,
    AuditEvent,
    Beat,
    Build,
    BuildState,
    ExpiryShift,
    Mail,
    Refusal,
    RememberedFailure,
    Request,
    RequestState,
    Row,
    ShelfKey,
)
from buildtool.model.servers import Capability, Held, Server
from buildtool.scheduling.answers import Answer
from buildtool.scheduling.decide import decide, shelves_needed
from buildtool.scheduling.effects import Dispatch, Effect, RequestMoved
from buildtool.scheduling.events import Event, Registered, Restarted, Tick, submissions
from buildtool.scheduling.state.index import Index
from buildtool.scheduling.state.state import State
from buildtool.scheduling.telling.notices import notices

K = TypeVar("K")
M = TypeVar("M")
R = TypeVar("R", Request, Build, Attempt, Server, Refusal, Artifact, RememberedFailure, Mail)

OPEN_BUILD = (BuildState.QUEUED, BuildState.RUNNING)


def key_of(row: Row) -> tuple[str, object]:  # noqa: C901, PLR0911 - one line a kind
    """Return what identifies a row in the database."""
    match row:
        case Attempt():
            return "Attempt", row.key
        case Server():
            return "Server", row.name
        case Refusal():
            return "Refusal", (row.build_id, row.server)
        case RememberedFailure():
            return "RememberedFailure", row.build_id
        case Mail():
            return "Mail", row.key
        case Beat():
            return "Beat", 0
        case ExpiryShift():
            raise AssertionError("it is no row, but stands for a change of many")
        case Request() | Build() | Artifact():
            return type(row).__name__, row.id
        case Identity():
            return "Identity", row.key
        case Invitation():
            return "Invitation", row.token
        case MailAddress():
            return "MailAddress", row.email
        case Token():
            return "Token", row.digest


def write(rows: dict[tuple[str, object], Row], changes: Iterable[Row]) -> None:
    """Write what was changed, as the database does."""
    changes = list(changes)
    for shift in (change for change in changes if isinstance(change, ExpiryShift)):
        for key, row in list(rows.items()):
            if shift.failures and isinstance(row, RememberedFailure):
                rows[key] = evolve(row, until=row.until + shift.seconds)
            elif not shift.failures and isinstance(row, Request) and row.state is RequestState.WAITING:
                rows[key] = evolve(row, expires_at=row.expires_at + shift.seconds)
    rows.update({key_of(row): row for row in changes if not isinstance(row, ExpiryShift)})
    gone = [key for key, row in rows.items() if isinstance(row, Server) and row.forgotten]
    gone += [key for key, row in rows.items() if isinstance(row, Token) and row.ended]
    for key in gone:
        del rows[key]


def beat_of(rows: Mapping[tuple[str, object], Row]) -> float:
    """Return when the metaserver was last there, as the database has it, or 0."""
    beat = rows.get(("Beat", 0))
    return beat.at if isinstance(beat, Beat) else 0.0


def login(state: State, name: str, capability: Capability, held: Iterable[Held] = (), instance: str = "") -> Registered:
    """Return a login whose predecessor, if one is connected, was asked and did not answer."""
    old = state.servers.get(name)
    silent = old.session if old is not None and old.connected else 0
    return Registered(name, capability, tuple(held), instance, silent=silent)


@define
class TestBroker:
    """State, database and everything that was told. ``mailed`` counts how often a mail of each key was written."""

    __test__ = False

    policies: dict[str, Policy]
    now: float = 1_000.0
    rows: dict[tuple[str, object], Row] = field(factory=dict)
    told: list[Effect] = field(factory=list)
    answers: list[Answer] = field(factory=list)
    dispatched: Counter[tuple[int, int]] = field(factory=Counter)
    notices: list[Notice] = field(factory=list)
    mailed: Counter[str] = field(factory=Counter)
    state: State = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.state = State(self.policies)

    def all(self, kind: type[R]) -> Iterator[R]:
        """Every committed row of a kind."""
        return (row for row in self.rows.values() if isinstance(row, kind))

    def send(self, *events: Event, commit: bool = True) -> list[Answer]:
        """Decide ``events`` as one batch. Without ``commit`` the database refuses it and nothing is told."""
        answers: list[Answer] = []
        effects: list[Effect] = []
        for event in events:
            self._load_for(event)
            decision = decide(self.state, event, self.now)
            answers.append(decision.answer)
            effects.extend(decision.effects)
        if not commit:
            self.state.journal.rollback()
            return []
        self.notices.extend(notices(self.state, self.state.journal.rows(), self.now))
        write(self.rows, self.state.journal.rows())
        self.mailed.update(row.key for row in self.state.journal.rows() if isinstance(row, Mail))
        self.state.committed()
        self.told.extend(effects)
        self.answers.extend(answers)
        self.dispatched.update(
            (effect.attempt.build_id, effect.attempt.epoch) for effect in effects if isinstance(effect, Dispatch)
        )
        return answers

    def advance(self, seconds: float, beat: Callable[[], None] = lambda: None) -> None:
        """Let time pass, with a Tick at every time that the scheduler asks for and one at the end.

        ``beat`` is called before each, so that whoever lives is heard of in time.
        """
        until = self.now + seconds
        while (wake := self.state.timers.next_due(self.now)) is not None and wake <= until:
            self.now = max(self.now, wake)
            beat()
            self.send(Tick())
        self.now = until
        beat()
        self.send(Tick())

    def crash(self) -> None:
        """Lose everything that is not committed, and start again from the database."""
        self.state = self.reloaded()
        self.send(Restarted())

    def reloaded(self) -> State:
        """Return a State made from the committed rows alone."""
        state = State(self.policies)
        state.slots.holding = self.state.slots.holding
        state.beat = beat_of(self.rows)
        builds = [row for row in self.all(Build) if row.state in OPEN_BUILD]
        open_ids = {build.id for build in builds}
        state.load(self.all(Server))
        state.load(builds)
        state.load(row for row in self.all(Request) if row.state is RequestState.WAITING)
        state.load(row for row in self.all(Attempt) if row.state is not AttemptState.ENDED)
        state.load(row for row in self.all(Refusal) if row.build_id in open_ids)
        state.next_numbers = {
            "request": 1 + max((row.id for row in self.all(Request)), default=0),
            "build": 1 + max((row.id for row in self.all(Build)), default=0),
            "artifact": 1 + max((row.id for row in self.all(Artifact)), default=0),
        }
        for name, keys in self.state.slots.unkept.items():  # in no row: whoever has such an artifact says so again
            state.slots.unkept[name] = dict(keys)
            state.slots.note(name)
        return state

    def moves(self, request_id: int) -> list[Request]:
        """What the followers of a Request were told, in order."""
        return [
            effect.request
            for effect in self.told
            if isinstance(effect, RequestMoved) and effect.request.id == request_id
        ]

    def happened(self) -> list[AuditEvent]:
        """Every event row that was committed."""
        return [effect for effect in self.told if isinstance(effect, AuditEvent)]

    def _load_for(self, event: Event) -> None:
        for key in shelves_needed(self.state, event):
            if key not in self.state.shelves.kept:
                self.state.shelves.stock(key, self._shelf(key))
        for client_id in [one.client_id for one in submissions(event) if one.client_id not in self.state.seen]:
            for row in self.all(Request):
                if row.client_id == client_id:
                    self.state.seen[client_id] = AnsweredRequest(row.id, row.body_digest, row.answer)

    def _shelf(self, key: ShelfKey) -> Shelf:
        artifacts = [row for row in self.all(Artifact) if row.shelf == key and not row.withdrawn]
        failures = [row for row in self.all(RememberedFailure) if row.shelf == key and row.until > self.now]
        return stocked(sorted(artifacts, key=lambda row: -row.id), failures)


def fingerprint(state: State) -> dict[str, object]:
    """Return everything in a State that decisions depend on, in a form that can be compared."""
    return {
        "requests": dict(state.requests),
        "builds": dict(state.builds),
        "attempts": dict(state.attempts),
        "servers": dict(state.servers),
        "refusals": dict(state.refusals),
        "keys": dict(state.records.build_by_key),
        "builds_on": _sets(state.records.builds_on),
        "waiting_on": _sets(state.records.waiting_on),
        "wanting": _sets(state.records.wanting),
        "attempts_of": _sets(state.slots.attempts_of),
        "missing_of": _sets(state.records.missing_of),
        "absent": set(state.records.absent),
        "holding": state.slots.holding,
        "refusals_of": _sets(state.records.refusals_of),
        "confirming": set(state.records.confirming),
        "free": set(state.slots.free),
        "queue": {
            name: sorted((tuple(line), offer.kind.value) for line, offer, _ in state.queue.heads(name))
            for name in state.servers
        },
        "waiting": state.queue.waiting(),
        "numbers": dict(state.next_numbers),
    }


def _sets(index: Mapping[K, Mapping[M, None]] | Index[K]) -> dict[K, set[object]]:
    return {key: set(members) for key, members in index.items()}
