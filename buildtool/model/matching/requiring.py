"""What a request requires of the platform and of the machine, from what was said and what is here.

The test is tests/model/test_matching.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildtool.errors import UsageError
from buildtool.model.options import Canonical, canonical
from buildtool.model.platforms import FOLLOWS_FROM, Value, contradiction, derived
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import Comparison, comparison_of, meets


def platform_required(options: ProjectOptions, explicit: Mapping[str, Value], local: Mapping[str, Value]) -> Canonical:
    """Return the required artifact platform: what was asked for, over the requester's own machine.

    What follows from an arch, os or libc that was asked for and differs from the machine's is not taken from the
    machine; nor is an arch or os that the other leaves no choice of. Properties that the project does not declare are
    left out. Raises UsageError for a platform that cannot be (``arch=ppc`` with ``bits=64``).
    """
    names = options.artifact_names
    explicit = {**derived(dict(explicit)), **explicit}  # os=wasi says the arch too, whatever this machine's is
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
    artifact, comparisons = options.artifact_names, options.comparisons()
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
