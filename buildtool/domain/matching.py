"""Who satisfies whom, who can build what, and the reason for every no.

Comparison has a direction (docs/integrator.rst): a requirement *libc at most 2.36* is met by a binary that needs
2.31; a requirement *memory at least 4096* by a machine that has 8192.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from buildtool.domain.model import (
    OFFER_RANK,
    Artifact,
    BuildSpec,
    Capability,
    Demand,
    Offer,
    OfferKind,
    ProjectSkill,
    canonical,
)
from buildtool.domain.options import STANDARD, Canonical, Comparison, ProjectOptions, written
from buildtool.domain.platforms import (
    CPU_LEVELS,
    FOLLOWS_FROM,
    Value,
    compare_versions,
    contradiction,
    derived,
)
from buildtool.domain.text import one_line
from buildtool.errors import UsageError

MEMBERS_SAID = 8
"""How many members of a set a reason names; the others are counted."""

VALUE_SAID = 80
"""Most characters of a value in a reason."""

REASONS_SAID = 6
"""How many reasons a phrase has; the others are counted."""


class Cause(enum.Enum):
    """What kind of thing stands in the way."""

    PROPERTY = "property"
    OPTION = "option"
    SOURCE = "source"
    REVISION = "revision"
    PROJECT = "project"
    RECIPE = "recipe"
    DESCRIPTIONS = "descriptions"
    NATIVE = "native"
    OFFLINE = "offline"
    BUSY = "busy"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    PAUSED = "paused"
    DELAYED = "delayed"
    UNSEEN = "unseen"


@frozen
class Reason:
    """One no: its cause, the property or option it is about, what was wanted and what there is."""

    cause: Cause
    name: str = ""
    wanted: Value | None = None
    have: Value | None = None
    comparison: Comparison = Comparison.EXACT
    note: str = ""

    def words(self) -> str:
        """Return the reason for people, with the note if there is one."""
        return f"{self._words()} ({self.note})" if self.note else self._words()

    def nearest_words(self, who: str) -> str:
        """Return the reason for people, as what the best there is lacks."""
        if self.cause is Cause.PROPERTY and self.comparison is not Comparison.SUBSET:
            wanted = bound(self.name, self.wanted, self.comparison)
            return f"needs {wanted}; the best is {_text(self.have)} on {who}"
        return f"{who} {self.words()}"

    def _words(self) -> str:  # noqa: C901, PLR0911, PLR0912 - one line for each cause
        wanted, have = _text(self.wanted), _text(self.have)
        match self.cause:
            case Cause.PROPERTY:
                lacks = self.comparison is Comparison.SUBSET
                needs = f"needs {bound(self.name, self.wanted, self.comparison)}, has {have}"
                return f"lacks {self.name} {wanted}" if lacks else needs
            case Cause.OPTION | Cause.SOURCE | Cause.REVISION:
                return f"{self.name} is {have}, not {wanted}"
            case Cause.PROJECT:
                return f"is not configured for project {wanted}"
            case Cause.RECIPE:
                return f"has recipe {have} of {self.name}, needs {wanted}: update config.py"
            case Cause.DESCRIPTIONS:
                return f"describes the options of {self.name} differently: update config.py or buildtool itself"
            case Cause.NATIVE:
                return f"builds this platform {have}, not native"
            case Cause.OFFLINE:
                return "is not connected"
            case Cause.BUSY:
                return f"is busy ({have} of {wanted} builds)"
            case Cause.REFUSED:
                return have
            case Cause.QUARANTINED:
                return f"is quarantined: {have}"
            case Cause.PAUSED:
                return f"takes nothing now: {have}"
            case Cause.DELAYED:
                return "waits before it is tried again"
            case Cause.UNSEEN:
                return "was not looked at: so many that cannot build it are different"


_SIGN = {
    Comparison.EXACT: "",
    Comparison.AT_MOST: "≤ ",
    Comparison.AT_LEAST: "≥ ",
    Comparison.SUBSET: "with ",
}


def bound(name: str, value: Value | None, comparison: Comparison) -> str:
    """Return a requirement with its direction: ``libc_version ≤ 2.36``, ``arch ppc``."""
    return f"{name} {_SIGN[comparison]}{_text(value)}"


def _text(value: Value | None) -> str:
    """Return a value, which a peer may have made up, in a few words."""
    if isinstance(value, tuple) and len(value) > MEMBERS_SAID:
        return f"{_text(value[:MEMBERS_SAID])} and {len(value) - MEMBERS_SAID} more"
    return "none" if value is None else one_line(written(value), VALUE_SAID) or "none"


def comparison_of(name: str) -> Comparison:
    """Return how the property of this name compares; a property that nobody knows compares exactly."""
    known = STANDARD.get(name)
    return known.comparison if known else Comparison.EXACT


def meets(comparison: Comparison, wanted: Value, have: Value | None) -> bool:
    """Say whether ``have`` meets what is ``wanted``. An absent value meets nothing.

    For ``SUBSET`` every wanted member must be had; versions and CPU levels compare by number.
    """
    if have is None:
        return False
    if comparison is Comparison.SUBSET:
        return isinstance(wanted, tuple) and isinstance(have, tuple) and set(wanted) <= set(have)
    if comparison is Comparison.EXACT:
        return type(wanted) is type(have) and wanted == have
    order = _order(have, wanted)
    if order is None:
        return False
    return order <= 0 if comparison is Comparison.AT_MOST else order >= 0


def _order(left: Value, right: Value) -> int | None:
    """Return -1, 0 or 1, or None where the two cannot be ordered."""
    if isinstance(left, int) and isinstance(right, int):
        return (left > right) - (left < right)
    if not (isinstance(left, str) and isinstance(right, str)):
        return None
    if left == right:
        return 0  # as mostly, and then nothing has to be taken apart
    if (left in CPU_LEVELS) != (right in CPU_LEVELS):
        return None
    return compare_versions(left, right)


def unmet(wanted: Canonical, have: Mapping[str, Value], comparisons: Mapping[str, Comparison]) -> list[Reason]:
    """Return one reason for every wanted property that ``have`` does not meet; of a set, only the members it lacks."""
    reasons = []
    for name, value in wanted:
        comparison, there = comparisons.get(name) or comparison_of(name), have.get(name)
        if meets(comparison, value, there):
            continue
        if comparison is Comparison.SUBSET and isinstance(value, tuple):
            known = there if isinstance(there, tuple) else ()
            lacking = tuple(member for member in value if member not in known)
            reasons.append(Reason(Cause.PROPERTY, name, lacking, None, comparison))
        else:
            reasons.append(Reason(Cause.PROPERTY, name, value, there, comparison))
    return reasons


def comparisons_of(options: ProjectOptions) -> dict[str, Comparison]:
    """Return how each system property of a project compares."""
    return {item.name: item.comparison for item in options.system}


# --- artifacts ------------------------------------------------------------------------------------------


def satisfies(artifact: Artifact, demand: Demand, comparisons: Mapping[str, Comparison]) -> list[Reason]:
    """Return why ``artifact`` does not satisfy ``demand``; nothing when it does."""
    spec, shelf = demand.spec, artifact.shelf
    reasons = [
        Reason(cause, name, wanted, have)
        for cause, name, wanted, have in (
            (Cause.PROJECT, "project", spec.project, shelf.project),
            (Cause.SOURCE, "source", spec.source, shelf.source),
            (Cause.RECIPE, spec.project, spec.recipe_version, shelf.recipe_version),
        )
        if wanted != have
    ]
    if shelf.revision not in demand.acceptable:
        reasons.append(Reason(Cause.REVISION, "revision", spec.revision, shelf.revision))
    if shelf.options_digest != spec.shelf().options_digest:
        reasons.extend(_option_differences(spec.options, artifact.options))
    if spec.native and artifact.kind is not OfferKind.NATIVE:
        reasons.append(Reason(Cause.NATIVE, "kind", "native", artifact.kind.value))
    return reasons + unmet(spec.platform, dict(artifact.platform), comparisons)


def _option_differences(wanted: Canonical, have: Canonical) -> list[Reason]:
    there = dict(have)
    return [
        Reason(Cause.OPTION, name, value, there.get(name))
        for name, value in wanted
        if name not in there or _differ(there[name], value)
    ]


def _differ(left: Value, right: Value) -> bool:
    return type(left) is not type(right) or left != right


def platform_satisfies(
    have: Canonical, kind: OfferKind, spec: BuildSpec, comparisons: Mapping[str, Comparison]
) -> bool:
    """Say whether a binary for platform ``have``, made in this way, is one for the platform that ``spec`` requires."""
    if spec.native and kind is not OfferKind.NATIVE:
        return False
    return not unmet(spec.platform, dict(have), comparisons)


def implies(given: BuildSpec, wanted: BuildSpec, comparisons: Mapping[str, Comparison]) -> bool:
    """Say whether every artifact that meets ``given``'s platform requirement meets ``wanted``'s too.

    A requirement is itself the loosest thing that meets it, so for each property the given bound must meet the
    wanted one; a property that ``given`` leaves open may turn out as anything.
    """
    if wanted.native and not given.native:
        return False
    return not unmet(wanted.platform, dict(given.platform), comparisons)


# --- machines -------------------------------------------------------------------------------------------


Mark = tuple[Value | None, ...]

MARKS = ("arch", "libc", "os")
"""The properties by which offers are found."""


@frozen
class Fit:
    """What a build server announces, beside what a Build needs; its machine is left aside.

    ``offer`` is the best that makes the platform, or None; then ``lacking`` says what the nearest of them lacks.
    """

    unskilled: tuple[Reason, ...]
    offer: Offer | None
    lacking: tuple[Reason, ...] = ()

    def verdict(self, machine: Iterable[Reason]) -> Offer | list[Reason]:
        """Return the offer, or the reasons why not, those of the ``machine`` among them."""
        return [*self.unskilled, *machine, *self.lacking] or self.offer or []


class Wanted:
    """What a Build needs of a build server, to be held against many of them.

    Every value that several offers have is compared once, and an offer is looked at no further than it can still be
    the nearest, so that a build server with 64 offers costs less than 0.1 ms.
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

    def fit(self, capability: Capability) -> Fit:
        """Return how what a build server announces fits, its machine left aside."""
        unskilled = tuple(_unskilled(capability, self._skill))
        nearest, least = None, len(self._checks) + 2
        for offer in by_rank(capability.offers):
            lacks = self._lacks(offer, least)
            if lacks < least:
                nearest, least = offer, lacks
            if not lacks:
                return Fit(unskilled, offer)
        if nearest is None:
            return Fit(unskilled, None, (Reason(Cause.PROPERTY, "platform", "any", None),))
        return Fit(unskilled, None, tuple(self._lacking(nearest)))

    def makes(self, capability: Capability, by_mark: Mapping[Mark, Sequence[Offer]]) -> Offer | None:
        """Return the offer with which a build server makes this if its machine suffices, or None.

        ``by_mark`` has the offers of the capability by their marks: the others need not be looked at.
        """
        if _unskilled(capability, self._skill):
            return None
        offers = capability.offers if self._mark is None else by_mark.get(self._mark, ())
        return next((offer for offer in by_rank(offers) if not self._lacks(offer, 1)), None)

    def machine(self, capability: Capability) -> list[Reason]:
        """Return what the machine itself lacks."""
        return unmet(self._spec.machine, dict(capability.machine), self._comparisons) if self._spec.machine else []

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


def can_build(
    spec: BuildSpec, capability: Capability, skill: ProjectSkill, comparisons: Mapping[str, Comparison]
) -> Offer | list[Reason]:
    """Return the best offer with which this machine can build ``spec``, or the reasons why it cannot.

    ``skill`` is what is required of it: project, recipe version, digest of the option descriptions. When no
    offer fits, the reasons are those of the offer that comes nearest.
    """
    wanted = Wanted(spec, skill, comparisons)
    return wanted.fit(capability).verdict(wanted.machine(capability))


def _unskilled(capability: Capability, wanted: ProjectSkill) -> list[Reason]:
    skill = capability.skill(wanted.project)
    if skill is None:
        return [Reason(Cause.PROJECT, "project", wanted.project, None)]
    if skill.recipe_version != wanted.recipe_version:
        return [Reason(Cause.RECIPE, wanted.project, wanted.recipe_version, skill.recipe_version)]
    if skill.options_digest != wanted.options_digest:
        return [Reason(Cause.DESCRIPTIONS, wanted.project)]
    return []


# --- requirements ---------------------------------------------------------------------------------------


def platform_required(options: ProjectOptions, explicit: Mapping[str, Value], local: Mapping[str, Value]) -> Canonical:
    """Return the required artifact platform: what was asked for, over the requester's own machine.

    What follows from an arch, os or libc that was asked for and differs from the machine's is not taken from the
    machine. Properties that the project does not declare are left out. Raises UsageError for a platform that
    cannot be (``arch=ppc`` with ``bits=64``).
    """
    names = options.artifact_names()
    wanted = {name: value for name, value in explicit.items() if name in names}
    silenced: set[str] = set()
    for name, followers in FOLLOWS_FROM.items():
        if name in explicit and explicit[name] != local.get(name):
            silenced.update(followers)
    for name, value in local.items():
        if name in names and name not in wanted and name not in silenced:
            wanted[name] = value
    wanted |= {name: value for name, value in derived(wanted).items() if name in names}
    problem = contradiction(wanted)
    if problem and problem != contradiction(dict(local)):  # a machine that somebody sits at is possible
        raise UsageError(problem)
    return canonical(wanted)


def machine_required(
    options: ProjectOptions, explicit: Mapping[str, Value], declared: Mapping[str, Value]
) -> Canonical:
    """Return what the machine must have: what the recipe declares and the requester named; the stricter of both."""
    artifact, comparisons = options.artifact_names(), comparisons_of(options)
    wanted = dict(declared)
    for name, value in explicit.items():
        if name not in artifact:
            wanted[name] = _stricter(comparisons.get(name) or comparison_of(name), value, wanted.get(name))
    return canonical(wanted)


def _stricter(comparison: Comparison, asked: Value, declared: Value | None) -> Value:
    if isinstance(asked, tuple) and isinstance(declared, tuple):
        return tuple(sorted({*asked, *declared}))
    # What meets the one bound while being the other is the narrower of the two.
    return declared if declared is not None and meets(comparison, asked, declared) else asked


def machine_eased(one: Canonical, other: Canonical, comparisons: Mapping[str, Comparison]) -> Canonical:
    """Return what a machine must have to be enough for ``one`` or for ``other``: the weaker of both, in everything."""
    there = dict(other)
    eased: dict[str, Value] = {}
    for name, value in one:
        if name not in there:
            continue
        comparison = comparisons.get(name) or comparison_of(name)
        if meets(comparison, value, there[name]):
            eased[name] = value
        elif meets(comparison, there[name], value):
            eased[name] = there[name]
    return canonical(eased)


def nearer(one: Reason, other: Reason) -> bool:
    """Say whether ``one``, about the same bound as ``other``, lacks less of it."""
    same = (one.cause, one.name, one.wanted, one.comparison) == (
        other.cause,
        other.name,
        other.wanted,
        other.comparison,
    )
    if not same or one.have is None or other.have is None:
        return False
    order = _order(one.have, other.have)
    if order is None:
        return False
    return order < 0 if one.comparison is Comparison.AT_MOST else order > 0


def group_words(reasons: Iterable[Reason]) -> str:
    """Return several reasons as one phrase."""
    told = tuple(reasons)
    more = f"; and {len(told) - REASONS_SAID} more" if len(told) > REASONS_SAID else ""
    return "; ".join(reason.words() for reason in told[:REASONS_SAID]) + more
