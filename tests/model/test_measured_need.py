"""What an artifact's files need is believed downwards only (buildtool/model/matching/satisfaction.py)."""

from collections.abc import Callable, Mapping

import pytest
from attrs import evolve
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from buildtool.model.matching import satisfaction
from buildtool.model.matching.reasons import unmet
from buildtool.model.matching.satisfaction import lesser_need, really_needed, satisfies
from buildtool.model.options import Canonical
from buildtool.model.platforms import CPU_LEVELS, Value, compare_versions
from buildtool.model.properties import Comparison
from buildtool.model.records import Artifact, BuildSpec
from tests.model.test_matching import artifact_for, demand_for
from tests.strategies import needs, platforms

Needed = Callable[[Artifact, Mapping[str, Comparison]], dict[str, Value]]

_VERSIONS = st.sampled_from(["2.9", "2.17", "2.28", "2.36"])
_LEVELS = st.sampled_from(CPU_LEVELS)


def said(**values: st.SearchStrategy[str]) -> st.SearchStrategy[Canonical]:
    return st.fixed_dictionaries({}, optional=values).map(lambda found: tuple(sorted(found.items())))


# What is close together, so that each bound is met and missed: announced, measured and asked.
_CASES = st.tuples(
    said(libc_version=_VERSIONS, cpu_level=_LEVELS, os=st.just("linux"), glib=_VERSIONS),
    said(libc_version=_VERSIONS, cpu_level=_LEVELS, os=st.just("darwin"), glib=_VERSIONS, libc=st.just("musl")),
    said(libc_version=_VERSIONS, cpu_level=_LEVELS, os=st.just("linux"), glib=_VERSIONS),
)
_OWN = {"glib": Comparison.AT_MOST}


def promised(announced: Canonical, measured: Canonical, asked: Canonical) -> bool:
    """Whether an artifact does for a demand, said anew: each bound by what was announced, or by less that it needs."""
    have, need = dict(announced), dict(measured)
    for name, wanted in asked:
        there = have.get(name)
        if there is None:
            return False
        if name == "os":
            if there != wanted:
                return False
            continue
        fits = compare_versions(str(there), str(wanted)) <= 0
        believed = name in ("libc_version", "cpu_level") and name in need
        if not fits and not (believed and compare_versions(str(need[name]), str(wanted)) <= 0):
            return False
    return True


def wrong(case: tuple[Canonical, Canonical, Canonical]) -> bool:
    announced, measured, asked = case
    spec = BuildSpec("lua", "", "a" * 40, 3, (), asked)
    artifact = evolve(artifact_for(spec, announced), need=measured)
    return (not satisfies(artifact, demand_for(spec), _OWN)) != promised(announced, measured, asked)


@given(_CASES)
def test_an_artifact_does_where_what_was_announced_or_less_that_is_needed_meets_each_bound(
    case: tuple[Canonical, Canonical, Canonical],
) -> None:
    assert not wrong(case)


def _announced(artifact: Artifact) -> dict[str, Value]:
    return dict(artifact.platform)


MUTANTS: dict[str, Needed] = {
    "the need is ignored": lambda artifact, _: _announced(artifact),
    "the need replaces what was announced": lambda artifact, _: {**_announced(artifact), **dict(artifact.need)},
    "the need is believed upwards": lambda artifact, _: {
        **_announced(artifact),
        **{name: value for name, value in artifact.need if name in ("libc_version", "cpu_level")
           and name in _announced(artifact)},
    },
    "every property may be needed less": lambda artifact, _: {
        **_announced(artifact), **{name: value for name, value in artifact.need if name == "glib"},
    },
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_other_way_to_believe_it_is_found(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    monkeypatch.setattr(satisfaction, "really_needed", MUTANTS[mutant])
    find(_CASES, wrong, settings=settings(max_examples=2_000, phases=[Phase.generate], database=None))


@given(platforms, needs)
def test_a_need_never_makes_an_artifact_do_for_less(platform: Canonical, need: Canonical) -> None:
    artifact = evolve(artifact_for(BuildSpec("lua", "", "a" * 40, 3, (), ()), platform), need=need)
    assert unmet(platform, really_needed(artifact, {}), {}) == []


@given(platforms, needs)
def test_what_is_told_of_a_need_is_what_counts_and_only_where_it_is_less(platform: Canonical, need: Canonical) -> None:
    artifact = evolve(artifact_for(BuildSpec("lua", "", "a" * 40, 3, (), ()), platform), need=need)
    said = dict(lesser_need(artifact))
    assert {**dict(platform), **said} == really_needed(artifact, {})
    assert not [name for name, value in said.items() if dict(platform)[name] == value]
