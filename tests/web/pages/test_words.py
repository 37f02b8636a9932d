"""Numbers and values in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.addresses import masked
from buildtool.model.options import Canonical
from buildtool.web.pages import words
from tests import strategies
from tests.web.farm import PPC

MINUTE, HOUR, DAY = 60, 3_600, 86_400


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (2 * HOUR + 30, "2 h"),
        (2 * HOUR + 5 * MINUTE, "2 h 5 min"),
        (3 * DAY + 4 * HOUR + 59, "3 d 4 h"),
    ],
)
def test_a_duration_is_said_with_its_two_largest_units(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("then", "said"),
    [(100, "just now"), (97, "3 s ago"), (-200, "5 min ago"), (220, "in 2 min"), (100 - 3 * DAY, "3 d ago")],
)
def test_an_age_is_said_with_one_unit_and_its_direction(then: float, said: str) -> None:
    assert words.age(then, 100) == said


@given(st.floats())
def test_every_number_is_some_moment(when: float) -> None:
    """Clocks of other machines may say anything; a page shows it nonetheless."""
    assert 1970 <= words.instant(when).year <= 9999


@pytest.mark.parametrize(
    ("sign", "said"),
    [
        (words.NEEDS_AT_MOST, "linux ppc (32-bit big-endian), glibc ≤ 2.36"),
        (words.RUNS_FROM, "linux ppc (32-bit big-endian), glibc ≥ 2.36"),
        (words.HAS, "linux ppc (32-bit big-endian), glibc 2.36"),
    ],
)
def test_a_platform_says_in_which_direction_versions_compare(sign: str, said: str) -> None:
    assert words.platform(PPC, sign) == said


def test_a_platform_with_nothing_said_is_any() -> None:
    assert words.platform(()) == "any platform"
    assert words.platform((("cpu_level", "x86-64-v2"), ("os", "linux"))) == "linux, ≤ x86-64-v2"
    assert words.platform((("byteorder", "big"), ("float", "soft"))) == "big-endian, float soft"


@given(strategies.platforms)
def test_a_platform_in_words_leaves_no_property_out(platform: Canonical) -> None:
    said = words.platform(platform)
    assert all(words.value(value) in said for _, value in platform)


@given(strategies.emails)
def test_a_masked_address_holds_only_the_first_letter_of_the_person(email: str) -> None:
    local, _, domain = email.partition("@")
    assert masked(email) == f"{local[0]}…@{domain}"


def test_what_is_no_address_is_masked_entirely() -> None:
    assert masked("somebody") == "…"
    assert masked("@") == "…@"


def test_memory_and_disk_are_sizes() -> None:
    assert words.machine((("cpus", 4), ("disk", 2048), ("tools", ("gcc", "make")))) == [
        ("cpus", "4"),
        ("free disk", "2.0 GiB"),
        ("tools", "gcc, make"),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nobody", "nobody"),
        ("ask ann@example.org, or <bob@example.org>;", "ask a…@example.org, or <b…@example.org>;"),
        ("user@here@example.org", "u…@example.org"),
        ("@example.org and bob@ stay", "@example.org and bob@ stay"),
        ("two\nlines of ann@example.org\n", "two\nlines of a…@example.org\n"),
    ],
)
def test_addresses_in_a_text_are_masked_and_the_rest_stays_as_it_is(text: str, shown: str) -> None:
    assert words.without_addresses(text) == shown
