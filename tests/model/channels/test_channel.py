"""Which tags a channel follows, and in which order."""

import hypothesis.strategies as st
from hypothesis import given

from buildtool.model.channels.channel import ReleaseChannel, tagged
from buildtool.model.triggers.trigger import Variant

RELEASE = ReleaseChannel("release", "refs/tags/v*", (Variant({}, {}),))
ORDER = [
    "v0.9",
    "v1.2-alpha1",
    "v1.2-beta2",
    "v1.2-rc1",
    "v1.2-rc10",
    "v1.2",
    "v1.2-p1",
    "v1.2.1",
    "v1.10",
    "v2.0rc1",
    "v2.0",
]


@given(st.permutations(ORDER))
def test_the_highest_version_comes_first_and_what_is_before_a_version_before_it(shuffled: list[str]) -> None:
    refs = {f"refs/tags/{name}": name for name in shuffled}
    others = {"refs/heads/v3": "a branch", "refs/tags/w1": "another", "HEAD": "head"}
    assert [name for name, _ in tagged(RELEASE, {**others, **refs})] == ORDER[::-1]


@given(st.lists(st.text("v0123456789.-rcp", min_size=1, max_size=9), unique=True, max_size=12))
def test_any_names_have_one_order(names: list[str]) -> None:
    refs = {f"refs/tags/v{name}": name for name in names}
    backwards = dict(reversed(refs.items()))
    assert tagged(RELEASE, refs) == tagged(RELEASE, backwards)
    assert len(tagged(RELEASE, refs)) == len(names)
