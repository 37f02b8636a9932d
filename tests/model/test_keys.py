"""BuildKey, shelf and demand class: two of them are equal exactly where everything that they stand for is."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.options import Canonical, canonical
from buildtool.model.records import BuildSpec
from tests.strategies import build_specs, canonicals, values

MANY = canonicals(max_size=6)


def stands_for(spec: BuildSpec) -> tuple[object, ...]:
    """What a BuildKey is a digest of: numbers and truth values are told apart, as in the canonical JSON."""
    return (
        *(spec.project, spec.recipe_version, spec.source, spec.revision, spec.native, spec.policy),
        *(_typed(spec.options), _typed(spec.platform)),
    )


def _typed(pairs: Canonical) -> tuple[object, ...]:
    return tuple((name, type(value), value) for name, value in pairs)


@given(build_specs, build_specs, st.data())
def test_builds_have_one_key_exactly_where_all_that_makes_them_is_equal(
    one: BuildSpec, other: BuildSpec, data: st.DataObject
) -> None:
    """Each field is taken from either of the two, so that most pairs differ in little."""
    fields = ["project", "source", "revision", "recipe_version", "options", "platform", "native", "policy"]
    taken = {name: getattr(data.draw(st.sampled_from([one, other])), name) for name in fields}
    mixed = evolve(one, **taken)
    assert (mixed.key() == one.key()) == (stands_for(mixed) == stands_for(one))
    assert (mixed.key() == other.key()) == (stands_for(mixed) == stands_for(other))


@given(build_specs, MANY, st.data())
@pytest.mark.parametrize("which", ["options", "platform"])
def test_every_single_option_and_property_is_part_of_the_key(
    which: str, spec: BuildSpec, pairs: Canonical, data: st.DataObject
) -> None:
    """Whichever of them differs, is left out or added, first or last: it is another build."""
    whole = _with(spec, which, pairs)
    for number, (name, value) in enumerate(pairs):
        drawn = data.draw(values)
        others = [pairs[:number] + pairs[number + 1 :]]
        if (type(drawn), drawn) != (type(value), value):
            others.append(canonical({**dict(pairs), name: drawn}))
        for other in others:
            differs = _with(spec, which, other)
            assert differs.key() != whole.key(), f"{name}, {number + 1} of {len(pairs)}"
            assert which == "platform" or differs.shelf != whole.shelf


def _with(spec: BuildSpec, which: str, pairs: Canonical) -> BuildSpec:
    return evolve(spec, options=pairs) if which == "options" else evolve(spec, platform=pairs)


@given(build_specs, MANY)
def test_what_the_machine_must_have_is_no_part_of_the_key(spec: BuildSpec, wanted: Canonical) -> None:
    assert evolve(spec, machine=wanted).key() == spec.key()
    assert evolve(spec, machine=wanted).shelf == spec.shelf
