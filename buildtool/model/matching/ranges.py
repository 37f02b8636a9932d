"""Offers that make a range of platforms: what such a one makes when something is asked for.

A compiler such as zig's makes programs for any C library between two versions. Its offer has the oldest as its
platform, so that whatever compares offers with what is wanted, also in a metaserver without ranges, is right about it.

The test is tests/model/test_ranges.py.
"""

from __future__ import annotations

import re

from attrs import evolve

from buildtool.model.options import Canonical, canonical
from buildtool.model.platforms import Value
from buildtool.model.properties import Comparison, comparison_of, meets
from buildtool.model.servers import Offer

LIBC_VERSION = "{libc_version}"
"""The words in a tool's command line that stand for the version of the C library for which it makes programs."""

_VERSION = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?)(?![0-9])")


def bound_offer(offer: Offer, wanted: Canonical) -> Offer:
    """Return the offer of the one platform that is made where ``wanted`` is required: of a range, what was asked for.

    Without a wish that is the oldest, which runs everywhere; beyond the newest it is the newest.
    """
    if not offer.up_to:
        return offer
    asked, newest = dict(wanted), dict(offer.up_to)
    chosen = {
        name: _chosen(value, newest[name], asked.get(name)) if name in newest and _has_order(name) else value
        for name, value in offer.platform
    }
    return evolve(offer, platform=canonical(chosen), up_to=())


def made_by(offer: Offer, platform: Canonical) -> Offer | None:
    """Return how exactly ``platform`` is made by an offer, with the tools for it; None where it makes another one."""
    bound = bound_offer(offer, platform)
    if bound.platform != platform:
        return None
    version = dict(platform).get("libc_version") if offer.up_to else None
    if not isinstance(version, str):
        return bound
    return evolve(bound, tools=tuple((role, text.replace(LIBC_VERSION, version)) for role, text in bound.tools))


def spanned(offer: Offer) -> Canonical:
    """Return the platform of an offer for people, with ``2.17 to 2.44`` for what it makes a range of."""
    newest = dict(offer.up_to)
    return canonical(
        {name: f"{value} to {newest[name]}" if name in newest else value for name, value in offer.platform}
    )


def _has_order(name: str) -> bool:
    return comparison_of(name) is Comparison.AT_MOST


def _chosen(oldest: Value, newest: Value, asked: Value | None) -> Value:
    """Return what is made between ``oldest`` and ``newest`` for what was ``asked``, which is at least the oldest."""
    if asked is None or meets(Comparison.AT_MOST, asked, newest):
        return oldest if asked is None or not meets(Comparison.AT_MOST, newest, oldest) else newest
    plain = _VERSION.match(asked) if isinstance(asked, str) else None
    made = plain[1] if plain else oldest  # 2.28-10+deb10u1 is a 2.28
    return made if meets(Comparison.AT_MOST, made, oldest) else oldest
