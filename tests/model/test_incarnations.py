"""Lives of a state directory: what is derived for a row follows from its id and its life, and from nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.incarnations import FIRST, Incarnation, Incarnations, Keys, Whereabouts, copied_in

ids = st.integers(1, 10**6)
secrets = st.binary(min_size=32, max_size=32)
lives = st.lists(st.tuples(ids, ids), min_size=1, max_size=5).map(
    lambda pairs: Incarnations(
        tuple(
            Incarnation(f"{number:016x}", request, build)
            for number, (request, build) in enumerate(
                zip(sorted(pair[0] for pair in pairs), sorted(pair[1] for pair in pairs), strict=True)
            )
        )
    )
)


@given(secrets, ids)
def test_what_was_given_before_lives_were_told_apart_is_as_it_was(secret: bytes, number: int) -> None:
    assert Keys(secret).request(number) == Keys(secret).build(number) == secret
    upgraded = Keys(secret, Incarnations((Incarnation(FIRST), Incarnation("a" * 16, number + 1, number + 1))))
    assert upgraded.request(number) == upgraded.build(number) == secret
    assert upgraded.request(number + 1) != secret != upgraded.build(number + 1)


@given(secrets, lives, ids, ids)
def test_a_row_keeps_the_key_of_its_life_whatever_lives_follow(
    secret: bytes, known: Incarnations, number: int, later: int
) -> None:
    """The next life begins with ids that were free."""
    first = max(number, known.lives[-1].first_request, known.lives[-1].first_build) + later
    more = Incarnations((*known.lives, Incarnation("f" * 16, first, first)))
    assert Keys(secret, more).request(number) == Keys(secret, known).request(number)
    assert Keys(secret, more).build(number) == Keys(secret, known).build(number)


@given(secrets, lives, ids, ids)
def test_two_rows_have_the_same_key_exactly_when_they_are_of_one_life(
    secret: bytes, known: Incarnations, one: int, two: int
) -> None:
    keys = Keys(secret, known)
    assert (keys.request(one) == keys.request(two)) == (known.of_request(one) == known.of_request(two))
    assert (keys.build(one) == keys.build(two)) == (known.of_build(one) == known.of_build(two))


@given(secrets, secrets)
def test_a_fingerprint_tells_secrets_apart_and_gives_nothing_away(one: bytes, two: bytes) -> None:
    assert (Keys(one).fingerprint() == Keys(two).fingerprint()) == (one == two)
    assert one.hex() not in repr(Keys(one))
    assert Keys(one).fingerprint() not in one.hex()


@given(*[st.tuples(*[st.sampled_from("ab")] * 4)] * 2)
def test_a_directory_is_as_it_was_only_when_nothing_that_the_system_says_differs(
    before: tuple[str, str, str, str], now: tuple[str, str, str, str]
) -> None:
    words = copied_in(Whereabouts(*before), Whereabouts(*now))
    assert bool(words) == (before != now)
    assert len(words.split(", ")) == max(1, sum(one != other for one, other in zip(before, now, strict=True)))


def test_there_is_one_life_at_least() -> None:
    with pytest.raises(ValueError, match="one life at least"):
        Incarnations(())
