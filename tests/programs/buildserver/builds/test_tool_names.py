"""Programs are named as they are called, and not by where they are."""

from argparse import ArgumentTypeError

import pytest

from buildtool.programs.buildserver.builds.tool_names import MOST, tool_names


def test_names_stand_between_commas_each_once() -> None:
    assert tool_names(" ccache, g++,ccache,,python3 ") == ("ccache", "g++", "python3")


@pytest.mark.parametrize(
    "text", ["", ",", "/usr/bin/make", "..", "a" * 101, "ma\nke", ",".join(map(str, range(MOST + 1)))]
)
def test_what_is_no_name_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="such as"):
        tool_names(text)
