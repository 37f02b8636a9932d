"""The scheduler against the invariants of the design, whatever happens in whatever order, with commits that fail."""

from collections import Counter

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from buildtool.domain.dispatching import may_take
from buildtool.domain.matching import satisfies
from buildtool.domain.messages import (
    AttemptAccepted,
    AttemptEnded,
    CancelRequested,
    ConflictingSubmission,
    Delivered,
    Disconnected,
    Dispatch,
    Event,
    Hit,
    KnownFailure,
    MailWritten,
    Registered,
    RepeatedSubmission,
    RequestMoved,
)
from buildtool.domain.model import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildState,
    Mail,
    Offer,
    Request,
    RequestState,
)
from buildtool.domain.turn import Turn
from tests.domain.broker import OPEN_BUILD, TestBroker, fingerprint
from tests.domain.worlds import POLICIES, machine, spec, submitted

SERVERS = ("anna", "bert", "carl", "dora")
CAPABILITIES = st.sampled_from(
    [
        machine(),
        machine(max_builds=2),
        machine(cross=("ppc",)),
        machine(arch="ppc", libc_version="2.31"),
        machine(libc_version="2.31"),
        machine(memory=512),
    ]
)
SPECS = st.builds(
    lambda revision, jit, platform, memory: spec(
        revision, jit=jit, machine={"memory": memory} if memory else None, platform=platform
    ),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(
        [
            {"os": "linux", "arch": "x86_64"},
            {"os": "linux", "arch": "ppc"},
            {"os": "linux"},
            {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.31"},
        ]
    ),
    st.sampled_from([0, 0, 0, 1024]),
)
MACHINE_ENDS = st.sampled_from(
    [
        AttemptEnd.REFUSED,
        AttemptEnd.RETURNED,
        AttemptEnd.BROKEN,
        AttemptEnd.LIMITED,
        AttemptEnd.LOST,
        AttemptEnd.ABORTED,
    ]
)
COMMITS = st.sampled_from([True, True, True, True, False])


class SchedulerMachine(RuleBasedStateMachine):
    """Requesters, build servers and a database that may refuse, in every order."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = TestBroker(POLICIES)
        self.clients = 0
        self.digests = 0
        self.finally_told: Counter[int] = Counter()

    # --- what can happen ---------------------------------------------------------------------------------

    @rule(
        wanted=SPECS,
        near=st.integers(0, 2),
        force=st.sampled_from([False, False, False, True]),
        email=st.sampled_from(["ann@example.org", "bob@example.org"]),
        again=st.booleans(),
        commit=COMMITS,
    )
    def submit(self, wanted, near, force, email, again, commit) -> None:
        self.clients += 1
        event = submitted(f"c{self.clients}", wanted, near=near, force=force, email=email)
        batch = (event, event) if again else (event,)
        answers = self.send(*batch, commit=commit)
        if commit and again:
            first, second = answers
            assert isinstance(second, RepeatedSubmission)
            assert second.request_id == first.request.id
            assert second.answer == first.request.answer

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), same=st.booleans())
    def resend(self, data, same) -> None:
        client = f"c{data.draw(st.integers(1, self.clients))}"
        known = {row.client_id: row for row in self.broker.all(Request)}
        self.digests += 1
        other = f"other {self.digests}"
        event = submitted(client, body=known[client].body_digest if same and client in known else other)
        (answer,) = self.send(event)
        if client in known:
            expected = RepeatedSubmission if same else ConflictingSubmission
            assert isinstance(answer, expected)
            assert answer.request_id == known[client].id

    @rule(data=st.data(), commit=COMMITS)
    def cancel(self, data, commit) -> None:
        known = [row.id for row in self.broker.all(Request)] or [99]
        self.send(CancelRequested(data.draw(st.sampled_from(known))), commit=commit)

    @rule(name=st.sampled_from(SERVERS), capability=CAPABILITIES, commit=COMMITS)
    def register(self, name, capability, commit) -> None:
        self.send(Registered(name, capability), commit=commit)

    @precondition(lambda self: self.broker.state.servers)
    @rule(data=st.data(), stale=st.sampled_from([0, 0, 1]), commit=COMMITS)
    def disconnect(self, data, stale, commit) -> None:
        name = data.draw(st.sampled_from(sorted(self.broker.state.servers)))
        session = self.broker.state.servers[name].session - stale
        self.send(Disconnected(name, session, "gone"), commit=commit)

    @precondition(lambda self: self.broker.state.attempts)
    @rule(data=st.data(), commit=COMMITS)
    def accept(self, data, commit) -> None:
        attempt = self.an_attempt(data)
        self.send(AttemptAccepted(attempt.server, attempt.session, attempt.build_id, attempt.epoch), commit=commit)

    @precondition(lambda self: self.broker.state.attempts)
    @rule(data=st.data(), twice=st.booleans(), commit=COMMITS)
    def deliver(self, data, twice, commit) -> None:
        event = self.delivery(self.an_attempt(data))
        self.send(*((event, event) if twice else (event,)), commit=commit)

    @precondition(lambda self: self.broker.state.attempts)
    @rule(data=st.data(), commit=COMMITS)
    def fail(self, data, commit) -> None:
        attempt = self.an_attempt(data)
        self.send(self.ending(attempt, AttemptEnd.FAILED, "make: error 2"), commit=commit)

    @precondition(lambda self: self.broker.state.attempts)
    @rule(data=st.data(), how=MACHINE_ENDS, commit=COMMITS)
    def break_down(self, data, how, commit) -> None:
        self.send(self.ending(self.an_attempt(data), how, "the machine"), commit=commit)

    @precondition(lambda self: self.broker.state.attempts)
    @rule(data=st.data())
    def stale_report(self, data) -> None:
        attempt = self.an_attempt(data)
        before = fingerprint(self.broker.state)
        self.send(Delivered(attempt.server, attempt.session + 1, *attempt.key, "d", "c", 1, "a.zip", 1.0))
        self.send(AttemptEnded("stranger", attempt.session, *attempt.key, AttemptEnd.FAILED, "lie"))
        assert fingerprint(self.broker.state) == before

    @rule(seconds=st.sampled_from([0.5, 15.0, 700.0, 6_000.0]))
    def time_passes(self, seconds) -> None:
        self.broker.advance(seconds)
        self.count_ends()

    @rule()
    def crash_and_restart(self) -> None:
        self.broker.crash()
        self.count_ends()

    # --- what must always hold ---------------------------------------------------------------------------

    @invariant()
    def memory_is_what_the_database_says(self) -> None:
        mine, theirs = fingerprint(self.broker.state), fingerprint(self.broker.reloaded())
        assert mine == theirs

    @invariant()
    def every_ended_request_was_told_once_and_every_open_one_waits_for_an_open_build(self) -> None:
        for request in self.broker.all(Request):
            if request.state is RequestState.WAITING:
                assert self.finally_told[request.id] == 0
                build = self.broker.rows["Build", request.build_id]
                assert build.state in OPEN_BUILD
            else:
                assert self.finally_told[request.id] == 1, request

    @invariant()
    def mail_is_written_with_every_end_that_was_not_answered_at_once(self) -> None:
        mailed = Counter(rid for mail in self.broker.all(Mail) for rid in mail.request_ids)
        for request in self.broker.all(Request):
            at_once = request.answer in ("hit", "known-failure")
            silent = at_once or request.state in (RequestState.CANCELLED, RequestState.WAITING)
            assert mailed[request.id] == (0 if silent else 1), request

    @invariant()
    def an_attempt_is_on_a_server_that_can_build_it_and_epochs_are_never_shared(self) -> None:
        assert all(count == 1 for count in self.broker.dispatched.values())
        for effect in self.broker.told[-30:]:
            if isinstance(effect, Dispatch) and effect.build.id in self.broker.state.builds:
                server = self.broker.state.servers[effect.attempt.server]
                if server.session == effect.attempt.session:
                    assert isinstance(self.broker.state.verdict(effect.build, server), Offer)
        for server in self.broker.state.servers.values():
            if server.connected:
                assert self.broker.state.load_of(server.name) <= server.capability.max_builds

    @invariant()
    def open_builds_have_keys_of_their_own_and_somebody_who_waits(self) -> None:
        builds = [row for row in self.broker.all(Build) if row.state in OPEN_BUILD]
        assert len({build.key for build in builds}) == len(builds)
        waited_for = {row.build_id for row in self.broker.all(Request) if row.state is RequestState.WAITING}
        assert {build.id for build in builds} <= waited_for

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
        turn = Turn(state, self.broker.now)
        for build in state.builds.values():
            if build.state is BuildState.QUEUED and not build.not_before:
                for name in state.free.keys() & state.queue.capable(build).keys():
                    assert not may_take(turn, build, name) or self.time_is_due(build.id, name)

    @invariant()
    def only_the_projects_own_failure_is_reported_as_one(self) -> None:
        for build in self.broker.all(Build):
            ends = [row.end for row in self.broker.all(Attempt) if row.build_id == build.id]
            if build.state is BuildState.FAILED:
                assert AttemptEnd.FAILED in ends
            if build.state is BuildState.UNBUILDABLE:
                assert len(build.broken_on) >= 3

    @invariant()
    def a_satisfied_request_has_an_artifact_that_satisfies_it(self) -> None:
        comparisons = self.broker.state.compare("lua")
        for request in self.broker.all(Request):
            if request.state is RequestState.SATISFIED:
                artifact = self.broker.rows["Artifact", request.artifact_id]
                assert isinstance(artifact, Artifact)
                assert not satisfies(artifact, request.demand, comparisons)

    @invariant()
    def nobody_waits_for_what_an_artifact_on_the_shelf_gives_them(self) -> None:
        comparisons = self.broker.state.compare("lua")
        for request in self.broker.all(Request):
            if request.state is RequestState.WAITING and not request.force:
                for artifact in self.broker.all(Artifact):
                    assert satisfies(artifact, request.demand, comparisons)

    # --- helpers -----------------------------------------------------------------------------------------

    def send(self, *events: Event, commit: bool = True) -> list:
        before = fingerprint(self.broker.state)
        answers = self.broker.send(*events, commit=commit)
        if not commit:
            assert fingerprint(self.broker.state) == before, "a commit that fails leaves the state as it was"
        self.count_ends(answers)
        return answers

    def count_ends(self, answers=()) -> None:
        for answer in answers:
            if isinstance(answer, Hit | KnownFailure):
                self.finally_told[answer.request.id] += 1
        for effect in self.broker.told:
            if isinstance(effect, RequestMoved) and effect.request.state is not RequestState.WAITING:
                self.finally_told[effect.request.id] += 1
        wrote = any(isinstance(effect, MailWritten) for effect in self.broker.told)
        assert wrote or not any(isinstance(effect, Mail) for effect in self.broker.told)
        self.broker.told = [effect for effect in self.broker.told if isinstance(effect, Dispatch)][-30:]

    def time_is_due(self, build_id: int, name: str) -> bool:
        refusal = self.broker.state.refusals.get((build_id, name))
        return refusal is not None and refusal.until == self.broker.now

    def an_attempt(self, data) -> Attempt:
        return self.broker.state.attempts[data.draw(st.sampled_from(sorted(self.broker.state.attempts)))]

    def delivery(self, attempt: Attempt) -> Delivered:
        self.digests += 1
        digest = f"{self.digests:064x}"
        return Delivered(attempt.server, attempt.session, *attempt.key, digest, digest, 10, "lua.zip", 1.0)

    @staticmethod
    def ending(attempt: Attempt, how: AttemptEnd, reason: str) -> AttemptEnded:
        return AttemptEnded(attempt.server, attempt.session, *attempt.key, how, reason)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
