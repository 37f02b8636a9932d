"""How a Request comes in: hit, join, remembered failure or a new Build, and what becomes of those who joined."""

from attrs import evolve

from buildtool.model.access.ceilings import Most
from buildtool.model.records import AttemptEnd, BuildState, JoinReason, RequestState
from buildtool.scheduling.allowances import Counting, Places
from buildtool.scheduling.answers import (
    AnsweredTogether,
    ConflictingSubmission,
    Dispatched,
    Hit,
    JoinedBuild,
    KnownFailure,
    NoPlace,
    Queued,
    RepeatedSubmission,
)
from buildtool.scheduling.events import ArtifactGone, Submitted, SubmittedTogether
from buildtool.scheduling.state.lease_table import LEASE
from tests.scheduling.farm import Farm, NewRequest
from tests.scheduling.worlds import POLICY, REVISIONS, machine, spec, submitted

SATISFIED, FAILED, WAITING = RequestState.SATISFIED, RequestState.FAILED, RequestState.WAITING
LINUX = {"os": "linux"}
X86 = {"os": "linux", "arch": "x86_64"}
PPC = {"os": "linux", "arch": "ppc"}
OLD_LIBC = {"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.31"}


def test_a_finished_artifact_that_satisfies_is_a_hit_and_sends_no_mail() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask()
    artifact = farm.deliver("anna")
    before = farm.mailed()

    again = farm.ask(email="bob@example.org")

    assert isinstance(again, Hit)
    assert again.artifact == artifact
    assert farm.request(again).artifact_id == artifact.id
    assert farm.mailed() == before


def limited(client: str, revision: int = 0, *, most: int = 1) -> Submitted:
    """A submission of one who may have only so many requests that wait."""
    asked = submitted(client, spec(revision))
    return evolve(asked, places=Places(Counting(asked.email), asked.email, Most(most)))


def test_what_is_answered_at_once_is_neither_refused_nor_counted_by_the_limit_of_those_that_wait() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(0))
    farm.deliver("anna")
    farm.ask(spec(1))
    farm.fail("anna")
    for client in ("a1", "a2"):
        assert isinstance(farm.send(limited(client, 0)), Hit)
    assert isinstance(farm.send(limited("b", 1)), KnownFailure)
    assert isinstance(farm.send(limited("c", 2)), Dispatched), "nothing of theirs waited"
    assert isinstance(farm.send(limited("d", 0)), Hit), "though one waits"
    assert isinstance(farm.send(limited("e", 1)), KnownFailure)
    assert isinstance(farm.send(limited("c", 2)), RepeatedSubmission)


def test_who_would_wait_for_a_build_of_their_own_or_of_others_is_refused_and_nothing_is_left_of_it() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(0))
    farm.deliver("anna")
    farm.send(limited("a", 1))
    farm.ask(spec(2), email="bob@example.org")
    state = farm.broker.state
    before = dict(state.requests), dict(state.builds), dict(state.next_numbers)
    told = farm.send(limited("b", 3))
    assert isinstance(told, NoPlace)
    assert told.said.startswith("the limit of 1 open requests for user@example.org is reached (1 there are)")
    assert isinstance(farm.send(limited("c", 2)), NoPlace), "who joins a build under way waits for it too"
    both = SubmittedTogether((limited("d", 0, most=2), limited("e", 3, most=2), limited("f", 4, most=2)))
    assert isinstance(farm.send(both), NoPlace), "all of them or none"
    assert (state.requests, state.builds, state.next_numbers) == before
    some = SubmittedTogether((limited("d", 0, most=2), limited("e", 3, most=2)))
    assert isinstance(farm.send(some), AnsweredTogether), "the hit takes no place"


def test_a_miss_is_dispatched_at_once_to_an_idle_capable_server() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    assert isinstance(asked, Dispatched)
    assert asked.server == "anna"
    assert farm.running_on(asked) == "anna"


def test_three_who_ask_for_the_same_share_a_build_and_each_is_told_and_mailed_once() -> None:
    farm = Farm()
    farm.login("anna")
    all_three = [farm.ask(email=f"{name}@example.org") for name in ("ann", "bob", "cid")]
    assert [type(asked) for asked in all_three] == [Dispatched, JoinedBuild, JoinedBuild]

    farm.deliver("anna")

    assert [farm.ends_told(asked) for asked in all_three] == [[SATISFIED]] * 3
    assert farm.mailed() == [(f"{name}@example.org", SATISFIED) for name in ("ann", "bob", "cid")]
    assert len(farm.attempts()) == 1


def test_one_person_who_asked_twice_gets_one_mail_that_names_both_requests() -> None:
    farm = Farm()
    farm.login("anna")
    first, second = farm.ask(), farm.ask()
    farm.deliver("anna")
    (mail,) = farm.mails()
    assert mail.request_ids == (first.request.id, second.request.id)


def test_the_second_requester_of_a_queued_build_is_mailed_too() -> None:
    farm = Farm()
    first, second = farm.ask(email="ann@example.org"), farm.ask(email="bob@example.org")
    assert isinstance(first, Queued)
    assert isinstance(second, JoinedBuild)
    farm.login("anna")
    farm.deliver("anna")
    assert farm.mailed() == [("ann@example.org", SATISFIED), ("bob@example.org", SATISFIED)]


def test_a_vague_request_never_caches_an_ambiguous_binary() -> None:
    """The artifact stands under the platform that it was really built for, so a stricter request misses."""
    farm = Farm()
    farm.login("anna", machine(arch="ppc"))
    farm.ask(spec(platform=LINUX))
    artifact = farm.deliver("anna")
    assert dict(artifact.platform)["arch"] == "ppc"

    assert isinstance(farm.ask(spec(platform=PPC)), Hit)
    assert isinstance(farm.ask(spec(platform=LINUX)), Hit)
    assert isinstance(farm.ask(spec(platform=X86)), Queued)


def test_a_binary_that_needs_a_newer_libc_is_no_hit_and_one_that_needs_an_older_is() -> None:
    farm = Farm()
    farm.login("anna", machine(libc_version="2.36"))
    farm.ask(spec(platform=X86))
    farm.deliver("anna")
    assert isinstance(farm.ask(spec(platform=OLD_LIBC)), Queued)

    farm.login("bert", machine(libc_version="2.17"))
    farm.deliver("bert")
    assert isinstance(farm.ask(spec(platform=OLD_LIBC)), Hit)


def test_other_options_are_another_binary() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(jit=False))
    farm.deliver("anna")
    assert isinstance(farm.ask(spec(jit=True)), Dispatched)


def test_exact_beats_near_and_near_beats_far() -> None:
    farm = Farm()
    farm.login("anna")
    for revision in (0, 1, 2):
        farm.ask(spec(revision))
        farm.deliver("anna")
    for revision, nearest in ((2, 2), (3, 2), (4, 2), (0, 0)):
        hit = farm.ask(spec(revision), near=3)
        assert isinstance(hit, Hit)
        assert hit.artifact.shelf.revision == REVISIONS[nearest]
    assert isinstance(farm.ask(spec(4), near=1), Dispatched)


def test_force_builds_again_and_the_newest_wins_for_hits() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask()
    old = farm.deliver("anna")
    assert isinstance(farm.ask(force=True), Dispatched)
    new = farm.deliver("anna")
    hit = farm.ask()
    assert isinstance(hit, Hit)
    assert hit.artifact.id == new.id > old.id


def test_an_artifact_whose_file_is_gone_is_no_hit_any_more_and_an_older_one_is() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask()
    old = farm.deliver("anna")
    farm.ask(force=True)
    new = farm.deliver("anna")

    farm.note(ArtifactGone(new, "its file is absent"))
    hit = farm.ask()
    assert isinstance(hit, Hit)
    assert hit.artifact.id == old.id

    farm.note(ArtifactGone(old, "its file is absent"))
    assert isinstance(farm.ask(), Dispatched)
    farm.broker.crash()
    assert isinstance(farm.ask(spec(revision=0, platform=LINUX)), JoinedBuild)


# --- the same request again -----------------------------------------------------------------------------


def test_the_same_client_id_and_body_get_the_same_answer_and_another_body_is_an_error() -> None:
    farm = Farm()
    farm.login("anna")
    event = submitted("one")
    first = farm.send(event)
    assert isinstance(first, Dispatched)
    assert farm.send(event) == RepeatedSubmission(first.request.id, "dispatched")
    farm.broker.crash()
    assert farm.send(event) == RepeatedSubmission(first.request.id, "dispatched")
    assert farm.send(evolve(event, body_digest="another")) == ConflictingSubmission(first.request.id)


# --- joining --------------------------------------------------------------------------------------------


def test_who_asks_for_less_than_an_open_build_makes_joins_it_by_implication() -> None:
    farm = Farm()
    strict = farm.ask(spec(platform=OLD_LIBC))
    loose = farm.ask(spec(platform=LINUX))
    assert isinstance(loose, JoinedBuild)
    assert loose.build.id == farm.build_of(strict).id
    assert loose.request.joined is JoinReason.IMPLICATION


def test_who_asks_for_more_than_an_open_build_promises_does_not_join_it() -> None:
    farm = Farm()
    loose = farm.ask(spec(platform=X86))
    strict = farm.ask(spec(platform=OLD_LIBC))
    assert isinstance(strict, Queued)
    assert farm.build_of(strict).id != farm.build_of(loose).id


def test_a_running_attempt_is_joined_when_its_platform_satisfies_though_its_build_does_not_promise_it() -> None:
    farm = Farm()
    farm.login("anna", machine(libc_version="2.31"))
    farm.ask(spec(platform=X86), email="ann@example.org")
    strict = farm.ask(spec(platform=OLD_LIBC), email="bob@example.org")
    assert isinstance(strict, JoinedBuild)
    assert strict.request.joined is JoinReason.ATTEMPT
    artifact = farm.deliver("anna")
    assert farm.request(strict).artifact_id == artifact.id
    assert farm.mailed() == [("ann@example.org", SATISFIED), ("bob@example.org", SATISFIED)]


def test_an_attempt_bound_to_another_platform_is_not_joined() -> None:
    farm = Farm()
    farm.login("anna", machine(libc_version="2.36"))
    farm.ask(spec(platform=X86))
    assert isinstance(farm.ask(spec(platform=OLD_LIBC)), Queued)


def test_who_joined_by_attempt_is_admitted_anew_when_that_attempt_ends_and_is_told_nothing() -> None:
    farm = Farm()
    farm.login("anna", machine(libc_version="2.31"))
    loose = farm.ask(spec(platform=X86), email="ann@example.org")
    strict = farm.ask(spec(platform=OLD_LIBC), email="bob@example.org")
    farm.login("bert", machine(libc_version="2.36"))

    farm.end("anna", AttemptEnd.RETURNED)

    assert farm.running_on(loose) == "bert"
    assert farm.build_of(strict).id != farm.build_of(loose).id
    assert farm.request(strict).joined is JoinReason.OWN
    assert farm.running_on(strict) == "anna"
    assert farm.ends_told(strict) == []
    assert farm.mails() == []

    farm.deliver("bert")
    assert (farm.state(loose), farm.state(strict)) == (SATISFIED, WAITING)
    farm.deliver("anna")
    assert farm.ends_told(strict) == [SATISFIED]


def test_who_had_joined_only_an_attempt_is_admitted_anew_when_it_goes_missing_after_a_restart() -> None:
    """Their own Build must not wait for a machine that only the other Build needs."""
    farm = Farm()
    farm.login("anna", machine(libc_version="2.31", memory=8192))
    loose = farm.ask(spec(machine={"memory": 8192}, platform=X86))
    strict = farm.ask(spec(platform=OLD_LIBC))
    assert farm.request(strict).joined is JoinReason.ATTEMPT

    farm.broker.crash()
    assert farm.build_of(strict).id == farm.build_of(loose).id
    farm.pass_time(LEASE)
    assert farm.build_of(strict).id != farm.build_of(loose).id
    farm.login("bert", machine(libc_version="2.31", memory=512))
    assert farm.running_on(strict) == "bert"


def test_a_range_joins_a_near_build_and_is_admitted_anew_for_its_own_revision_when_that_fails() -> None:
    farm = Farm()
    farm.login("anna")
    near = farm.ask(spec(1), email="ann@example.org")
    ranged = farm.ask(spec(0), near=1, email="bob@example.org")
    assert isinstance(ranged, JoinedBuild)
    assert ranged.request.joined is JoinReason.RANGE

    farm.fail("anna")

    assert farm.ends_told(near) == [FAILED]
    assert farm.ends_told(ranged) == []
    assert farm.mailed() == [("ann@example.org", FAILED)]
    assert farm.build_of(ranged).spec.revision == REVISIONS[0]
    assert farm.request(ranged).demand.acceptable == (REVISIONS[0],)
    farm.deliver("anna")
    assert farm.ends_told(ranged) == [SATISFIED]


def test_a_range_that_joined_a_near_build_is_satisfied_by_it_when_it_succeeds() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(1))
    ranged = farm.ask(spec(0), near=1)
    artifact = farm.deliver("anna")
    assert farm.request(ranged).artifact_id == artifact.id


def test_who_is_admitted_anew_into_a_failure_that_was_mailed_before_is_mailed_again() -> None:
    """The same address, the same Build, the same outcome, but another Request: it must not be swallowed."""
    farm = Farm()
    farm.login("anna")
    first = farm.ask(spec(0))
    farm.fail("anna")
    farm.ask(spec(1), email="bob@example.org")
    ranged = farm.ask(spec(0), near=1)
    assert isinstance(ranged, JoinedBuild)
    farm.fail("anna")
    assert farm.ends_told(ranged) == [FAILED]
    told = [request_id for mail in farm.mails() if mail.email == "user@example.org" for request_id in mail.request_ids]
    assert sorted(told) == [first.request.id, ranged.request.id]


def known_to_fail_but_joined(farm: Farm) -> NewRequest:
    """Somebody who joined a near build by range, while their own revision is known to fail and nobody remembers it."""
    farm.login("anna")
    farm.ask(spec(0), email="ann@example.org")
    farm.fail("anna")
    farm.ask(spec(1), email="bob@example.org")
    ranged = farm.ask(spec(0), near=1)
    assert isinstance(ranged, JoinedBuild)
    farm.login("bert")
    farm.broker.state.shelves.kept.clear()
    return ranged


def test_a_known_failure_is_looked_up_for_who_is_admitted_anew_when_a_build_fails() -> None:
    farm = Farm()
    ranged = known_to_fail_but_joined(farm)
    farm.lose("bert")
    farm.broker.state.shelves.kept.clear()
    farm.fail("anna")
    assert farm.ends_told(ranged) == [FAILED]


def test_a_known_failure_is_looked_up_for_who_is_admitted_anew_when_the_confirming_server_leaves() -> None:
    farm = Farm()
    ranged = known_to_fail_but_joined(farm)
    farm.fail("anna")
    assert farm.running_on(ranged) == "bert"
    farm.broker.state.shelves.kept.clear()
    farm.lose("bert")
    assert farm.ends_told(ranged) == [FAILED]


def test_a_known_failure_is_looked_up_for_who_is_admitted_anew_when_nobody_is_left_to_confirm() -> None:
    farm = Farm()
    ranged = known_to_fail_but_joined(farm)
    farm.ask(spec(4), email="cid@example.org")
    farm.fail("anna")
    assert farm.running_on(ranged) == ""
    farm.broker.state.shelves.kept.clear()
    farm.lose("bert")
    assert farm.ends_told(ranged) == [FAILED]


def test_a_known_failure_is_looked_up_for_who_is_admitted_anew_when_the_clock_ends_an_attempt() -> None:
    farm = Farm()
    farm.login("anna", machine(libc_version="2.31"))
    known = farm.ask(spec(platform=OLD_LIBC), email="ann@example.org")
    farm.fail("anna")
    farm.ask(spec(platform=X86), force=True, email="bob@example.org")
    joined = farm.ask(spec(platform=OLD_LIBC), email="cid@example.org")
    assert isinstance(joined, JoinedBuild)
    farm.broker.state.shelves.kept.clear()
    farm.login("bert", machine(libc_version="2.36"))

    farm.silent.add("anna")
    farm.pass_time(100.0)

    assert farm.state(known) is FAILED
    assert farm.ends_told(joined) == [FAILED]


def test_a_forced_request_joins_only_its_own_revision() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(1))
    assert isinstance(farm.ask(spec(0), near=1, force=True), Queued)
    assert isinstance(farm.ask(spec(1), near=1, force=True), JoinedBuild)


def test_a_forced_request_that_is_admitted_anew_does_not_take_what_was_there_before() -> None:
    farm = Farm()
    farm.login("anna", machine(libc_version="2.31"))
    farm.ask(spec(platform=OLD_LIBC))
    old = farm.deliver("anna")
    farm.ask(spec(platform=X86), force=True)
    insists = farm.ask(spec(platform=OLD_LIBC), force=True)
    assert farm.request(insists).joined is JoinReason.ATTEMPT

    farm.end("anna", AttemptEnd.RETURNED)
    assert farm.state(insists) is WAITING
    again = farm.deliver(farm.running_on(insists))
    assert farm.request(insists).artifact_id == again.id != old.id


# --- artifacts complete whoever waits -------------------------------------------------------------------


def test_an_artifact_completes_queued_requests_of_other_builds_and_closes_the_emptied_ones() -> None:
    farm = Farm()
    farm.login("anna", machine(libc_version="2.36"))
    loose = farm.ask(spec(platform=X86), email="ann@example.org")
    strict = farm.ask(spec(platform=OLD_LIBC), email="bob@example.org")
    assert isinstance(strict, Queued)
    own = farm.build_of(strict)
    farm.end("anna", AttemptEnd.REFUSED)
    farm.login("bert", machine(libc_version="2.17", max_builds=2))
    attempt = next(row for row in farm.attempts() if row.server == "bert" and row.build_id == farm.build_of(loose).id)

    farm.deliver("bert", attempt)

    assert farm.ends_told(strict) == [SATISFIED]
    assert farm.build(own.id).state is BuildState.CANCELLED
    assert ("bert", own.id, 1) in farm.aborts()
    assert farm.mailed() == [("ann@example.org", SATISFIED), ("bob@example.org", SATISFIED)]


def test_a_build_that_others_still_wait_for_goes_on_when_an_artifact_completes_some_of_them() -> None:
    farm = Farm()
    near = farm.ask(spec(0), near=1)
    exact = farm.ask(spec(0))
    farm.ask(spec(1))
    farm.login("anna", machine(max_builds=2))
    attempt = next(row for row in farm.attempts() if row.build_id != farm.build_of(exact).id)
    farm.deliver("anna", attempt)
    assert farm.state(near) is SATISFIED
    assert farm.state(exact) is WAITING
    assert farm.running_on(exact) == "anna"


# --- remembered failures --------------------------------------------------------------------------------


def test_a_remembered_failure_is_answered_at_once_and_not_mailed_again() -> None:
    farm = Farm()
    farm.login("anna")
    first = farm.ask()
    farm.fail("anna", "cc: error")
    again = farm.ask(email="bob@example.org")
    assert isinstance(again, KnownFailure)
    assert again.build_id == farm.build_of(first).id
    assert again.reason == "cc: error"
    assert farm.mailed() == [("user@example.org", FAILED)]


def test_force_builds_in_spite_of_a_remembered_failure() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask()
    farm.fail("anna")
    assert isinstance(farm.ask(force=True), Dispatched)


def test_a_failure_is_forgotten_after_its_time_and_only_then() -> None:
    farm = Farm({"lua": evolve(POLICY, failure_ttl=1_000.0)})
    farm.login("anna")
    farm.ask()
    farm.fail("anna")
    farm.pass_time(999.0)
    assert isinstance(farm.ask(), KnownFailure)
    farm.pass_time(1.0)
    assert isinstance(farm.ask(), Dispatched)


def test_a_failure_is_remembered_for_its_revision_and_the_platform_it_was_built_for() -> None:
    farm = Farm()
    farm.login("anna", machine(arch="x86_64", cross=("ppc",)))
    farm.ask(spec(0, platform=X86))
    farm.fail("anna")
    assert isinstance(farm.ask(spec(0, platform=LINUX)), KnownFailure)
    assert isinstance(farm.ask(spec(1, platform=X86), near=1), Dispatched)
    farm.deliver("anna")
    assert isinstance(farm.ask(spec(0, platform=PPC)), Dispatched)


def test_a_failed_build_is_never_served_as_an_artifact() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.fail("anna")
    assert farm.artifacts() == []
    assert farm.request(asked).artifact_id is None


def test_who_needs_less_of_a_machine_does_not_wait_behind_who_asked_for_more() -> None:
    farm = Farm()
    farm.login("anna", machine(memory=2_048))
    greedy = farm.ask(spec(0, machine={"memory": 1_000_000}))
    assert farm.running_on(greedy) == ""
    modest = farm.ask(spec(0))
    assert farm.build_of(modest).id == farm.build_of(greedy).id
    assert farm.running_on(modest) == "anna"
    farm.deliver("anna")
    assert len(farm.ends_told(greedy)) == len(farm.ends_told(modest)) == 1


def test_who_asks_for_more_of_a_machine_joins_and_demands_nothing_of_the_build_that_is_there() -> None:
    farm = Farm()
    modest = farm.ask(spec(0))
    farm.ask(spec(0, machine={"memory": 1_000_000}))
    farm.login("anna", machine(memory=512))
    assert farm.running_on(modest) == "anna"


def test_nobody_joins_a_build_that_waits_for_a_missing_machine_when_their_own_could_start() -> None:
    farm = Farm()
    farm.login("anna", machine(libc_version="2.36"))
    old = farm.ask(spec(0, platform={"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.17"}))
    assert farm.running_on(old) == ""
    new = farm.ask(spec(0, platform={"os": "linux", "arch": "x86_64"}))
    assert farm.running_on(new) == "anna"
