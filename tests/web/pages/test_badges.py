"""Which tone and words each state has."""

from attrs import evolve

from buildtool.model.records import AttemptEnd, AttemptState, BuildState, JoinReason, RequestState
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import Evidence, SandboxLevel, SourceTrust
from buildtool.web.pages import badges
from tests.web.farm import attempt


def test_every_state_has_a_badge_whose_text_is_its_own() -> None:
    """State is told by words, not by colour alone, so no two states of a kind read the same."""
    assert len({badges.BUILD[it].text for it in BuildState}) == len(BuildState)
    assert len({badges.REQUEST[it].text for it in RequestState}) == len(RequestState)
    assert len({it.words for it in OfferKind}) == len(OfferKind)
    assert len({badges.JOINED[it] for it in JoinReason}) == len(JoinReason)
    made = attempt(1, 1, "elm", 10, None)
    ends = [badges.attempt(evolve(made, state=AttemptState.ENDED, end=end)).text for end in AttemptEnd]
    going = [badges.attempt(evolve(made, state=state)).text for state in AttemptState]
    assert len({*ends, *going}) == len(AttemptEnd) + len(AttemptState)


def test_an_attempt_that_is_missing_says_so_although_it_will_end_as_lost() -> None:
    missing = evolve(attempt(1, 1, "elm", 10, None), state=AttemptState.MISSING, end=AttemptEnd.LOST)
    assert badges.attempt(missing).text == "missing"


def test_an_attempt_that_stands_still_says_so() -> None:
    frozen = evolve(attempt(1, 1, "elm", 10, None), state=AttemptState.BUILDING, frozen_at=12.0)
    assert badges.attempt(frozen).text == "frozen"


def test_how_something_was_made_says_in_which_sandbox_and_that_its_source_is_a_strangers() -> None:
    assert badges.made(OfferKind.NATIVE, Evidence()) == "native, from an untrusted ref"
    assert (
        badges.made(OfferKind.CROSS, Evidence(SandboxLevel.STRICT, SourceTrust.TRUSTED))
        == "cross-compiled, in a strict sandbox"
    )
