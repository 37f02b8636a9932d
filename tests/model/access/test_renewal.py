"""When a certificate is renewed: in time, and by a thousand machines that joined at once not at once."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.access.renewal import RENEWED_AFTER, SPREAD, renewal_at

LIVES = st.floats(10.0, 400 * 86_400.0)
FRACTIONS = st.floats(0.0, 1.0)
MADE = st.floats(1.6e9, 2.0e9)


@given(MADE, LIVES, FRACTIONS)
def test_a_certificate_is_renewed_within_a_tenth_of_its_life_before_two_thirds_of_it(
    made: float, life: float, fraction: float
) -> None:
    at = renewal_at(made, made + life, fraction)
    slack = 1e-6 * life + 1e-3
    assert made + (RENEWED_AFTER - SPREAD) * life - slack <= at <= made + RENEWED_AFTER * life + slack


@given(MADE, LIVES, FRACTIONS, FRACTIONS)
def test_who_draws_more_renews_no_later(made: float, life: float, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert renewal_at(made, made + life, more) <= renewal_at(made, made + life, less)


@given(MADE, LIVES, st.integers(100, 1_000))
def test_of_machines_that_joined_at_once_no_tenth_of_the_spread_sees_more_than_a_third(
    made: float, life: float, count: int
) -> None:
    """Drawn evenly, a tenth of them renews in each tenth of the time, whatever the life is."""
    times = [renewal_at(made, made + life, (number + 0.5) / count) for number in range(count)]
    first, width = min(times), (max(times) - min(times)) / 10
    full = [sum(first + part * width <= at < first + (part + 1) * width for at in times) for part in range(10)]
    assert max(full) <= count / 3
    assert max(times) - min(times) >= 0.9 * SPREAD * life
