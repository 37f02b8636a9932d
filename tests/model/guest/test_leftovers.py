"""What is left over is told by names that a build server gives, and by how long nothing has changed."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.guest.leftovers import KeptNow, is_repository, why_left

NAMES = st.sampled_from(
    ["spool", "identity", "instance", "info", "slots", "history", "..", "trying", "sources", "mirrors", "svn"]
)


@given(st.lists(NAMES | st.text(max_size=8), max_size=4), st.floats(0, 1e12), st.integers(1, 64), st.booleans())
def test_nothing_is_left_over_that_does_not_bear_a_name_of_its_own(
    parts: list[str], unused: float, slots: int, follows: bool
) -> None:
    why = why_left(tuple(parts), unused, KeptNow(slots, follows))
    own = (
        parts == ["follow"] or any(map(is_repository, parts)) or (parts[:2] == ["..", "trying"] and len(parts[2]) == 8)
    )
    assert own or not why


def test_names_of_repositories_end_in_a_digest() -> None:
    assert is_repository("https-example-org-lua-0123456789abcdef.git")
    for name in ("lua", "0123456789abcdef", "lua-0123456789abcdeg", "a/b-0123456789abcdef", "lua-0123456789ABCDEF", ""):
        assert not is_repository(name), name
