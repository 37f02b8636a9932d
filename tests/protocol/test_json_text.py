"""A text of a message is bounded before it is parsed, and what JSON leaves open is refused."""

import json
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.errors import DecodeError
from buildtool.protocol.json_text import TextBounds, memory_of, parsed, size_of_text, written

WIDE = TextBounds(100_000, 100)

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(['",[{:', "\\", '\\"', "\\u"])
plain = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


def values(data: object) -> int:
    """Return how many values and names there are, the outermost not counted."""
    if isinstance(data, dict):
        return sum(2 + values(value) for value in data.values()) + (not data)
    return sum(1 + values(value) for value in data) + (not data) if isinstance(data, list) else 0


def depth(data: object) -> int:
    if isinstance(data, dict):
        return 1 + max(map(depth, data.values()), default=0)
    return 1 + max(map(depth, data), default=0) if isinstance(data, list) else 0


@given(plain)
def test_what_is_written_is_parsed_as_it_was_and_any_other_json_of_it_too(data: Any) -> None:
    assert parsed(written(data), WIDE) == data
    assert parsed(json.dumps(data, indent=2).encode(), WIDE) == data


@given(texts)
def test_a_text_is_as_long_as_it_is_said_to_be(text: str) -> None:
    assert len(written(text)) == size_of_text(text) + 2


def refused(text: bytes, bounds: TextBounds) -> str:
    """Return why a text is refused; nothing where it is not."""
    try:
        parsed(text, bounds)
    except DecodeError as why:
        return str(why)
    return ""


@given(plain, st.integers(0, 40), st.integers(0, 6))
def test_values_and_depth_are_counted_exactly_where_there_may_be_too_many(data: Any, most: int, deep: int) -> None:
    """Whatever stands in strings: commas, colons, brackets, quotation marks."""
    said = refused(written(data), TextBounds(most, deep))
    if "values" in said:
        assert values(data) > most
    else:
        assert (depth(data) > deep) is bool(said)


def test_so_many_values_as_are_allowed_pass_and_one_more_does_not() -> None:
    assert parsed(b'[1,2,"' + b"[{,:" * 100 + b'"]', TextBounds(3)) == [1, 2, "[{,:" * 100]
    with pytest.raises(DecodeError, match="a text of more than 2 values"):
        parsed(b'[1,2,"' + b"[{,:" * 100 + b'"]', TextBounds(2))
    assert parsed(b"[[[]]]", TextBounds(9, 3)) == [[[]]]
    with pytest.raises(DecodeError, match="nests more than 2 deep"):
        parsed(b"[[[]]]", TextBounds(9, 2))


@given(st.binary(max_size=60) | st.text('[]{}",:\\u0dD8 1e-NI', max_size=40).map(str.encode))
@example(b'"' + b'\\"' * 30)
def test_arbitrary_bytes_are_parsed_or_refused_in_one_short_line(text: bytes) -> None:
    said = refused(text, TextBounds(20, 4))
    assert "\n" not in said
    assert len(said) < 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NaN", "the number NaN"),
        ('{"a":[-Infinity]}', "the number -Infinity"),
        ("1e999", "too large"),
        ("-1e400", "too large"),
        ("0." + "1" * 100, "too long"),
        (str(2**63), "more than 64 bits"),
        (str(-(2**63) - 1), "more than 64 bits"),
        ("9" * 10_000, "more than 64 bits"),
        ('{"a":1,"a":1}', "a name twice"),
        ('{"a":1,"\\u0061":2}', "a name twice"),
        ('"\\ud800"', "half a surrogate pair"),
        ('"\\udc00\\ud800"', "half a surrogate pair"),
        ('"\\\\\\ud800"', "half a surrogate pair"),
        ('{"\\uDBFFx":1}', "half a surrogate pair"),
        ('"a\nb"', "not JSON: Invalid control character"),
        ("", "not JSON"),
        ("{} {}", "not JSON: Extra data"),
        ("'a'", "not JSON"),
        ("\ufeff{}", "not JSON"),
        ("[" * 50, "brackets do not match"),
        ("]" * 50 + "[" * 50, "not JSON"),
    ],
)
def test_what_json_leaves_open_is_refused(text: str, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        parsed(text.encode(), TextBounds(1_000, 20))


@pytest.mark.parametrize("text", [b'"\xff"', b'"\xed\xa0\x80"', '"ü"'.encode("utf-16"), b"\xfe\xff"])
def test_what_is_not_utf_8_is_refused(text: bytes) -> None:
    with pytest.raises(DecodeError, match="not UTF-8"):
        parsed(text, WIDE)


@pytest.mark.parametrize("text", ['"\\ud83d\\ude00"', '"\\\\ud800"', '"\\\\\\\\ud800"', '"\\u00e9"'])
def test_whole_pairs_and_what_only_looks_like_an_escape_pass(text: str) -> None:
    assert parsed(text.encode(), WIDE) == json.loads(text)


def taken(data: object, known: set[int]) -> int:
    """Return how many bytes of memory data takes; what there is once for the whole program does not count."""
    if id(data) in known or data is None or isinstance(data, bool) or data in range(-5, 257):
        return 0
    known.add(id(data))
    inner = [*data.items()] if isinstance(data, dict) else data if isinstance(data, list) else []
    each = [part for pair in inner for part in pair] if isinstance(data, dict) else inner
    return sys.getsizeof(data) + sum(taken(part, known) for part in each)


@given(plain)
@example([[]] * 1_000)
@example([{}] * 1_000)
@example([{"a": 1_000 + number} for number in range(1_000)])
@example([{"a": {"b": {"c": {}}}}] * 1_000)
@example([float(number) for number in range(1_000)])
@example(["\N{GRINNING FACE}" + "x" * 1_000])
@example([{str(number): str(number) for number in range(1_000)}])
@example(["ab", "cd", 2**60] * 100)
def test_the_objects_of_a_text_take_no_more_memory_than_is_charged_for_them(data: Any) -> None:
    text = written(data)
    assert taken(parsed(text, WIDE), set()) <= memory_of(text)
