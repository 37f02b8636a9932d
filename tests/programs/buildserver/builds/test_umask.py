"""A umask is said in octal, in any of the ways in which it is usual, and leaves builds their own files."""

from argparse import ArgumentTypeError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.programs.buildserver.builds.umask import umask


@given(st.integers(0, 0o77))
def test_it_is_said_with_or_without_what_marks_octal_numbers(wanted: int) -> None:
    assert {umask(text.format(wanted)) for text in ("{:o}", "{:03o}", "{:04o}", "0o{:o}", "0o{:03o}")} == {wanted}


@pytest.mark.parametrize("text", ["", "8", "0x12", "-1", "22 ", "0o", "00022", "1777", "u=rwx", "none", "\uff12\uff12"])
def test_what_is_no_umask_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="three octal digits, such as 022"):
        umask(text)


@given(st.integers(0o100, 0o777))
def test_one_that_takes_a_build_s_own_rights_is_refused_with_the_nearest(wanted: int) -> None:
    with pytest.raises(ArgumentTypeError) as raised:
        umask(f"{wanted:o}")
    near = str(raised.value).partition("say ")[2].partition(",")[0]
    assert umask(near) == wanted & 0o77
