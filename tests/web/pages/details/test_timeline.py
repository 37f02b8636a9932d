"""The bars of attempts along the time."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.records import Attempt, Build
from buildtool.web.pages.details.timeline import timeline
from tests import strategies


@given(strategies.builds, st.lists(strategies.attempts, max_size=5), strategies.times)
def test_the_bars_of_the_timeline_stay_inside_it_whatever_the_clocks_said(
    made: Build, attempts: list[Attempt], when: float
) -> None:
    shown = timeline(made, attempts, when)
    assert len(shown.bars) == len(attempts)
    for bar in shown.bars:
        for stretch in [bar.building, *([bar.waiting] if bar.waiting else [])]:
            assert 0 <= stretch.x <= 100
            assert 0 <= stretch.width <= 100
            assert stretch.x + stretch.width <= 100.02
        assert bar.building.width > 0
