"""The order as one pure function: where a Build stands among those that compete with it for a build server.

A *share* is one person, or one network of people whose addresses are not confirmed. Shares are served by turns. Time is
counted in *rounds*: in one, each share with weight 1 that has something waiting is given one Build, one with weight 2
two. What a Build is given when it is admitted is a place on this line, which stays:

    base = the clock, the round that is being served where the Build competes
    tag  = base + the rounds that its share needs for what it has open there
    key  = tag + nice

The least key is served first, of equal ones the Request that was admitted first. So who has nothing open stands right
behind what is being built, however much others have waiting; and who has much waiting stands behind themselves.

Within a share each project at each nice is a *lane*, and lanes take turns as shares do: a Build stands behind what its
own lane has, one turn of each other lane between, and never behind more than all of its share.

*Ageing*: each Build of a share that has nothing open moves the clock by ``1 / AGEING`` for whoever comes after it. So
shares that come anew, each with one Build, do not keep an older one waiting for ever. What a Build has to wait for is
bounded when it is admitted (``overtaken_at_most``); docs/adr/0054-fair-shares.md has the argument.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from buildtool.model.farm.weights import EVEN, Weights

AGEING = 100
"""So many Builds of shares that have nothing else may go before what has to wait one round."""

SPARING = 16.0
"""By so many rounds a Build that only one machine can make may go before one there that others can make too."""

Lane = tuple[str, int]
"""A project, and how nice its Builds are."""


def tag_of(base: float, open_in: Mapping[Lane, int], lane: Lane, weight: float, weights: Weights = EVEN) -> float:
    """Return the tag of a Build of ``lane``, whose share has ``open_in`` open where it competes, and this weight.

    A lane that is nicer counts as another one: it does not stand before who is less nice.
    """
    project, nice = lane
    total = sum(open_in.values())
    if not total:
        return base
    own = sum(count for (of, at), count in open_in.items() if of == project and at <= nice)
    mine = weights.of_project(project)
    others = sum(weights.of_project(of) for of, at in open_in if of != project or at > nice)
    return base + min(total, 1.0 + own * (mine + others) / mine) / weight


def key_of(tag: float, nice: int) -> float:
    """Return what Builds are ordered by: the round in which this one is due."""
    return tag + nice


def clock_after(base: float) -> float:
    """Return the clock once a Build of a share that has nothing else open was admitted at ``base``."""
    return base + 1.0 / AGEING


def rounds_between(base: float, key: float) -> float:
    """Return how many rounds a Build has to wait at most, from its base to its key, and what it may be put back by."""
    return max(0.0, key - base) + SPARING


def overtaken_at_most(base: float, key: float, shares: int, lanes: int = 1, weight: float = 1.0) -> int:
    """Return how many Builds that are admitted after this one can be started before it, where it could have been.

    ``shares`` had something open when it was admitted. Each has ``lanes`` at most, and ``weight`` at most. What an
    operator moves forward is not counted.
    """
    rounds = rounds_between(base, key)
    newcomers = math.ceil(AGEING * rounds) + 1
    each = math.ceil(weight * lanes * rounds) + 1
    return (shares + newcomers) * each
