"""Offers that make a range of platforms: what is made is what was asked for, and every version between can be asked."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from buildtool.model.matching.ranges import bound_offer, made_by, spanned
from buildtool.model.matching.reasons import unmet
from buildtool.model.options import Canonical, canonical
from buildtool.model.properties import Comparison, meets
from buildtool.model.servers import Offer, OfferKind
from tests.strategies import offers, platforms, versions

BASE = {"arch": "x86_64", "libc": "glibc", "os": "linux"}
ZIG = Offer(
    canonical(BASE | {"libc_version": "2.17"}),
    OfferKind.CROSS,
    (("CC", "zig cc -target x86_64-linux-gnu.{libc_version}"), ("CC_VERSION", "zig-0.17.1")),
    (("libc_version", "2.44"),),
)


def asked(version: str) -> Canonical:
    return canonical(BASE | {"libc_version": version})


@given(offers, platforms)
def test_what_an_offer_makes_is_enough_wherever_the_offer_itself_is(offer: Offer, wanted: Canonical) -> None:
    bound = bound_offer(offer, wanted)
    assert not bound.up_to
    if not unmet(wanted, dict(offer.platform), {}):
        assert not unmet(wanted, dict(bound.platform), {})


@given(offers, platforms)
def test_only_versions_that_are_announced_differ_and_stay_between_the_oldest_and_the_newest(
    offer: Offer, wanted: Canonical
) -> None:
    before, after, newest = dict(offer.platform), dict(bound_offer(offer, wanted).platform), dict(offer.up_to)
    assert before.keys() == after.keys()
    for name, value in before.items():
        if value != after[name]:
            assert name == "libc_version"
            assert name in newest
            assert meets(Comparison.AT_MOST, after[name], value)
            assert meets(Comparison.AT_MOST, newest[name], after[name])


@given(offers, platforms)
def test_an_order_for_what_an_offer_makes_is_understood_by_that_offer(offer: Offer, wanted: Canonical) -> None:
    bound = bound_offer(offer, wanted)
    found = made_by(offer, bound.platform)
    assert found is not None
    assert found.platform == bound.platform


@given(versions, versions, versions)
def test_a_version_is_made_as_asked_where_it_is_announced_and_else_not_at_all(
    oldest: str, newest: str, wanted: str
) -> None:
    offer = Offer((("libc_version", oldest),), up_to=(("libc_version", newest),))
    between = meets(Comparison.AT_MOST, newest, wanted) and meets(Comparison.AT_MOST, wanted, oldest)
    assert (made_by(offer, (("libc_version", wanted),)) is not None) == (between or wanted == oldest)


@given(st.text(max_size=40))
def test_whatever_is_asked_for_what_is_made_is_a_plain_version(wanted: str) -> None:
    made = dict(bound_offer(ZIG, asked(wanted)).platform)["libc_version"]
    assert isinstance(made, str)
    assert made.replace(".", "").isdigit()


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ("2.28", "2.28"),
        ("2.17", "2.17"),
        ("2.44", "2.44"),
        ("2.99", "2.44"),
        ("2.28-10+deb10u1", "2.28"),
        ("2.28.9000", "2.28"),
        ("2.28000", "2.44"),
        ("3", "2.44"),
    ],
)
def test_the_recipe_gets_the_compiler_of_the_version_that_was_asked_for(wanted: str, made: str) -> None:
    bound = bound_offer(ZIG, asked(wanted))
    assert dict(bound.platform)["libc_version"] == made
    ordered = made_by(ZIG, bound.platform)
    assert ordered is not None
    assert ordered.tools == (("CC", f"zig cc -target x86_64-linux-gnu.{made}"), ("CC_VERSION", "zig-0.17.1"))


def test_who_names_no_version_gets_the_oldest_and_so_does_a_metaserver_that_knows_no_ranges() -> None:
    assert bound_offer(ZIG, canonical(BASE)).platform == ZIG.platform
    ordered = made_by(ZIG, ZIG.platform)
    assert ordered is not None
    assert dict(ordered.tools)["CC"].endswith("gnu.2.17")


def test_braces_in_the_tools_of_an_ordinary_offer_mean_nothing() -> None:
    plain = Offer(asked("2.36"), tools=(("CC", "/opt/{libc_version}/cc"),))
    assert made_by(plain, plain.platform) == plain


def test_people_are_shown_both_ends() -> None:
    assert dict(spanned(ZIG))["libc_version"] == "2.17 to 2.44"
    assert spanned(Offer(asked("2.36"))) == asked("2.36")
