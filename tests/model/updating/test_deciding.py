"""What is tried is signed, newer, no failure of before, and nothing that would keep the old one from going on."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.guest.following import FollowedTip, Kinship, SignatureVerdict
from buildtool.model.updating.deciding import UpdateStanding, UpdateStep, decide_update
from buildtool.model.updating.record import FailedUpdate

TIP, OLD = "2" * 40, "1" * 40
NEW = UpdateStanding(FollowedTip(TIP, SignatureVerdict.TRUSTED, Kinship.NEWER, "anna"), "v2", OLD, now=1_000_000.0)
FAILED = FailedUpdate(TIP, "v2", "it was not ready within 60 s", 999_000.0)

STANDINGS = st.builds(
    UpdateStanding,
    tip=st.builds(
        FollowedTip,
        st.just(TIP),
        st.sampled_from(SignatureVerdict),
        st.sampled_from(Kinship),
        st.sampled_from(["", "x"]),
    ),
    name=st.just("v2"),
    holds=st.just(OLD),
    unsigned=st.booleans(),
    asks=st.booleans(),
    accepted=st.sampled_from(["", OLD, TIP]),
    failed=st.sampled_from([None, FAILED, evolve(FAILED, again=999_500.0), evolve(FAILED, again=1_000_500.0)]),
    migrations=st.sampled_from([(), ("0020",)]),
    backed_up=st.booleans(),
    lacking=st.sampled_from([(), ("0019",)]),
    now=st.just(1_000_000.0),
)


def decided(**changes: object) -> tuple[UpdateStep, str]:
    decision = decide_update(evolve(NEW, **changes))  # type: ignore[arg-type] # fields by name
    return decision.step, decision.words


def test_what_is_signed_and_newer_is_tried_and_what_runs_is_left_alone() -> None:
    assert decided() == (UpdateStep.TRY, "v2 is new")
    assert decided(tip=evolve(NEW.tip, kinship=Kinship.SAME))[0] is UpdateStep.REST


def test_what_is_not_signed_by_a_key_is_refused_also_when_it_was_accepted_by_hand() -> None:
    words = {
        SignatureVerdict.UNSIGNED: "v2 is not signed, so nothing of it is used",
        SignatureVerdict.UNKNOWN: "v2 is signed by anna, which is none of yours that count now, so nothing "
        "of it is used",
        SignatureVerdict.BROKEN: "v2 has a signature that is not right, so nothing of it is used",
    }
    for verdict, said in words.items():
        assert decided(tip=evolve(NEW.tip, signature=verdict), accepted=TIP) == (UpdateStep.REFUSE, said)


def test_a_branch_that_went_back_or_was_written_anew_is_refused_until_it_is_accepted() -> None:
    older = evolve(NEW.tip, kinship=Kinship.OLDER)
    assert decided(tip=older) == (
        UpdateStep.REFUSE, "v2 is older than 111111111111, which runs; if you mean it, type accept 222222222222"
    )  # fmt: skip
    forked = decided(tip=evolve(NEW.tip, kinship=Kinship.FORKED))
    assert forked[0] is UpdateStep.REFUSE
    assert "its history was written anew" in forked[1]
    assert decided(tip=older, accepted=TIP)[0] is UpdateStep.TRY


def test_what_failed_is_told_with_its_reason_and_tried_again_only_when_it_is_accepted_or_its_time_has_come() -> None:
    step, words = decided(failed=FAILED)
    assert step is UpdateStep.FAILED
    assert words.endswith("and is not tried again until something newer comes: it was not ready within 60 s")
    assert decided(failed=FAILED, accepted=TIP)[0] is UpdateStep.TRY
    assert decided(failed=evolve(FAILED, again=1_000_001.0))[0] is UpdateStep.FAILED
    assert decided(failed=evolve(FAILED, again=1_000_000.0))[0] is UpdateStep.TRY


def test_what_failed_while_the_clock_was_ahead_does_not_wait_until_it_is_as_late_again() -> None:
    ahead = evolve(FAILED, at=9_000_000.0, again=9_000_600.0)
    assert decided(failed=ahead)[0] is UpdateStep.TRY
    assert decided(failed=evolve(ahead, again=None))[0] is UpdateStep.FAILED


def test_a_version_after_which_the_old_one_cannot_run_waits_for_who_wants_a_backup() -> None:
    step, words = decided(migrations=("0020", "0021"))
    assert step is UpdateStep.REFUSE
    assert words == (
        "v2 brings revision 0021 of the database, after which 111111111111 cannot run any more: say "
        "--with-migrations DIR, and a backup is made there first"
    )
    assert decided(migrations=("0020",), backed_up=True)[0] is UpdateStep.TRY
    assert decided(lacking=("0019",), accepted=TIP)[0] is UpdateStep.REFUSE


@given(STANDINGS)
def test_nothing_is_tried_that_anything_is_against(standing: UpdateStanding) -> None:
    step = decide_update(standing).step
    by_hand = standing.accepted == TIP
    trusted = standing.unsigned or standing.tip.signature is SignatureVerdict.TRUSTED
    kin = standing.tip.kinship
    if step is UpdateStep.TRY:
        assert trusted
        assert kin is not Kinship.SAME
        assert by_hand or kin in (Kinship.FIRST, Kinship.NEWER)
        assert by_hand or kin is Kinship.FIRST or not standing.asks
        assert standing.backed_up or not standing.migrations or kin is Kinship.FIRST
        assert not standing.lacking
    waits = standing.failed is not None and standing.failed.again is not None and standing.failed.again > standing.now
    if by_hand and trusted and kin is Kinship.NEWER and not (standing.migrations or standing.lacking or waits):
        assert step is UpdateStep.TRY


def test_who_wishes_to_be_asked_is_and_the_first_version_needs_no_answer() -> None:
    step, words = decided(asks=True)
    assert (step, words) == (UpdateStep.ASK, "v2 waits for you: read what diff shows, then type accept 222222222222")
    assert decided(asks=True, tip=evolve(NEW.tip, kinship=Kinship.FIRST), holds="")[0] is UpdateStep.TRY
