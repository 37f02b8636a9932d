"""Sources in the scheduler: nobody who asks for a trusted one is given, waits for or is told what came of another."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.records import AttemptState, RequestState
from buildtool.model.trust.evidence import SourceTrust
from buildtool.scheduling.answers import Dispatched, Hit, JoinedBuild, KnownFailure, Queued
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import machine, spec

UNTRUSTED, TRUSTED = SourceTrust


def farm_with(*names: str) -> Farm:
    farm = Farm()
    for name in names:
        farm.login(name, machine())
    return farm


def test_what_was_made_of_an_untrusted_source_is_a_hit_for_who_asks_for_that_and_for_nobody_else() -> None:
    farm = farm_with("anna")
    farm.ask(spec(trust=UNTRUSTED))
    made = farm.deliver("anna")
    assert made.evidence.source is UNTRUSTED
    assert isinstance(farm.ask(spec(trust=UNTRUSTED)), Hit)
    assert isinstance(farm.ask(spec(trust=TRUSTED)), Dispatched)
    own = farm.deliver("anna")
    assert own.evidence.source is TRUSTED
    for trust in SourceTrust:
        found = farm.ask(spec(trust=trust))
        assert isinstance(found, Hit)
        assert found.artifact.id == own.id, "the newest"


def test_a_newer_artifact_of_an_untrusted_source_hides_none_of_a_trusted_one() -> None:
    farm = farm_with("anna")
    farm.ask(spec(trust=TRUSTED))
    own = farm.deliver("anna")
    farm.ask(spec(trust=UNTRUSTED), force=True)
    farm.deliver("anna")
    found = farm.ask(spec(trust=TRUSTED))
    assert isinstance(found, Hit)
    assert found.artifact.id == own.id


def test_a_build_of_an_untrusted_source_is_not_joined_whether_it_waits_or_runs() -> None:
    for farm in (Farm(), farm_with("anna")):
        theirs = farm.ask(spec(trust=UNTRUSTED))
        asked = farm.ask(spec(trust=TRUSTED))
        assert isinstance(asked, Queued)
        assert farm.build_of(asked).id != farm.build_of(theirs).id
        joined = farm.ask(spec(trust=UNTRUSTED))
        assert isinstance(joined, JoinedBuild)


def test_who_asks_for_an_untrusted_commit_joins_a_build_of_it_from_a_trusted_source() -> None:
    farm = farm_with("anna")
    own = farm.ask(spec(trust=TRUSTED))
    theirs = farm.ask(spec(trust=UNTRUSTED))
    assert isinstance(theirs, JoinedBuild)
    assert theirs.build.id == farm.build_of(own).id
    farm.deliver("anna")
    assert farm.state(theirs) is RequestState.SATISFIED


def test_what_is_made_of_an_untrusted_source_ends_nobody_elses_waiting() -> None:
    farm = farm_with("anna")
    farm.ask(spec(trust=UNTRUSTED))
    asked = farm.ask(spec(trust=TRUSTED))
    farm.deliver("anna")
    assert farm.state(asked) is RequestState.WAITING
    assert farm.running_on(asked) == "anna"
    farm.deliver("anna")
    assert farm.state(asked) is RequestState.SATISFIED


def test_a_failure_of_an_untrusted_source_is_told_to_nobody_who_asks_for_a_trusted_one() -> None:
    farm = farm_with("anna")
    farm.ask(spec(trust=UNTRUSTED))
    farm.fail("anna")
    assert isinstance(farm.ask(spec(trust=UNTRUSTED)), KnownFailure)
    assert isinstance(farm.ask(spec(trust=TRUSTED)), Dispatched)
    farm.fail("anna")
    assert isinstance(farm.ask(spec(trust=UNTRUSTED)), KnownFailure)


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "force", "deliver", "fail"]), st.sampled_from(SourceTrust)), max_size=25)
)
def test_whatever_happens_nobody_who_asks_for_a_trusted_source_has_anything_of_another(
    steps: list[tuple[str, SourceTrust]],
) -> None:
    farm = farm_with("anna")
    asked = []
    for what, trust in steps:
        if what in ("ask", "force"):
            asked.append(farm.ask(spec(trust=trust), force=what == "force"))
        elif any(attempt.state is not AttemptState.ENDED for attempt in farm.attempts()):
            if what == "deliver":
                farm.deliver("anna")
            else:
                farm.fail("anna")
        for answer in asked:
            request = farm.request(answer)
            if request.demand.spec.policy.source is UNTRUSTED:
                continue
            build = farm.build(request.build_id) if request.build_id is not None else None
            given_out = [one for one in farm.artifacts() if one.id == request.artifact_id]
            assert build is None or build.spec.policy.source is TRUSTED
            assert all(one.evidence.source is TRUSTED for one in given_out)
