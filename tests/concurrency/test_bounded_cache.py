"""Caches count bytes: they give back what was put in, forget what was not asked for, and never grow beyond a bound."""

import json
import sys

from hypothesis import given
from hypothesis import strategies as st

from buildtool.concurrency.bounded_cache import (
    BoundedCache,
    remembering,
    size_of_text,
    weight,
    weight_of_json,
    weight_of_pairs,
)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4_000)), max_size=80))
def test_what_is_kept_is_right_and_takes_no_more_than_was_said(asked: list[tuple[int, int]]) -> None:
    kept: BoundedCache[int, str] = BoundedCache(10_000)
    sizes: dict[int, int] = {}
    for key, size in asked:
        found = kept.get(key)
        assert found in (None, f"value {key}")
        if found is None:
            kept.put(key, f"value {key}", sizes.setdefault(key, size))
        assert kept.size <= 10_000
        assert kept.get(key) == f"value {key}", "what was asked for last is still there"
        assert len(kept) <= 10_000 / 200
    kept.clear()
    assert (len(kept), kept.size) == (0, 0)


def test_what_is_asked_for_again_and_again_stays_while_others_pass_by() -> None:
    kept: BoundedCache[int, int] = BoundedCache(10_000)
    kept.put(-1, 7, 100)
    for number in range(1_000):
        kept.put(number, number, 100)
        assert kept.get(-1) == 7
    assert kept.get(5) is None


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    kept: BoundedCache[str, str] = BoundedCache(10_000)
    kept.put("a", "b", 9_000)
    assert (kept.get("a"), kept.size) == (None, 0)


def test_what_is_put_anew_stands_in_place_of_what_was_there() -> None:
    kept: BoundedCache[str, int] = BoundedCache(10_000)
    for value in range(100):
        kept.put("a", value, 900)
        assert (kept.get("a"), kept.size) == (value, 1_100)
    kept.put("a", 7, 9_000)
    assert (kept.get("a"), kept.size) == (None, 0)


def test_a_function_is_asked_once_for_what_is_remembered() -> None:
    calls = []

    @remembering(10_000, lambda found, text: size_of_text(found) + size_of_text(text))
    def shout(text: str) -> str:
        calls.append(text)
        return text.upper()

    assert [shout("a"), shout("a"), shout("b")] == ["A", "A", "B"]
    assert calls == ["a", "b"]
    for number in range(1_000):
        shout(f"{number}" * 500)
    assert shout.kept.size <= 10_000  # type: ignore[attr-defined]


@given(st.recursive(st.text(max_size=300) | st.integers() | st.booleans(), lambda it: st.lists(it).map(tuple)))
def test_a_weight_is_not_far_below_what_it_takes(value: object) -> None:
    def takes(part: object) -> int:
        return sys.getsizeof(part) + (sum(map(takes, part)) if isinstance(part, tuple) else 0)

    assert weight(value) >= takes(value) / 2


_TEXTS = st.text(max_size=50) | st.just("[,]")


@given(st.lists(st.tuples(_TEXTS, st.integers() | st.booleans() | _TEXTS | st.lists(_TEXTS).map(tuple))).map(tuple))
def test_pairs_weigh_what_they_do_as_anything(pairs: tuple[tuple[str, object], ...]) -> None:
    assert weight_of_pairs(pairs) == weight(pairs)


@given(st.lists(_TEXTS | st.tuples(_TEXTS, st.integers() | st.booleans() | _TEXTS | st.lists(_TEXTS).map(tuple))))
def test_the_weight_of_a_text_and_what_is_read_from_it_is_never_below_that_of_both(value: list[object]) -> None:
    text = json.dumps(value, separators=(",", ":"))
    assert weight_of_json(text) >= weight(text) + weight(value)
