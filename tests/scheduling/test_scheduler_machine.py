"""The scheduler against the invariants of the design, whatever happens in whatever order, with commits that fail."""

from collections import Counter

import hypothesis.strategies as st
from attrs import evolve
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from buildtool.model.access.audience import read_audience
from buildtool.model.matching.reasons import Cause
from buildtool.model.matching.satisfaction import making_satisfies, satisfies
from buildtool.model.options import canonical
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildSpec,
    BuildState,
    JoinReason,
    Mail,
    RememberedFailure,
    Request,
    RequestState,
)
from buildtool.model.servers import Capability, Held, HeldState, HeldVerdict, Offer, Server, Verdict
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.scheduling.answers import (
    Acknowledged,
    Answer,
    AnsweredTogether,
    ConflictingSubmission,
    Dispatched,
    ExplainedAnswer,
    HeldVerdicts,
    Hit,
    JoinedBuild,
    KnownFailure,
    Queued,
    RepeatedSubmission,
    SessionOpened,
    WaitReasons,
)
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.dispatching import capable_elsewhere, may_take
from buildtool.scheduling.effects import Dispatch, MailWritten, RequestMoved
from buildtool.scheduling.events import (
    ArtifactGone,
    ArtifactUnkept,
    AskedWhy,
    AttemptAccepted,
    AttemptEnded,
    BuildAborted,
    CancelRequested,
    ClockStepped,
    Delivered,
    Disconnected,
    DispatchHeld,
    DrainBegun,
    Event,
    Explain,
    HeldReported,
    Reconfigured,
    Registered,
    ServerDrained,
    ServerPaused,
    ServerResumed,
    Submitted,
    SubmittedTogether,
    Tick,
    submissions,
)
from buildtool.scheduling.explain import explain_open
from buildtool.scheduling.order.rounds import Place, place_of
from buildtool.scheduling.order.tags import SPARING
from buildtool.scheduling.state.timers import TimerKind
from buildtool.scheduling.waiting import why
from tests.scheduling import worlds
from tests.scheduling.broker import OPEN_BUILD, R, TestBroker, fingerprint, login
from tests.scheduling.worlds import machine, spec, submitted
from tests.support.lanes import examples

POLICY = evolve(worlds.POLICY, strikes=2)
SERVERS = ("anna", "bert", "carl", "dora")
SPARES = ("emil", "fred", "gina", "hugo")
CAPABILITIES = st.sampled_from(
    [
        machine(),
        machine(max_builds=2),
        machine(cross=("ppc",)),
        machine(arch="ppc", libc_version="2.31"),
        machine(libc_version="2.31", sandbox=SandboxLevel.WEAK),
        machine(memory=512),
        machine(sandbox=SandboxLevel.STRICT),
    ]
)
ALL_ROUND = machine(cross=("ppc",), libc_version="2.17", sandbox=SandboxLevel.STRICT)
PLATFORMS = st.sampled_from(
    [
        {"os": "linux", "arch": "x86_64"},
        {"os": "linux", "arch": "ppc"},
        {"os": "linux"},
        {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.31"},
    ]
)
SPECS = st.builds(
    lambda revision, jit, platform, memory, sandbox: spec(
        revision, jit=jit, machine={"memory": memory} if memory else None, platform=platform, sandbox=sandbox
    ),
    st.integers(0, 3),
    st.sampled_from([False, False, True]),
    PLATFORMS,
    st.sampled_from([0, 0, 0, 1024]),
    st.sampled_from([SandboxLevel.NONE] * 4 + [SandboxLevel.WEAK, SandboxLevel.STRICT]),
)
MACHINE_ENDS = [AttemptEnd.REFUSED, AttemptEnd.RETURNED, AttemptEnd.BROKEN, AttemptEnd.LIMITED, AttemptEnd.LOST]
SUSPECT_ENDS = [AttemptEnd.BROKEN, AttemptEnd.LIMITED, AttemptEnd.LOST]
HOW = ["deliver", "deliver", "deliver", "fail", "fail", "break", "mistake"]
COMMITS = st.sampled_from([True, True, True, True, False])
EMAILS = st.sampled_from(["ann@example.org", "bob@example.org"])
OPERATOR = "aborted by the operator"
PAUSE = 6
"""So many steps lie between two of the events that sweep everything else away: restarts, and the longest times."""


VERDICTS: dict[str, type[Answer]] = {
    "hit": Hit,
    "joined": JoinedBuild,
    "dispatched": Dispatched,
    "queued": Queued,
    "known-failure": KnownFailure,
}


class SchedulerMachine(RuleBasedStateMachine):
    """Requesters, build servers and a database that may refuse, in every order."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = TestBroker({"lua": POLICY}, now=1_000_000.0)
        self.clients = 0
        self.digests = 0
        self.steps = 0
        self.given: set[tuple[int, int]] = set()
        self.swept = 0
        self.finally_told: Counter[int] = Counter()
        self.written = 0
        self.artifacts_before: dict[int, int] = {}
        self.known_failures: list[RememberedFailure] = []
        self.silent: set[str] = set()
        self.set_back = False
        self.looked_at: set[int] = set()

    # --- what can happen ---------------------------------------------------------------------------------

    @initialize(
        capabilities=st.lists(CAPABILITIES, min_size=1, max_size=3),
        wanted=st.lists(st.tuples(SPECS, st.integers(0, 1), EMAILS), max_size=5),
        servers_first=st.booleans(),
    )
    def begin(
        self, capabilities: list[Capability], wanted: list[tuple[BuildSpec, int, str]], servers_first: bool
    ) -> None:
        """A morning: some servers are there and some requests, in either order."""
        logins: list[Event] = [Registered(name, found) for name, found in zip(SERVERS, capabilities, strict=False)]
        asked: list[Event] = [self.submission(one, near, False, email) for one, near, email in wanted]
        self.send(*(logins + asked if servers_first else asked + logins))

    @rule(wanted=SPECS, near=st.integers(0, 2), force=st.sampled_from([False, False, False, True]), email=EMAILS,
          again=st.booleans(), commit=COMMITS)  # fmt: skip
    def submit(self, wanted: BuildSpec, near: int, force: bool, email: str, again: bool, commit: bool) -> None:
        event = self.submission(wanted, near, force, email)
        before = fingerprint(self.broker.state)
        (explained,) = self.send(Explain(event.demand, force))
        assert fingerprint(self.broker.state) == before, "asking what would be answered changes nothing"
        batch = (event, event) if again else (event,)
        answers = self.send(*batch, commit=commit)
        if commit:
            assert isinstance(explained, ExplainedAnswer)
            assert VERDICTS[explained.verdict] is type(answers[0]), "and it is what is answered then"
        if commit and again:
            _, second = answers
            assert isinstance(second, RepeatedSubmission)
            assert second.request_id == self.broker.state.next_numbers["request"] - 1
            assert second.answer == self.row(Request, second.request_id).answer

    @rule(wanted=st.lists(SPECS, min_size=2, max_size=3), near=st.integers(0, 1), email=EMAILS, commit=COMMITS)
    def submit_several_together(self, wanted: list[BuildSpec], near: int, email: str, commit: bool) -> None:
        items = tuple(self.submission(one, near, False, email) for one in wanted)
        self.send(SubmittedTogether(items), commit=commit)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), platform=PLATFORMS, same=st.booleans(), near=st.integers(0, 1), email=EMAILS, commit=COMMITS)
    def submit_something_like_it(
        self, data: st.DataObject, platform: dict[str, str], same: bool, near: int, email: str, commit: bool
    ) -> None:
        """What somebody asked for before, or that for another platform: hits, joins and remembered failures."""
        asked = {row.id: row.demand.spec for row in self.broker.all(Request)}
        if asked:
            wanted = asked[data.draw(st.sampled_from(sorted(asked)))]
            wanted = wanted if same else evolve(wanted, platform=canonical(platform))
            self.send(self.submission(wanted, near, False, email), commit=commit)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), same=st.booleans())
    def resend(self, data: st.DataObject, same: bool) -> None:
        client = f"c{data.draw(st.integers(1, self.clients))}"
        known = {row.client_id: row for row in self.broker.all(Request)}
        self.digests += 1
        other = f"other {self.digests}"
        event = submitted(client, body=known[client].body_digest if same and client in known else other)
        (answer,) = self.send(event)
        if client in known:
            assert isinstance(answer, RepeatedSubmission if same else ConflictingSubmission)
            assert answer.request_id == known[client].id
        else:
            assert not isinstance(answer, RepeatedSubmission | ConflictingSubmission), "that was never committed"

    @precondition(lambda self: self.broker.state.requests)
    @rule(data=st.data(), commit=COMMITS)
    def cancel(self, data: st.DataObject, commit: bool) -> None:
        """Mostly one that waits, now and then any that there ever was."""
        waiting = sorted(self.broker.state.requests)
        known = sorted(row.id for row in self.broker.all(Request))
        chosen = data.draw(st.sampled_from(waiting * 3 + known))
        self.send(CancelRequested(chosen), commit=commit)
        if commit and chosen in waiting:
            assert self.row(Request, chosen).state is RequestState.CANCELLED

    @precondition(lambda self: len(self.away()) > 1)
    @rule(data=st.data(), capability=CAPABILITIES, commit=COMMITS)
    def register(self, data: st.DataObject, capability: Capability, commit: bool) -> None:
        name = data.draw(st.sampled_from(self.away()))
        self.login(name, capability, data, commit=commit)

    @precondition(lambda self: self.steps % 4 == 0)
    @rule(data=st.data(), name=st.sampled_from(SERVERS), capability=CAPABILITIES, commit=COMMITS)
    def register_again(self, data: st.DataObject, name: str, capability: Capability, commit: bool) -> None:
        """A login while the older Session is still believed to be there."""
        self.login(name, capability, data, commit=commit)

    @precondition(lambda self: self.broker.state.records.missing_of)
    @rule(data=st.data(), capability=CAPABILITIES, done=st.booleans())
    def come_back_late(self, data: st.DataObject, capability: Capability, done: bool) -> None:
        """A server returns with something whose Lease has ended, and delivers if it may."""
        missing = [key for keys in self.broker.state.records.missing_of.values() for key in keys]
        key = data.draw(st.sampled_from(sorted(missing)))
        name = self.row(Attempt, key).server
        held = Held(*key, HeldState.DONE if done else HeldState.BUILDING)
        (answer,) = self.send(login(self.broker.state, name, capability, (held,)))
        self.silent.discard(name)
        assert isinstance(answer, SessionOpened)
        self.check_verdicts(name, (held,), answer.verdicts)
        if answer.verdicts[0].verdict is Verdict.DELIVER:
            build = self.row(Build, key[0])
            assert self.send(self.delivery(self.row(Attempt, key))) == [Acknowledged()]
            assert self.row(Build, build.id).state is BuildState.SUCCEEDED

    @precondition(lambda self: any(server.connected for server in self.broker.state.servers.values()))
    @rule(data=st.data(), commit=COMMITS)
    def heartbeat(self, data: st.DataObject, commit: bool) -> None:
        """Perhaps of less than it was given, perhaps of what is long over."""
        servers = self.broker.state.servers
        name = data.draw(st.sampled_from(sorted(name for name in servers if servers[name].connected)))
        held = self.some_held(name, data)
        answers = self.send(HeldReported(name, servers[name].session, held), commit=commit)
        if commit:
            (answer,) = answers
            assert isinstance(answer, HeldVerdicts)
            assert not answer.stale
            self.check_verdicts(name, held, answer.verdicts)

    @rule(name=st.sampled_from(SERVERS))
    def fall_silent(self, name: str) -> None:
        """It is not heard of from now on, though its connection may stay open."""
        self.silent.add(name)

    @rule(seconds=st.sampled_from([-3_600.0, -100.0, 100.0, 3_600.0]))
    def the_clock_is_set(self, seconds: float) -> None:
        before = self.waits()
        self.broker.now += seconds
        self.set_back = self.set_back or seconds < 0
        self.send(ClockStepped(seconds))
        after = self.waits()
        changed = {what: (before.get(what), after.get(what)) for what in before.keys() | after.keys()}
        changed = {what: both for what, both in changed.items() if both[0] != both[1]}
        assert not changed, f"whatever waits for a time waits as long as it would have: {changed}"
        self.advance(0.0)
        self.count_ends()

    @rule(
        name=st.sampled_from(SERVERS),
        what=st.sampled_from(["pause", "finish", "resume", "resume", "drain"]),
        commit=COMMITS,
    )
    def the_operator_and_owners_have_a_hand_in_it(self, name: str, what: str, commit: bool) -> None:
        server = self.broker.state.servers.get(name)
        session = server.session if server is not None else 0
        acts: dict[str, Event] = {
            "pause": ServerPaused(name, "by hand"),
            "finish": ServerDrained(name, "its disk is replaced"),
            "resume": ServerResumed(name),
            "drain": DrainBegun(name, session, "its owner wants it"),
        }
        self.send(acts[what], commit=commit)
        if self.broker.state.slots.holding:
            self.send(DispatchHeld(held=False))

    @precondition(lambda self: self.steps % 8 == 0)
    @rule(commit=COMMITS)
    def hold_everything(self, commit: bool) -> None:
        self.send(DispatchHeld(held=True), commit=commit)

    @precondition(lambda self: self.steps % 8 == 0)
    @rule()
    def reload_options_and_take_that_back(self) -> None:
        """With other options no machine can build anything; what waits to be confirmed fails then."""
        for policy in (evolve(POLICY, options_digest="0" * 64), self.broker.policies["lua"]):
            self.broker.policies = {"lua": policy}
            self.broker.state.reconfigure(self.broker.policies)
            self.send(Reconfigured())

    @precondition(lambda self: self.steps % 4 == 0)
    @rule(who=st.sampled_from(["everybody", "everybody", *SERVERS[:2]]))
    def let_some_build_only(self, who: str) -> None:
        self.given = {attempt.key for attempt in self.broker.all(Attempt)}
        self.broker.policies = {"lua": evolve(POLICY, may_build=read_audience(who))}
        self.broker.state.reconfigure(self.broker.policies)
        self.send(Reconfigured())

    @invariant()
    def nothing_is_given_to_who_may_not_build_it(self) -> None:
        may = self.broker.policies["lua"].may_build
        given = [attempt for attempt in self.broker.all(Attempt) if attempt.key not in self.given]
        assert all(may.has(attempt.server, "") for attempt in given)

    @precondition(lambda self: self.steps % 3 == 0 and self.broker.state.builds)
    @rule(data=st.data(), commit=COMMITS)
    def abort_a_build(self, data: st.DataObject, commit: bool) -> None:
        build_id = data.draw(st.sampled_from(sorted(self.broker.state.builds)))
        self.send(BuildAborted(build_id, OPERATOR), commit=commit)
        if commit:
            assert self.row(Build, build_id).state is BuildState.CANCELLED

    @precondition(lambda self: any(server.connected for server in self.broker.state.servers.values()))
    @rule(data=st.data(), stale=st.sampled_from([0, 0, 1]), clean=st.booleans(), final=st.booleans(), commit=COMMITS)
    def disconnect(self, data: st.DataObject, stale: int, clean: bool, final: bool, commit: bool) -> None:
        servers = self.broker.state.servers
        name = data.draw(st.sampled_from(sorted(name for name in servers if servers[name].connected)))
        left = Disconnected(name, servers[name].session - stale, "gone", clean, final and clean)
        answers = self.send(left, commit=commit)
        assert answers in ([], [Acknowledged(stale=bool(stale))])
        if answers and left.final and not stale:
            assert name not in {attempt.server for attempt in self.broker.state.attempts.values()}

    @precondition(lambda self: self.reachable(AttemptState.OFFERED))
    @rule(data=st.data(), commit=COMMITS)
    def accept(self, data: st.DataObject, commit: bool) -> None:
        attempt = self.an_attempt(data, AttemptState.OFFERED)
        self.send(self.acceptance(attempt), commit=commit)
        if commit:
            assert self.row(Attempt, attempt.key).state is AttemptState.BUILDING

    @precondition(lambda self: self.reachable(AttemptState.OFFERED, AttemptState.BUILDING))
    @rule(data=st.data(), twice=st.booleans(), commit=COMMITS)
    def deliver(self, data: st.DataObject, twice: bool, commit: bool) -> None:
        attempt = self.an_attempt(data, AttemptState.OFFERED, AttemptState.BUILDING)
        event = self.delivery(attempt)
        answers = self.send(*((event, event) if twice else (event,)), commit=commit)
        if commit:
            assert answers == [Acknowledged(), Acknowledged(stale=True)][: len(answers)]
            assert self.row(Build, attempt.build_id).state is BuildState.SUCCEEDED
            (made,) = [row for row in self.broker.all(Artifact) if (row.build_id, row.epoch) == attempt.key]
            assert (made.platform, made.kind) == (attempt.platform, attempt.kind)

    @precondition(lambda self: self.reachable(*AttemptState))
    @rule(data=st.data(), commit=COMMITS)
    def find_no_room(self, data: st.DataObject, commit: bool) -> None:
        """An artifact that the metaserver has no place for releases the slot that its Attempt has, and no other."""
        attempt = data.draw(st.sampled_from(self.reachable(*AttemptState)))
        self.send(ArtifactUnkept(attempt.server, attempt.session, *attempt.key, "no space left"), commit=commit)

    @precondition(lambda self: self.reachable(AttemptState.OFFERED, AttemptState.BUILDING))
    @rule(data=st.data(), commit=COMMITS)
    def fail(self, data: st.DataObject, commit: bool) -> None:
        attempt = self.an_attempt(data, AttemptState.OFFERED, AttemptState.BUILDING)
        self.send(self.ending(attempt, AttemptEnd.FAILED, "make: error 2"), commit=commit)
        if commit:
            build = self.row(Build, attempt.build_id)
            assert attempt.server in build.failed_on or build.state is BuildState.CANCELLED
            assert len(build.failed_on) <= 1 + POLICY.confirm_failures

    @precondition(lambda self: self.reachable(AttemptState.OFFERED, AttemptState.BUILDING))
    @rule(data=st.data(), commit=COMMITS)
    def be_mistaken(self, data: st.DataObject, commit: bool) -> None:
        """What no machine could make ends at once, costs no machine anything, and is not remembered."""
        attempt = self.an_attempt(data, AttemptState.OFFERED, AttemptState.BUILDING)
        servers, remembered = list(self.broker.all(Server)), list(self.broker.all(RememberedFailure))
        self.send(self.ending(attempt, AttemptEnd.MISTAKEN, "NameError in config.py:3"), commit=commit)
        strikes = {row.name: (row.strikes, row.quarantines, row.quarantined_until) for row in self.broker.all(Server)}
        assert strikes == {row.name: (row.strikes, row.quarantines, row.quarantined_until) for row in servers}
        assert list(self.broker.all(RememberedFailure)) == remembered
        if commit:
            build = self.row(Build, attempt.build_id)
            assert (build.state, build.deciding_epoch) == (BuildState.FAILED, attempt.epoch)

    @precondition(lambda self: self.reachable(AttemptState.OFFERED, AttemptState.BUILDING))
    @rule(data=st.data(), how=st.sampled_from(MACHINE_ENDS), began=st.booleans(), commit=COMMITS)
    def break_down(self, data: st.DataObject, how: AttemptEnd, began: bool, commit: bool) -> None:
        attempt = self.an_attempt(data, AttemptState.OFFERED, AttemptState.BUILDING)
        if began and attempt.state is AttemptState.OFFERED:
            self.send(self.acceptance(attempt))
        before = self.row(Build, attempt.build_id)
        began = began or attempt.state is AttemptState.BUILDING
        self.send(self.ending(attempt, how, "the machine"), commit=commit)
        if commit:
            build = self.row(Build, attempt.build_id)
            suspect = {attempt.server} if began and how in SUSPECT_ENDS else set()
            assert set(build.broken_on) == set(before.broken_on) | suspect
            assert (build.delays > before.delays) == (how is AttemptEnd.LOST and not began)

    @precondition(lambda self: self.reachable(AttemptState.OFFERED, AttemptState.BUILDING))
    @rule(data=st.data(), how=st.sampled_from(SUSPECT_ENDS))
    def break_on_one_machine_after_the_other(self, data: st.DataObject, how: AttemptEnd) -> None:
        """A Build that kills what builds it: with enough machines about, it is given up after three."""
        build_id = self.an_attempt(data, AttemptState.OFFERED, AttemptState.BUILDING).build_id
        for name in SPARES:
            build = self.broker.state.builds.get(build_id)
            if build is None:
                break
            attempt = self.broker.state.running_attempt(build)
            if attempt is None:
                self.send(login(self.broker.state, name, ALL_ROUND))
                continue
            if attempt not in self.reachable(attempt.state):
                self.send(login(self.broker.state, attempt.server, ALL_ROUND))
                continue
            if attempt.state is AttemptState.OFFERED:
                self.send(self.acceptance(attempt))
            self.send(self.ending(attempt, how, "the machine"))
        for name in SPARES:
            server = self.broker.state.servers.get(name)
            if server is not None and server.connected:
                self.send(Disconnected(name, server.session, "it was lent for an hour"))
        ended = self.row(Build, build_id)
        if len(ended.broken_on) >= POLICY.breakages:
            assert ended.state is BuildState.UNBUILDABLE
            assert all(name in ended.reason for name in ended.broken_on)

    @precondition(lambda self: self.reachable(AttemptState.OFFERED, AttemptState.BUILDING))
    @rule(data=st.data(), wanted=SPECS, near=st.integers(0, 1), commit=COMMITS)
    def much_at_once(self, data: st.DataObject, wanted: BuildSpec, near: int, commit: bool) -> None:
        """One batch: every live Attempt ends in its own way, and somebody asks in between."""
        batch: list[Event] = []
        for attempt in self.reachable(AttemptState.OFFERED, AttemptState.BUILDING):
            how = data.draw(st.sampled_from(HOW))
            if how == "deliver":
                batch.append(self.delivery(attempt))
            elif how == "fail":
                batch.append(self.ending(attempt, AttemptEnd.FAILED, "make: error 2"))
            elif how == "mistake":
                batch.append(self.ending(attempt, AttemptEnd.MISTAKEN, "NameError"))
            else:
                batch += [self.acceptance(attempt), self.ending(attempt, AttemptEnd.BROKEN, "the machine")]
        batch.insert(data.draw(st.integers(0, len(batch))), self.submission(wanted, near, False, "cid@example.org"))
        self.send(*batch, commit=commit)

    @precondition(lambda self: self.reachable(AttemptState.ABORTING))
    @rule(data=st.data(), late=st.booleans(), commit=COMMITS)
    def end_an_aborted_one(self, data: st.DataObject, late: bool, commit: bool) -> None:
        attempt = self.an_attempt(data, AttemptState.ABORTING)
        made = len(list(self.broker.all(Artifact)))
        event = self.delivery(attempt) if late else self.ending(attempt, AttemptEnd.ABORTED, "as told")
        self.send(event, commit=commit)
        assert len(list(self.broker.all(Artifact))) == made
        if commit:
            assert self.row(Attempt, attempt.key).end is AttemptEnd.ABORTED

    @precondition(lambda self: any(True for _ in self.broker.all(Attempt)))
    @rule(data=st.data())
    def stale_report(self, data: st.DataObject) -> None:
        """Reports of ended Attempts, of other Sessions and in another's name change nothing."""
        key = data.draw(st.sampled_from(sorted(row.key for row in self.broker.all(Attempt))))
        attempt = self.row(Attempt, key)
        before = fingerprint(self.broker.state)
        lies: list[Event] = [
            Delivered(attempt.server, attempt.session + 1, *attempt.key, "d", "c", 1, "a.zip", 1.0),
            AttemptEnded("stranger", attempt.session, *attempt.key, AttemptEnd.FAILED, "lie"),
            AttemptAccepted(attempt.server, attempt.session, attempt.build_id, attempt.epoch + 1_000),
        ]
        if attempt.state is AttemptState.ENDED:
            lies += [self.delivery(attempt), self.ending(attempt, AttemptEnd.FAILED, "late"), self.acceptance(attempt)]
        assert self.send(*lies) == [Acknowledged(stale=True)] * len(lies)
        assert fingerprint(self.broker.state) == before

    @precondition(lambda self: any(not row.withdrawn for row in self.broker.all(Artifact)))
    @rule(data=st.data(), commit=COMMITS)
    def lose_a_file(self, data: st.DataObject, commit: bool) -> None:
        artifacts = {row.id: row for row in self.broker.all(Artifact) if not row.withdrawn}
        gone = artifacts[data.draw(st.sampled_from(sorted(artifacts)))]
        self.send(ArtifactGone(gone, "its file is absent"), commit=commit)

    @rule(seconds=st.sampled_from([0.5, 1.0, 15.0, 100.0, 700.0]), commit=COMMITS)
    def time_passes(self, seconds: float, commit: bool) -> None:
        """Where the database refuses what a Tick decided, the next one decides it again."""
        if not commit:
            self.broker.now += seconds
            self.send(Tick(), commit=False)
            seconds = 0.0
        self.advance(seconds)
        self.count_ends()

    @rule()
    def memory_gets_short(self) -> None:
        """Shelves may be dropped at any time; they are loaded again when an event needs them."""
        self.broker.state.shelves.kept.clear()

    @precondition(lambda self: self.steps > self.swept + PAUSE)
    @rule(seconds=st.sampled_from([6_000.0, 90_000.0]), looked=st.booleans())
    def much_time_passes(self, seconds: float, looked: bool) -> None:
        """So much that everything queued expires; perhaps nobody looks at the clock meanwhile."""
        self.swept = self.steps
        if not looked:
            self.broker.now += seconds
        self.advance(seconds if looked else 0.0)
        self.count_ends()

    @precondition(lambda self: self.steps > self.swept + PAUSE)
    @rule()
    def crash_and_restart(self) -> None:
        self.swept = self.steps
        self.broker.crash()
        self.count_ends()
        assert not any(server.connected for server in self.broker.state.servers.values())

    # --- what must always hold ---------------------------------------------------------------------------

    @invariant()
    def memory_is_what_the_database_says(self) -> None:
        self.steps += 1
        mine, theirs = fingerprint(self.broker.state), fingerprint(self.broker.reloaded())
        assert mine == theirs

    @invariant()
    def loaded_shelves_are_what_the_database_says(self) -> None:
        for key, shelf in self.broker.state.shelves.kept.items():
            theirs = self.broker._shelf(key)
            assert shelf.artifacts == theirs.artifacts
            if not self.set_back:  # else what was not remembered any more when it was loaded may be so again
                assert {row.build_id for row in shelf.failures} >= {row.build_id for row in theirs.failures}

    @invariant()
    def every_ended_request_was_told_once_and_every_open_one_waits_for_an_open_build(self) -> None:
        for request in self.broker.all(Request):
            if request.state is RequestState.WAITING:
                assert self.finally_told[request.id] == 0
                assert request.build_id is not None
                assert self.row(Build, request.build_id).state in OPEN_BUILD
            else:
                assert self.finally_told[request.id] == 1, request

    @invariant()
    def mail_is_written_with_every_end_that_was_not_answered_at_once(self) -> None:
        mailed = Counter(rid for mail in self.broker.all(Mail) for rid in mail.request_ids)
        groups: dict[object, list[Request]] = {}
        for request in self.broker.all(Request):
            groups.setdefault(request.group or ("alone", request.id), []).append(request)
        for members in groups.values():
            waits = any(one.state is RequestState.WAITING for one in members)
            told = not waits and any(self.is_news(one) for one in members)
            assert [mailed[one.id] for one in members] == [int(told)] * len(members), members
        for mail in self.broker.all(Mail):
            for request_id in mail.request_ids:
                request = self.row(Request, request_id)
                about = (mail.outcome, mail.build_id)
                assert mail.email == request.email
                assert mail.summary or about == (request.state, request.build_id)

    @staticmethod
    def is_news(request: Request) -> bool:
        """Whether the end of a Request is mailed: its requester neither was answered with it nor said it themselves."""
        at_once = request.answer in ("hit", "known-failure")
        return not at_once and (request.state is not RequestState.CANCELLED or request.reason == OPERATOR)

    @invariant()
    def an_attempt_is_on_a_server_that_can_build_it_and_epochs_are_never_shared(self) -> None:
        assert all(count == 1 for count in self.broker.dispatched.values())
        for attempt in self.attempts(AttemptState.OFFERED, AttemptState.BUILDING):
            assert self.broker.state.builds[attempt.build_id].epoch == attempt.epoch
            server = self.broker.state.servers[attempt.server]
            assert attempt.session == server.session or not server.connected, "what is not brought along is lost"

    @invariant()
    def whoever_is_to_finish_has_something_left(self) -> None:
        for server in self.broker.state.servers.values():
            assert not server.finishing or (server.paused and self.broker.state.slots.attempts_of.get(server.name))

    @invariant()
    def whoever_is_believed_to_build_has_a_lease_that_will_be_looked_at(self) -> None:
        state = self.broker.state
        live = {row.key for row in self.attempts(AttemptState.OFFERED, AttemptState.BUILDING, AttemptState.ABORTING)}
        assert state.leases.of.keys() == live
        for key, lease in state.leases.of.items():
            assert state.timers.due[TimerKind.LEASE, key] == lease.until

    @invariant()
    def open_builds_have_keys_of_their_own_and_somebody_who_waits(self) -> None:
        builds = [row for row in self.broker.all(Build) if row.state in OPEN_BUILD]
        assert len({build.key for build in builds}) == len(builds)
        waited_for = {row.build_id for row in self.broker.all(Request) if row.state is RequestState.WAITING}
        assert {build.id for build in builds} <= waited_for

    @invariant()
    def each_build_is_charged_to_one_who_waits_for_it(self) -> None:
        """Whatever joined it, left it or was admitted anew meanwhile."""
        state = self.broker.state
        for build in state.builds.values():
            assert build.place in state.records.waiting_on.get(build.id)
            charged = state.requests[build.place]
            assert (build.share, build.nice, build.base) == (charged.share, charged.nice, charged.base)
            assert 0 <= build.base <= build.tag

    @invariant()
    def what_competes_and_what_is_open_there_is_what_a_plain_count_finds(self) -> None:
        state = self.broker.state
        builds = list(state.builds.values())
        capable = {build.id: state.queue.capable(build).keys() for build in builds}
        for build in builds:
            mine, rounds = capable[build.id], state.queue.rounds
            near = [one for one in builds if not mine or not mine.isdisjoint(capable[one.id])]
            classes = {one.spec.demand_class for one in near}
            assert {group.example.spec.demand_class for group in rounds.competing(build)} == classes
            plain = Counter((one.share, (one.spec.project, one.nice)) for one in near if one.place < build.place)
            for share in {one.share for one in builds}:
                before = {lane: count for (of, lane), count in plain.items() if of == share}
                assert rounds.open_before(build, share, build.place) == before

    @invariant()
    def who_insists_on_a_build_gets_one_that_was_not_there_when_they_asked(self) -> None:
        for request in self.broker.all(Request):
            if request.force and request.state is RequestState.SATISFIED and request.answer != "hit":
                artifact = self.row(Artifact, request.artifact_id)
                assert artifact.built_at >= request.admitted_at or self.set_back
                assert artifact.id >= self.artifacts_before.get(request.id, 0)

    @invariant()
    def a_mail_is_written_once(self) -> None:
        """Its row may be sent already: a second of the same key would be lost, or sent again."""
        assert set(self.broker.mailed.values()) <= {1}

    @invariant()
    def a_running_build_has_exactly_one_attempt_that_is_not_being_aborted(self) -> None:
        live = Counter(
            row.build_id
            for row in self.broker.all(Attempt)
            if row.state in (AttemptState.OFFERED, AttemptState.BUILDING)
        )
        for build in self.broker.all(Build):
            assert live[build.id] == (1 if build.state is BuildState.RUNNING else 0)

    @invariant()
    def no_server_idles_while_something_it_could_build_waits(self) -> None:
        state = self.broker.state
        context = DecisionContext(state, self.broker.now)
        for build in state.builds.values():
            if build.state is BuildState.QUEUED and not build.not_before:
                for name in state.slots.free.keys() & state.queue.capable(build).keys():
                    assert not may_take(context, build, name) or self.time_is_due(build.id, name)

    @invariant()
    def whoever_waits_for_a_time_has_a_timer(self) -> None:
        state, now = self.broker.state, self.broker.now
        due = state.timers.due
        for request in state.requests.values():
            assert request.build_id is not None
            if state.builds[request.build_id].state is BuildState.QUEUED:
                assert due[TimerKind.REQUEST, request.id] == request.expires_at
                assert request.expires_at > now
        for build in state.builds.values():
            if build.not_before and build.state is BuildState.QUEUED:
                assert due[TimerKind.RETRY, build.id] == build.not_before
        for server in state.servers.values():
            if server.quarantined_until:
                assert due[TimerKind.QUARANTINE, server.name] == server.quarantined_until
        for key, refusal in state.refusals.items():
            if refusal.until > now:
                assert due[TimerKind.REFUSAL, key] == refusal.until

    @invariant()
    def no_two_statements_about_one_build_contradict_each_other(self) -> None:
        """Whoever waits is told no time before which nobody may be asked, and nothing that nobody knows."""
        state, now = self.broker.state, self.broker.now
        for build in state.builds.values():
            if build.state is BuildState.RUNNING:
                self.what_runs_does_not_wait(build)
                continue
            told = why(state, build, now)
            assert sum(group.count for group in told.groups) == told.servers == len(state.servers), "none could start"
            if told.estimate is not None:
                assert told.estimate.seconds > 0
                assert now + told.estimate.seconds >= self.earliest_offer(build, told) - 1e-6
            for group in told.groups:
                for name in group.servers:
                    refused = group.reasons[0].cause is Cause.REFUSED and name not in build.failed_on
                    assert not refused or state.refusals[build.id, name].until > now

    def what_runs_does_not_wait(self, build: Build) -> None:
        said = explain_open(DecisionContext(self.broker.state, self.broker.now), AskedWhy(build.id))
        assert (said.verdict, said.why, bool(said.server)) == ("running", None, True)
        assert said.estimate is None or said.estimate.seconds > 0

    def earliest_offer(self, build: Build, told: WaitReasons) -> float:
        """When a server may be given the Build, by what is remembered; those that only an event brings are left out."""
        state, moments = self.broker.state, []
        for group in told.groups:
            if group.reasons[0].cause in (Cause.BUSY, Cause.REFUSED, Cause.QUARANTINED, Cause.DELAYED):
                for name in set(group.servers) - set(build.failed_on):
                    refusal = state.refusals.get((build.id, name))
                    until = refusal.until if refusal is not None else 0.0
                    moments.append(max(until, state.servers[name].quarantined_until, build.not_before))
        assert moments, "it may start, and nobody is there that could take it"
        return min(moments)

    @invariant()
    def only_the_projects_own_failure_is_reported_as_one(self) -> None:
        for build in self.broker.all(Build):
            ends = [row.end for row in self.broker.all(Attempt) if row.build_id == build.id]
            if build.state is BuildState.FAILED:
                assert {AttemptEnd.FAILED, AttemptEnd.MISTAKEN} & set(ends)
                deciding = self.row(Attempt, (build.id, build.deciding_epoch))
                assert deciding.end in (AttemptEnd.FAILED, AttemptEnd.MISTAKEN)
            if build.state is BuildState.UNBUILDABLE:
                assert len(set(build.broken_on)) >= POLICY.breakages

    @invariant()
    def what_is_known_to_fail_is_not_built_again_unless_somebody_insists(self) -> None:
        comparisons = self.broker.state.projects.compare("lua")
        for build in self.broker.all(Build):
            if build.id in self.looked_at:
                continue
            self.looked_at.add(build.id)
            for failure in self.known_failures:
                if not build.forced and failure.shelf == build.spec.shelf and failure.until > build.created_at:
                    seen = failure.platform, failure.kind, failure.evidence
                    assert not making_satisfies(*seen, build.spec, comparisons)
        self.known_failures = list(self.broker.all(RememberedFailure))

    @invariant()
    def a_failure_waits_to_be_confirmed_only_where_somebody_could(self) -> None:
        state = self.broker.state
        for build_id in state.records.confirming:
            assert capable_elsewhere(DecisionContext(state, self.broker.now), state.builds[build_id])

    @invariant()
    def a_satisfied_request_has_an_artifact_that_satisfies_it(self) -> None:
        comparisons = self.broker.state.projects.compare("lua")
        for request in self.broker.all(Request):
            if request.state is RequestState.SATISFIED:
                artifact = self.row(Artifact, request.artifact_id)
                assert not satisfies(artifact, request.demand, comparisons)

    @invariant()
    def nobody_waits_for_what_an_artifact_on_the_shelf_gives_them(self) -> None:
        comparisons = self.broker.state.projects.compare("lua")
        for request in self.broker.state.requests.values():
            for artifact in self.broker.all(Artifact):
                newer = artifact.id >= self.artifacts_before.setdefault(
                    request.id, self.broker.state.next_numbers["artifact"]
                )
                if not artifact.withdrawn and (newer or not request.force):
                    assert satisfies(artifact, request.demand, comparisons)

    @invariant()
    def who_joined_an_attempt_or_a_range_waits_for_what_they_joined(self) -> None:
        state = self.broker.state
        for request in state.requests.values():
            assert request.build_id is not None
            build = state.builds[request.build_id]
            if request.joined is JoinReason.OWN:
                assert build.key == request.demand.spec.key()
            elif request.joined is JoinReason.ATTEMPT:
                assert build.state is BuildState.RUNNING
            assert build.spec.revision in request.demand.acceptable

    # --- helpers -----------------------------------------------------------------------------------------

    def login(self, name: str, capability: Capability, data: st.DataObject, *, commit: bool) -> None:
        """Log in with some of what the server was given, or with all of it, or with what is long over."""
        held = self.some_held(name, data)
        answers = self.send(login(self.broker.state, name, capability, held), commit=commit)
        if commit:
            self.silent.discard(name)
            (answer,) = answers
            assert isinstance(answer, SessionOpened)
            self.check_verdicts(name, held, answer.verdicts)

    def some_held(self, name: str, data: st.DataObject) -> tuple[Held, ...]:
        known = sorted(row.key for row in self.broker.all(Attempt) if row.server == name)
        live = [key for key in known if self.row(Attempt, key).state is not AttemptState.ENDED]
        keys = data.draw(st.sampled_from([live, live, live[:1], known[:2], []]))
        return tuple(Held(*key, data.draw(st.sampled_from(HeldState))) for key in keys)

    def check_verdicts(self, name: str, held: tuple[Held, ...], verdicts: tuple[HeldVerdict, ...]) -> None:
        """What may go on is believed in at this Session; what is to be dropped is waited for no more."""
        state, told = self.broker.state, {(one.build_id, one.epoch): one.verdict for one in verdicts}
        for one in held:
            attempt = state.attempts.get(one.key)
            if told.get(one.key, Verdict.GO_ON) is Verdict.DROP:
                assert attempt is None or attempt.state is AttemptState.ABORTING
            else:
                assert attempt is not None
                assert (attempt.server, attempt.session) == (name, state.servers[name].session)
                late = one.state is HeldState.DONE and attempt.state is AttemptState.MISSING
                assert late or attempt.key in state.leases.of

    def beat(self) -> None:
        """Every connected server that is not silent says that it has what it was given."""
        state = self.broker.state
        for server in list(state.servers.values()):
            keys = list(state.slots.attempts_of.get(server.name, ()))
            if server.connected and server.name not in self.silent and keys:
                self.broker.send(HeldReported(server.name, server.session, tuple(Held(*key) for key in keys)))

    def waits(self) -> dict[tuple[str, object], float]:
        """How long everything that waits for a time has still to wait."""
        state, now = self.broker.state, self.broker.now
        until: dict[tuple[str, object], float] = {}
        until |= {("request", key): row.expires_at for key, row in state.requests.items()}
        until |= {
            ("failure", failure.build_id): failure.until
            for shelf in state.shelves.kept.values()
            for failure in shelf.failures
        }
        until |= {("build", key): row.not_before for key, row in state.builds.items()}
        until |= {("quarantine", key): row.quarantined_until for key, row in state.servers.items()}
        until |= {("owner", key): row.missing_since for key, row in state.servers.items()}
        until |= {("refusal", key): row.until for key, row in state.refusals.items()}
        until |= {("lease", key): lease.until for key, lease in state.leases.of.items()}
        until |= {("overdue", key): lease.overdue for key, lease in state.leases.of.items()}
        return {what: when - now for what, when in until.items() if when}

    def reachable(self, *states: AttemptState) -> list[Attempt]:
        """Live Attempts whose servers can report in the Session that they are bound to."""
        servers = self.broker.state.servers
        return [
            row
            for row in self.attempts(*states)
            if servers[row.server].connected and servers[row.server].session == row.session
        ]

    def advance(self, seconds: float) -> None:
        """Let time pass, with a Tick whenever one is asked for, and one at the end."""
        until = self.broker.now + seconds
        while (wake := self.broker.state.timers.next_due(self.broker.now)) is not None and wake <= until:
            self.broker.now = max(self.broker.now, wake)
            self.beat()
            self.send(Tick())
        self.broker.now = until
        self.beat()
        self.send(Tick())

    def send(self, *events: Event, commit: bool = True) -> list[Answer]:
        before = fingerprint(self.broker.state) if not commit else {}
        places = {build.id: place_of(build) for build in self.broker.state.builds.values()}
        told = len(self.broker.told)
        answers = self.broker.send(*events, commit=commit)
        if not commit:
            assert fingerprint(self.broker.state) == before, "a commit that fails leaves the state as it was"
        # Of several decisions in a row a later one may change who could have been started by an earlier one.
        if len(events) == 1 and len(submissions(events[0])) <= 1:
            for effect in self.broker.told[told:]:
                if isinstance(effect, Dispatch):
                    self.check_dispatch(effect, places)
        self.count_ends(answers)
        return answers

    def check_dispatch(self, effect: Dispatch, places: dict[int, Place]) -> None:
        """What one decision starts is held against nobody, and overtakes nobody."""
        state, name, build = self.broker.state, effect.attempt.server, effect.build
        context = DecisionContext(state, self.broker.now)
        assert name not in build.failed_on
        refusal = state.refusals.get((build.id, name))
        assert refusal is None or refusal.until <= self.broker.now
        held = {
            row.key
            for row in self.attempts(*AttemptState)
            if row.server == name and row.state is not AttemptState.MISSING
        }
        most = state.servers[name].capability.max_builds
        assert len(held) - min(len(held & state.slots.unkept.get(name, {}).keys()), most) <= most
        assert state.servers[name].takes
        if build.id in state.builds:
            offer = state.groups.verdict(state.builds[build.id], state.servers[name])
            assert isinstance(offer, Offer)
            assert (offer.platform, offer.kind) == (effect.attempt.platform, effect.attempt.kind)
        mine = place_of(state.builds[build.id]) if build.id in state.builds else places.get(build.id, place_of(build))
        for other in state.builds.values():
            waits = other.state is BuildState.QUEUED and not other.not_before
            if waits and name in state.queue.capable(other) and not self.time_is_due(other.id, name):
                spared = len(state.queue.capable(effect.build)) == 1 and mine[0] - place_of(other)[0] <= SPARING
                in_order = place_of(other) > mine or spared or not may_take(context, other, name)
                assert in_order, f"build {build.id} on {name} overtook build {other.id}"

    def count_ends(self, answers: list[Answer] | None = None) -> None:
        each = [one for answer in answers or [] for one in _answered(answer)]
        for answer in each:
            if isinstance(answer, Hit | KnownFailure):
                self.finally_told[answer.request.id] += 1
        for effect in self.broker.told:
            if isinstance(effect, RequestMoved) and effect.request.state is not RequestState.WAITING:
                self.finally_told[effect.request.id] += 1
        written, self.written = self.written, self.broker.mailed.total()
        assert any(isinstance(effect, MailWritten) for effect in self.broker.told) == (self.written > written)
        self.broker.told.clear()

    def submission(self, wanted: BuildSpec, near: int, force: bool, email: str) -> Submitted:
        self.clients += 1
        return submitted(f"c{self.clients}", wanted, near=near, force=force, email=email)

    def row(self, kind: type[R], key: object) -> R:
        row = self.broker.rows[kind.__name__, key]
        assert isinstance(row, kind)
        return row

    def away(self) -> list[str]:
        """The regular servers that are not connected."""
        servers = self.broker.state.servers
        return [name for name in SERVERS if name not in servers or not servers[name].connected]

    def time_is_due(self, build_id: int, name: str) -> bool:
        refusal = self.broker.state.refusals.get((build_id, name))
        return refusal is not None and refusal.until == self.broker.now

    def attempts(self, *states: AttemptState) -> list[Attempt]:
        live = self.broker.state.attempts
        return [live[key] for key in sorted(live) if live[key].state in states]

    def an_attempt(self, data: st.DataObject, *states: AttemptState) -> Attempt:
        found = {attempt.key: attempt for attempt in self.reachable(*states)}
        return found[data.draw(st.sampled_from(sorted(found)))]

    def delivery(self, attempt: Attempt) -> Delivered:
        self.digests += 1
        digest = f"{self.digests:064x}"
        said = attempt.server, attempt.session, *attempt.key
        return Delivered(*said, digest, digest, 10, "lua.zip", 1.0, sandbox=attempt.evidence.sandbox)

    @staticmethod
    def acceptance(attempt: Attempt) -> AttemptAccepted:
        return AttemptAccepted(attempt.server, attempt.session, *attempt.key)

    @staticmethod
    def ending(attempt: Attempt, how: AttemptEnd, reason: str) -> AttemptEnded:
        return AttemptEnded(attempt.server, attempt.session, *attempt.key, how, reason)


def _answered(answer: Answer) -> tuple[Answer, ...]:
    return answer.answers if isinstance(answer, AnsweredTogether) else (answer,)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=examples(75), stateful_step_count=50, deadline=None)
