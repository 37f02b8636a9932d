"""Build servers and requesters in few words, for tests that tell a story of the scheduler.

Nothing here decides anything: each method sends one event to the broker, as the peer it names would.
"""

from collections.abc import Iterable

from attrs import define, evolve, field

from buildtool.model.options import Canonical
from buildtool.model.policy import Policy
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildSpec,
    BuildState,
    Mail,
    Request,
    RequestState,
)
from buildtool.model.servers import Capability, Held, OwnerNotice, Server, Verdict
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.scheduling.answers import (
    Acknowledged,
    Answer,
    Dispatched,
    HeldVerdicts,
    Hit,
    JoinedBuild,
    KnownFailure,
    Queued,
    SessionOpened,
    WaitReasons,
)
from buildtool.scheduling.effects import Abort
from buildtool.scheduling.events import (
    AttemptAccepted,
    AttemptEnded,
    CancelRequested,
    Delivered,
    Disconnected,
    Event,
    HeldReported,
)
from buildtool.scheduling.state.lease_table import LEASE
from buildtool.scheduling.waiting import why
from tests.scheduling.broker import TestBroker, login
from tests.scheduling.worlds import POLICIES, machine, submitted

Key = tuple[int, int]
NewRequest = Hit | Dispatched | JoinedBuild | Queued | KnownFailure


@define
class Farm:
    """A metaserver with the build servers and requesters of one story."""

    policies: dict[str, Policy] = field(factory=lambda: dict(POLICIES))
    broker: TestBroker = field(init=False)
    clients: int = 0
    files: int = 0
    silent: set[str] = field(factory=set)
    wishes: dict[str, OwnerNotice] = field(factory=dict)
    frozen: set[str] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.broker = TestBroker(self.policies)

    # --- what people and machines do ---------------------------------------------------------------------

    def ask(
        self, wanted: BuildSpec | None = None, *, email: str = "user@example.org", near: int = 0, force: bool = False
    ) -> NewRequest:
        """Somebody asks for a build, with a client id of its own."""
        self.clients += 1
        answer = self.send(submitted(f"client {self.clients}", wanted, email=email, near=near, force=force))
        assert isinstance(answer, NewRequest)
        return answer

    def cancel(self, asked: NewRequest) -> Answer:
        return self.send(CancelRequested(asked.request.id))

    def login(self, name: str, capability: Capability | None = None, held: Iterable[Held] = ()) -> dict[Key, Verdict]:
        """The server logs in with what it holds, and is told what is to become of it."""
        self.silent.discard(name)
        answer = self.send(login(self.broker.state, name, capability or machine(), held))
        assert isinstance(answer, SessionOpened)
        return {(one.build_id, one.epoch): one.verdict for one in answer.verdicts}

    def logout(self, name: str, reason: str = "connection reset", *, clean: bool = False, final: bool = False) -> None:
        """The connection ends; what the server builds may go on there."""
        assert not self.note(Disconnected(name, self.server(name).session, reason, clean, final)).stale

    def lose(self, name: str) -> None:
        """The server goes, and is not heard of until all its Leases have ended."""
        self.logout(name)
        self.pass_time(LEASE)

    def heartbeat(self, name: str, *held: Held) -> dict[Key, Verdict]:
        """The server says what it has, in its newest Session."""
        notice = self.wishes.get(name, OwnerNotice())
        held = tuple(evolve(one, frozen=name in self.frozen) for one in held)
        answer = self.send(HeldReported(name, self.server(name).session, held, notice))
        assert isinstance(answer, HeldVerdicts)
        assert not answer.stale
        return {(one.build_id, one.epoch): one.verdict for one in answer.verdicts}

    def take_back(self, name: str, words: str = "its owner is at the machine", until: float = 0.0) -> None:
        """The owner comes back: what the server builds is frozen, and it says so at once."""
        self.wishes[name] = OwnerNotice(words, until)
        self.frozen.add(name)
        self.heartbeat(name, *(Held(*key) for key in self.broker.state.slots.attempts_of.get(name, ())))

    def lend_again(self, name: str) -> None:
        """The owner leaves, and what was frozen goes on."""
        self.wishes.pop(name, None)
        self.frozen.discard(name)
        self.heartbeat(name, *(Held(*key) for key in self.broker.state.slots.attempts_of.get(name, ())))

    def accept(self, name: str) -> Attempt:
        """The server takes what it was offered last."""
        attempt = self.attempt_on(name)
        assert not self.note(AttemptAccepted(name, attempt.session, *attempt.key)).stale
        return self.attempt(*attempt.key)

    def deliver(
        self, name: str, attempt: Attempt | None = None, sandbox: SandboxLevel | None = None, need: Canonical = ()
    ) -> Artifact:
        """The server uploads the artifact of its Attempt, made in the sandbox that it announced unless told which."""
        attempt = attempt or self.attempt_on(name)
        assert not self.note(evolve(self.delivery(attempt, sandbox), need=need)).stale
        return next(row for row in self.artifacts() if (row.build_id, row.epoch) == attempt.key)

    def end(self, name: str, how: AttemptEnd, reason: str = "it ended", attempt: Attempt | None = None) -> Acknowledged:
        attempt = attempt or self.attempt_on(name)
        return self.note(AttemptEnded(name, attempt.session, *attempt.key, how, reason))

    def fail(self, name: str, reason: str = "make: *** [all] Error 2") -> None:
        """The project's own commands fail on this server."""
        self.accept(name)
        assert not self.end(name, AttemptEnd.FAILED, reason).stale

    def break_down(self, name: str, how: AttemptEnd = AttemptEnd.BROKEN, reason: str = "no disk") -> None:
        """The machine fails while it builds."""
        self.accept(name)
        assert not self.end(name, how, reason).stale

    def delivery(self, attempt: Attempt, sandbox: SandboxLevel | None = None) -> Delivered:
        self.files += 1
        digest = f"{self.files:064x}"
        said = sandbox if sandbox is not None else attempt.evidence.sandbox
        sent = attempt.server, attempt.session, *attempt.key
        return Delivered(*sent, digest, digest, 10, "lua.zip", 2.0, sandbox=said)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; every connected server that is not ``silent`` is heard of all the while."""
        self.broker.advance(seconds, self.beat)

    def beat(self) -> None:
        """Every connected server says that it has what it was given."""
        for server in list(self.broker.state.servers.values()):
            keys = list(self.broker.state.slots.attempts_of.get(server.name, ()))
            if server.connected and server.name not in self.silent and keys:
                self.heartbeat(server.name, *(Held(*key) for key in keys))

    # --- what the database says --------------------------------------------------------------------------

    def request(self, asked: NewRequest) -> Request:
        """The Request as it is committed now."""
        row = self.broker.rows["Request", asked.request.id]
        assert isinstance(row, Request)
        return row

    def state(self, asked: NewRequest) -> RequestState:
        return self.request(asked).state

    def build_of(self, asked: NewRequest) -> Build:
        """The Build that the Request waits for now, or that decided it."""
        build_id = self.request(asked).build_id
        assert build_id is not None
        return self.build(build_id)

    def build(self, build_id: int) -> Build:
        row = self.broker.rows["Build", build_id]
        assert isinstance(row, Build)
        return row

    def attempt(self, build_id: int, epoch: int) -> Attempt:
        row = self.broker.rows["Attempt", (build_id, epoch)]
        assert isinstance(row, Attempt)
        return row

    def attempt_on(self, name: str) -> Attempt:
        """The newest live Attempt of a server."""
        live = [row for row in self.attempts() if row.server == name and row.state is not AttemptState.ENDED]
        assert live, f"{name} builds nothing"
        return max(live, key=lambda row: row.key)

    def server(self, name: str) -> Server:
        row = self.broker.rows["Server", name]
        assert isinstance(row, Server)
        return row

    def running_on(self, asked: NewRequest) -> str:
        """The server on which the Request's Build runs, or "" when it waits."""
        build = self.build_of(asked)
        return self.attempt(build.id, build.epoch).server if build.state is BuildState.RUNNING else ""

    def attempts(self) -> list[Attempt]:
        return [row for row in self.broker.rows.values() if isinstance(row, Attempt)]

    def artifacts(self) -> list[Artifact]:
        return [row for row in self.broker.rows.values() if isinstance(row, Artifact)]

    def mails(self) -> list[Mail]:
        return [row for row in self.broker.rows.values() if isinstance(row, Mail)]

    def mailed(self) -> list[tuple[str, RequestState]]:
        """Whom a mail was written to, and what it tells, in order."""
        return sorted(((mail.email, mail.outcome) for mail in self.mails()), key=lambda told: (told[0], told[1].value))

    def ends_told(self, asked: NewRequest) -> list[RequestState]:
        """Every end of the Request that its follower was told."""
        moves = self.broker.moves(asked.request.id)
        return [request.state for request in moves if request.state is not RequestState.WAITING]

    def aborts(self) -> list[tuple[str, int, int]]:
        """Which Attempts were told to stop: server, build and epoch of each."""
        told = self.broker.told
        return [(effect.server, effect.build_id, effect.epoch) for effect in told if isinstance(effect, Abort)]

    def why(self, asked: NewRequest) -> WaitReasons:
        return why(self.broker.state, self.build_of(asked), self.broker.now)

    # --- sending -----------------------------------------------------------------------------------------

    def send(self, event: Event) -> Answer:
        (answer,) = self.broker.send(event)
        return answer

    def note(self, event: Event) -> Acknowledged:
        answer = self.send(event)
        assert isinstance(answer, Acknowledged)
        return answer


def begun() -> tuple[Farm, NewRequest, Attempt]:
    """Return a farm, what was asked for there, and the Attempt with which its one server, anna, has begun."""
    farm = Farm()
    farm.login("anna")
    return farm, farm.ask(), farm.accept("anna")
