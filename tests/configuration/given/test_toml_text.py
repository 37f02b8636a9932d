"""TOML that holds what nothing can take is refused in one line, and all else is as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.given.toml_text import tables_of


def test_what_is_written_is_what_is_found() -> None:
    assert tables_of("a = 1\n[b]\nc = ['d', 2.5, true]") == {"a": 1, "b": {"c": ["d", 2.5, True]}}
    assert tables_of(f"a = {2**63 - 1}\nb = -{2**63}") == {"a": 2**63 - 1, "b": -(2**63)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 0x" + "f" * 5_000, "a whole number has more than 64 bits"),
        ("a = [{b = 9223372036854775808}]", "a whole number has more than 64 bits"),
        ('a = "b\\u0000"', "there is a zero byte"),
        ('[a]\n"b\\u0000" = 1', "there is a zero byte"),
        ("a = " + "[" * 100_000, "lie more than 16 deep"),
        ("[" + ".".join("a" * 5_000) + "]", "lie more than 16 deep"),
        ("a =\n\n", "Invalid value"),
        ("a = 1" + "0" * 5_000, "Exceeds the limit"),
    ],
)
def test_what_no_setting_can_be_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        tables_of(text)
    assert "\n" not in str(caught.value)


@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2), max_leaves=5))
def test_whatever_is_found_can_be_written(value: object) -> None:
    try:
        found = tables_of(f"a = {value!r}")
    except ValueError:
        return
    assert repr(found)
