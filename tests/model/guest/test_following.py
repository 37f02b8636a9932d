"""What of a followed repository runs on its owner's machine: signed, newer, tried, and between builds, or by hand."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from buildtool.model.guest.following import (
    FollowDecision,
    FollowedTip,
    FollowStanding,
    FollowStep,
    Kinship,
    SignatureVerdict,
    TrialVerdict,
    decide_following,
)

RUNS_IT = (FollowStep.TRY, FollowStep.APPLY)

standings = st.builds(
    FollowStanding,
    tip=st.builds(
        FollowedTip,
        commit=st.sampled_from(["a" * 40, "b" * 40]),
        signature=st.sampled_from(SignatureVerdict),
        kinship=st.sampled_from(Kinship),
        signer=st.sampled_from(["", "SHA256:abc"]),
    ),
    holds=st.sampled_from(["", "a" * 40, "c" * 40]),
    asks=st.booleans(),
    accepted=st.sampled_from(["", "a" * 40, "b" * 40]),
    trial=st.sampled_from(TrialVerdict),
    trial_words=st.just("it raised"),
    running=st.integers(0, 2),
    closed=st.booleans(),
    loaded=st.booleans(),
)


@given(standings)
def test_nothing_runs_that_is_not_signed_and_newer_or_named_by_hand(standing: FollowStanding) -> None:
    step = decide_following(standing).step
    by_hand = standing.accepted == standing.tip.commit
    if step in (*RUNS_IT, FollowStep.DRAIN):
        assert standing.tip.signature is SignatureVerdict.TRUSTED
        again = standing.tip.kinship is Kinship.SAME and not standing.loaded
        assert by_hand or again or standing.tip.kinship in (Kinship.FIRST, Kinship.NEWER)
        assert by_hand or again or not standing.asks
    if step is FollowStep.APPLY:
        assert (standing.trial, standing.running, standing.closed) == (TrialVerdict.PASSED, 0, True)


@given(standings)
def test_what_is_refused_or_waits_says_so_and_names_the_commit(standing: FollowStanding) -> None:
    decided = decide_following(standing)
    assert (standing.tip.commit[:12] in decided.words) == (decided.step not in (FollowStep.REST, FollowStep.TRY))


@pytest.mark.parametrize(
    ("signature", "kinship", "words"),
    [
        (SignatureVerdict.UNSIGNED, Kinship.NEWER, "bbbbbbbbbbbb is not signed, so nothing of it is used"),
        (SignatureVerdict.UNKNOWN, Kinship.NEWER, "is signed by SHA256:x, which is none of yours that count now"),
        (SignatureVerdict.BROKEN, Kinship.NEWER, "has a signature that is not right"),
        (SignatureVerdict.UNSIGNED, Kinship.SAME, "which holds, is not signed: it is not loaded at the next start"),
        (SignatureVerdict.TRUSTED, Kinship.OLDER, "is older than cccccccccccc, which holds; if you mean it, type"),
        (SignatureVerdict.TRUSTED, Kinship.FORKED, "does not descend from cccccccccccc, which holds"),
    ],
)
def test_a_refusal_says_what_is_wrong(signature: SignatureVerdict, kinship: Kinship, words: str) -> None:
    tip = FollowedTip("b" * 40, signature, kinship, "SHA256:x")
    decided = decide_following(FollowStanding(tip, holds="c" * 40))
    assert decided.step is FollowStep.REFUSE
    assert words in decided.words


def test_a_commit_goes_from_its_trial_over_the_end_of_builds_to_being_taken_over() -> None:
    tip = FollowedTip("b" * 40, SignatureVerdict.TRUSTED, Kinship.NEWER)

    def then(trial: TrialVerdict, running: int, *, closed: bool) -> FollowDecision:
        return decide_following(FollowStanding(tip, "c" * 40, trial=trial, running=running, closed=closed))

    assert then(TrialVerdict.UNTRIED, 1, closed=False).step is FollowStep.TRY
    assert then(TrialVerdict.PASSED, 1, closed=False).step is FollowStep.DRAIN
    assert then(TrialVerdict.PASSED, 0, closed=False).step is FollowStep.DRAIN
    assert then(TrialVerdict.PASSED, 1, closed=True).step is FollowStep.DRAIN
    assert then(TrialVerdict.PASSED, 0, closed=True).step is FollowStep.APPLY
    assert then(TrialVerdict.FAILED, 0, closed=True).step is FollowStep.REFUSE


class FollowingMachine(RuleBasedStateMachine):
    """A repository that a stranger may push to, a build server that follows it, and an owner who may name commits.

    Commits are numbers; each has a parent. What the machine runs is compared with what the owner wished.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parents: dict[int, int | None] = {0: None}
        self.signed = {0}
        self.broken: set[int] = set()
        self.tip, self.holds, self.accepted = 0, -1, -1
        self.named: set[int] = set()
        self.passed: set[int] = set()
        self.failed: set[int] = set()
        self.asks = False
        self.loaded = True
        self.running, self.closed = 0, False
        self.ran: list[tuple[int, int, bool]] = []

    def before(self, commit: int) -> set[int]:
        found: set[int] = set()
        parent = self.parents[commit]
        while parent is not None:
            found.add(parent)
            parent = self.parents[parent]
        return found

    @rule(data=st.data(), signed=st.booleans(), broken=st.booleans())
    def push(self, data: st.DataObject, signed: bool, broken: bool) -> None:
        number = len(self.parents)
        self.parents[number] = data.draw(st.sampled_from([None, *self.parents]))
        self.signed |= {number} if signed else set()
        self.broken |= {number} if broken else set()
        self.tip = number

    @rule(data=st.data())
    def move_the_branch(self, data: st.DataObject) -> None:
        self.tip = data.draw(st.sampled_from(sorted(self.parents)))

    @rule(asks=st.booleans())
    def wish(self, asks: bool) -> None:
        self.asks = asks

    @rule()
    def name_by_hand(self) -> None:
        self.accepted = self.tip
        self.named.add(self.tip)
        self.failed.discard(self.tip)

    @rule()
    def start_without_what_holds(self) -> None:
        """The copy of the repository is damaged, and the machine's own projects stand in."""
        if self.holds >= 0:
            self.loaded, self.closed, self.running, self.passed = False, False, 0, set()

    @rule(running=st.integers(0, 2))
    def build(self, running: int) -> None:
        if not self.closed or running < self.running:
            self.running = running

    @rule()
    def look(self) -> None:
        for _ in range(6):
            step = decide_following(self.standing()).step
            if step is FollowStep.TRY:
                self.ran.append((self.tip, self.holds, self.asks))
                (self.failed if self.tip in self.broken else self.passed).add(self.tip)
            elif step is FollowStep.DRAIN:
                self.closed = True
                if self.running:
                    return
            elif step is FollowStep.APPLY:
                assert not self.running
                self.ran.append((self.tip, self.holds, self.asks))
                assert self.tip in self.passed
                self.holds, self.closed, self.loaded = self.tip, False, True
                self.passed = set()  # it starts anew
            else:
                return
        raise AssertionError("it comes to no end")

    def standing(self) -> FollowStanding:
        tip, holds = self.tip, self.holds
        if holds < 0:
            kinship = Kinship.FIRST
        elif tip == holds:
            kinship = Kinship.SAME
        elif holds in self.before(tip):
            kinship = Kinship.NEWER
        else:
            kinship = Kinship.OLDER if tip in self.before(holds) else Kinship.FORKED
        signature = SignatureVerdict.TRUSTED if tip in self.signed else SignatureVerdict.UNSIGNED
        trial = TrialVerdict.FAILED if tip in self.failed else TrialVerdict.UNTRIED
        trial = TrialVerdict.PASSED if tip in self.passed else trial
        return FollowStanding(
            FollowedTip(f"{tip:040x}", signature, kinship),
            "" if holds < 0 else f"{holds:040x}",
            self.asks,
            "" if self.accepted < 0 else f"{self.accepted:040x}",
            trial,
            running=self.running,
            closed=self.closed,
            loaded=self.loaded,
        )

    @invariant()
    def only_what_the_owner_wished_ran(self) -> None:
        for commit, holds, asks in self.ran:
            assert commit in self.signed
            assert holds < 0 or holds in self.before(commit) or commit in self.named or commit == holds
            assert not asks or commit in self.named or commit == holds

    @invariant()
    def what_holds_is_no_configuration_that_failed(self) -> None:
        assert self.holds not in self.broken

    @invariant()
    def what_may_be_taken_over_is(self) -> None:
        """A look with nothing building leads there."""
        tip = self.tip
        again = tip == self.holds
        newer = self.holds < 0 or self.holds in self.before(tip) or tip == self.accepted or again
        asked = not self.asks or tip == self.accepted or again
        fine = tip in self.signed and tip not in self.broken and newer and asked
        if fine and not self.running:
            self.look()
            assert self.holds == tip
            assert self.loaded


TestFollowingMachine = FollowingMachine.TestCase
