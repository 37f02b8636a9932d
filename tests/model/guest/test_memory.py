"""An amount of memory is a share of the machine's or so many GiB, and what is neither is refused in a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.guest.limits import MIB
from buildtool.model.guest.memory import read_memory

GIB = 1024 * MIB


@pytest.mark.parametrize(
    ("text", "size"),
    [("75%", 12 * GIB), ("8", 8 * GIB), ("1.5GiB", 1536 * MIB), (" 512 MiB", 512 * MIB), ("100%", 16 * GIB)],
)
def test_a_share_is_of_the_machines_memory_and_a_bare_number_is_gib(text: str, size: int) -> None:
    assert read_memory(text).of(16 * GIB) == size


@pytest.mark.parametrize("text", ["", "0%", "101%", "0", "0.5MiB", "8GB", "-1", "all", "1e9", "7" * 30, "1\n"])
def test_what_is_no_amount_is_refused_in_one_line_that_says_what_would_be_right(text: str) -> None:
    if text == "1\n":
        assert read_memory(text).size == GIB, "blanks around it are nobody's mistake"
        return
    with pytest.raises(UsageError) as refused:
        read_memory(text)
    assert "%" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_share_of_what_nobody_knows_is_refused() -> None:
    assert read_memory("2").of(None) == 2 * GIB
    with pytest.raises(UsageError, match="50% of what"):
        read_memory("50%").of(None)


@given(st.floats(0.001, 100), st.integers(MIB, 1 << 50))
def test_a_share_is_never_more_than_the_machine_has(share: float, machine: int) -> None:
    assert read_memory(f"{share:.3f}%").of(machine) <= machine
