"""Which build server can build what, and with which of its offers.

The test is tests/model/test_matching.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import evolve, frozen

from buildtool.model.matching.acceptance import acceptable, made_for
from buildtool.model.matching.ranges import bound_offer
from buildtool.model.matching.reasons import Cause, Reason, unmet
from buildtool.model.platforms import Value
from buildtool.model.properties import Comparison, comparison_of, meets
from buildtool.model.records import BuildSpec
from buildtool.model.servers import OFFER_RANK, Capability, Offer, OfferKind, ProjectSkill
from buildtool.model.text import one_line
from buildtool.model.trust.evidence import EvidencePolicy

Mark = tuple[Value | None, ...]

NOTE_SAID = 120
"""Most characters that a reason tells of what a build server says of its sandbox."""

MARKS = ("arch", "libc", "os")
"""The properties by which offers are found."""


@frozen
class OfferFit:
    """The best offer of a build server for a Build; its machine is left aside.

    ``offer`` is the best that makes the platform, or None; then ``lacking`` says what the nearest of them lacks.
    """

    unskilled: tuple[Reason, ...]
    offer: Offer | None
    lacking: tuple[Reason, ...] = ()

    def verdict(self, machine: Iterable[Reason]) -> Offer | list[Reason]:
        """Return the offer, or the reasons why not, those of the ``machine`` among them."""
        return [*self.unskilled, *machine, *self.lacking] or self.offer or []


class Requirements:
    """The needs of a Build, to be compared with many build servers.

    Every value that several offers have is compared once, and an offer is looked at no further than it can still be the
    nearest, so that a build server with 64 offers costs less than 0.1 ms.
    """

    def __init__(self, spec: BuildSpec, skill: ProjectSkill, comparisons: Mapping[str, Comparison]) -> None:
        self._spec = spec
        self._skill = skill
        self._comparisons = comparisons
        self._checks: list[tuple[str, Value, Comparison, dict[str, bool]]] = [
            (name, value, comparisons.get(name) or comparison_of(name), {}) for name, value in spec.platform
        ]
        exact = {name: value for name, value, comparison, _ in self._checks if comparison is Comparison.EXACT}
        self._mark = mark_of(exact) if all(name in exact for name in MARKS) else None

    def fit(self, capability: Capability, forbidden: Collection[str] = ()) -> OfferFit:
        """Return how what a build server announces fits, its machine left aside.

        ``forbidden`` are the projects that it may not build.
        """
        unskilled = tuple(_unskilled(capability, self._skill, forbidden))
        nearest, least = None, len(self._checks) + 2
        for offer in by_rank(capability.offers):
            lacks = self._lacks(offer, least)
            if lacks < least:
                nearest, least = offer, lacks
            if not lacks:
                return OfferFit(unskilled, bound_offer(offer, self._spec.platform))
        if nearest is None:
            return OfferFit(unskilled, None, (Reason(Cause.PROPERTY, "platform", "any", None),))
        return OfferFit(unskilled, None, tuple(self._lacking(nearest)))

    def makes(
        self, capability: Capability, by_mark: Mapping[Mark, Sequence[Offer]], forbidden: Collection[str] = ()
    ) -> Offer | None:
        """Return the offer with which a build server makes this if its machine suffices, or None.

        ``by_mark`` has the offers of the capability by their marks: the others need not be looked at. ``forbidden`` are
        the projects that it may not build.
        """
        if _unskilled(capability, self._skill, forbidden):
            return None
        offers = capability.offers if self._mark is None else by_mark.get(self._mark, ())
        found = next((offer for offer in by_rank(offers) if not self._lacks(offer, 1)), None)
        return None if found is None else bound_offer(found, self._spec.platform)

    def machine(self, capability: Capability) -> list[Reason]:
        """Return what the machine itself lacks: properties, and a sandbox of the level that is demanded."""
        spec = self._spec
        lacks = unmet(spec.machine, dict(capability.machine), self._comparisons) if spec.machine else []
        return lacks + refused_evidence(capability, spec.policy)

    def _lacks(self, offer: Offer, most: int) -> int:
        """Return how many of the properties an offer lacks, at most ``most``."""
        have = dict(offer.platform)
        count = int(self._spec.native and offer.kind is not OfferKind.NATIVE)
        for name, value, comparison, known in self._checks:
            if count >= most:
                break
            there = have.get(name)
            if type(there) is not str:
                count += not meets(comparison, value, there)
                continue
            met = known.get(there)
            if met is None:
                met = known[there] = meets(comparison, value, there)
            count += not met
        return count

    def _lacking(self, offer: Offer) -> list[Reason]:
        missing = unmet(self._spec.platform, dict(offer.platform), self._comparisons)
        if self._spec.native and offer.kind is not OfferKind.NATIVE:
            missing.append(Reason(Cause.NATIVE, "kind", "native", offer.kind.value))
        return missing


def refused_evidence(capability: Capability, policy: EvidencePolicy) -> list[Reason]:
    """Return why what a build server makes is not acceptable, with what it says of its sandbox."""
    reasons = acceptable(made_for(capability.evidence, policy), policy)
    if not reasons or not capability.sandbox_notes:
        return reasons
    note = one_line(capability.sandbox_notes[0], NOTE_SAID)
    return [evolve(reason, note=note) if reason.cause is Cause.SANDBOX else reason for reason in reasons]


def by_rank(offers: Sequence[Offer]) -> Sequence[Offer]:
    """Return offers, native ones before cross and emulated ones."""
    return offers if len(offers) <= 1 else sorted(offers, key=lambda offer: OFFER_RANK[offer.kind])


def by_mark(offers: Iterable[Offer]) -> dict[Mark, list[Offer]]:
    """Return offers by what has to be exactly right in nearly every demand."""
    found: dict[Mark, list[Offer]] = {}
    for offer in offers:
        found.setdefault(mark_of(dict(offer.platform)), []).append(offer)
    return found


def mark_of(platform: Mapping[str, Value]) -> Mark:
    """Return the mark of a platform: its properties ``MARKS``."""
    return tuple(platform.get(name) for name in MARKS)


def _unskilled(capability: Capability, wanted: ProjectSkill, forbidden: Collection[str]) -> list[Reason]:
    skill = capability.skill(wanted.project)
    if skill is None:
        return [Reason(Cause.PROJECT, "project", wanted.project, None)]
    if wanted.project in forbidden:
        return [Reason(Cause.FORBIDDEN, "project", wanted.project, None)]
    if skill.recipe_version != wanted.recipe_version:
        return [Reason(Cause.RECIPE, wanted.project, wanted.recipe_version, skill.recipe_version)]
    if skill.options_digest != wanted.options_digest:
        return [Reason(Cause.DESCRIPTIONS, wanted.project)]
    return []
