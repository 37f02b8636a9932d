"""Options: what is typed, sent and kept of them, and the one line that says what is wrong."""

import json
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.options import (
    TEXT_LIMIT,
    Kind,
    Option,
    canonical_json,
    choice,
    digest_of,
    flag,
    number,
    shown,
    text,
    words,
    written,
)
from buildtool.model.platforms import ALIASES, Value
from buildtool.model.project_options import TOOL_OPTIONS, Followed, ProjectOptions
from buildtool.model.properties import STANDARD, standard
from tests.strategies import accepted_values, canonicals, option_descriptions, option_names, project_options

anything: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.binary(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=70),
        st.tuples(inner),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ),
    max_leaves=20,
)


@st.composite
def option_and_value(draw: st.DrawFn) -> tuple[Option, Value]:
    option = draw(option_descriptions())
    return option, draw(accepted_values(option))


def outcome(ask: Callable[[], Value]) -> tuple[Value | None, str]:
    """What was made of the input, or else the words of the refusal."""
    try:
        return ask(), ""
    except UsageError as error:
        return None, str(error)


# --- one option -----------------------------------------------------------------------------------------


@given(option_and_value())
def test_what_an_option_formats_it_parses_back(given_: tuple[Option, Value]) -> None:
    option, value = given_
    assert option.parse(written(value)) == value
    assert shown(((option.name, value),)) == f"{option.name}={written(value)}", "logs, mails and lines say it alike"


@given(option_and_value())
def test_a_canonical_value_is_its_own_canonical_form(given_: tuple[Option, Value]) -> None:
    option, value = given_
    assert option.check(value) == value
    assert type(option.check(value)) is type(value)


@given(option_descriptions(), anything)
def test_any_data_is_either_made_canonical_or_refused_by_the_options_name_and_what_it_accepts(
    option: Option, data: object
) -> None:
    found, said = outcome(lambda: option.check(data))
    if found is None:
        assert said.startswith(f"{option.flag}: ")
        assert said.partition(": did you mean ")[0].endswith(option.accepts())
        assert "\n" not in said
    else:
        assert option.check(found) == found
        assert option.parse(written(found)) == found
        json.loads(canonical_json(found))


@given(option_descriptions(), st.text(max_size=30))
def test_any_text_is_either_parsed_or_refused_by_the_options_name(option: Option, typed: str) -> None:
    found, said = outcome(lambda: option.parse(typed))
    if found is None:
        assert option.flag in said
    else:
        assert option.check(found) == found


@given(option_and_value())
def test_values_travel_as_json_and_come_back(given_: tuple[Option, Value]) -> None:
    option, value = given_
    assert option.check(json.loads(json.dumps(value))) == value


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        (flag("jit"), 1),
        (flag("jit"), "yes"),
        (number("level", default=1), True),
        (number("level", default=1), 1.0),
        (number("level", default=1, minimum=0, maximum=3), 4),
        (number("level", default=1, minimum=0, maximum=3), -1),
        (number("level", default=1), 10**18),
        (choice("mode", ["fast", "small"]), "big"),
        (choice("mode", ["fast", "small"]), ["fast"]),
        (text("label", default="a", pattern="[a-z]+"), "A"),
        (text("label", default="a", pattern="[a-z]+"), "ab\n"),
        (text("label"), "two\nlines"),
        (text("label"), "x" * (TEXT_LIMIT + 1)),
        (words("parts"), "gcc,make"),
        (words("parts"), ["a,b"]),
        (words("parts"), [1]),
        (words("parts"), [str(count) for count in range(65)]),
        (words("parts", choices=["a", "b"]), ["c"]),
    ],
)
def test_wrong_values_are_refused(option: Option, wrong: object) -> None:
    with pytest.raises(UsageError, match=option.flag):
        option.check(wrong)


@pytest.mark.parametrize(
    ("option", "typed", "value"),
    [
        (flag("jit"), "ON", True),
        (flag("jit"), "no", False),
        (number("level", default=1), " +7 ", 7),
        (choice("mode", ["fast", "small"]), "FAST", "fast"),
        (words("parts"), "b, a,,a", ("a", "b")),
        (words("parts"), "", ()),
    ],
)
def test_what_people_type_is_understood(option: Option, typed: str, value: Value) -> None:
    assert option.parse(typed) == value


@pytest.mark.parametrize("typed", ["٣", "1_000", "0x10", "", "1e3", "--1", "1 2", "9" * 19])
def test_a_number_is_plain_digits(typed: str) -> None:
    with pytest.raises(UsageError, match="--level"):
        number("level", default=1).parse(typed)


@given(st.sampled_from(sorted(ALIASES)), st.booleans())
def test_an_architecture_is_taken_under_any_of_its_names(alias: str, upper: bool) -> None:
    arch = STANDARD["arch"].option
    assert arch.parse(alias.upper() if upper else alias) == ALIASES[alias]


@pytest.mark.parametrize(
    "make",
    [
        lambda: choice("mode", []),
        lambda: choice("mode", ["fast"], default="big"),
        lambda: number("level", default=9, maximum=3),
        lambda: text("label", pattern="("),
        lambda: text("label", default="A", pattern="[a-z]"),
        lambda: words("parts", choices=["a"], default=["b"]),
        lambda: flag("Jit"),
        lambda: flag("with-dash"),
        lambda: flag(""),
        lambda: standard("os", "colour"),
    ],
)
def test_a_description_that_cannot_be_right_is_refused_when_it_is_made(make: Any) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_a_default_is_kept_in_canonical_form() -> None:
    """However the integrator spells it, leaving an option out and naming its default is the same binary."""
    mode = choice("mode", ["fast", "small"], default="FAST")
    assert mode.default == "fast"
    options = ProjectOptions((), (mode,))
    assert options.compile_values({}) == options.compile_values({"mode": "fast"})


# --- the options of a project ---------------------------------------------------------------------------


@st.composite
def project_and_values(draw: st.DrawFn) -> tuple[ProjectOptions, dict[str, Value]]:
    options = draw(project_options())
    return options, {option.name: draw(accepted_values(option)) for option in options.compile}


@given(project_and_values(), st.data())
def test_the_canonical_form_does_not_depend_on_order_or_on_whether_a_default_is_said(
    given_: tuple[ProjectOptions, dict[str, Value]], data: st.DataObject
) -> None:
    options, values = given_
    whole = options.compile_values(values)
    assert [name for name, _ in whole] == sorted(values)
    shuffled = {name: values[name] for name in data.draw(st.permutations(sorted(values)))}
    assert options.compile_values(shuffled) == whole
    left_out = {
        option.name: values[option.name]
        for option in options.compile
        if canonical_json(values[option.name]) != canonical_json(option.default)
    }
    assert options.compile_values(left_out) == whole
    assert options.compile_values(dict(whole)) == whole


@given(project_options(), option_names)
def test_an_option_that_the_project_does_not_have_is_named_with_those_it_has(
    options: ProjectOptions, name: str
) -> None:
    known = [option.name for option in options.compile]
    assume(name not in known)
    for check in (options.compile_values, options.system_values):
        with pytest.raises(UsageError) as caught:
            check({name: True})
        assert repr(name) in str(caught.value)
        names = known if check == options.compile_values else [item.name for item in options.system]
        assert all(other in str(caught.value) for other in names)


def test_an_unknown_name_of_any_length_makes_one_short_line() -> None:
    with pytest.raises(UsageError) as caught:
        ProjectOptions((), ()).compile_values({"x" * 10_000 + "\n": True})
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_an_option_without_a_default_has_to_be_said() -> None:
    options = ProjectOptions((), (Option("label", Kind.STRING),))
    with pytest.raises(UsageError, match="--label has no default"):
        options.compile_values({})
    assert options.compile_values({"label": "x"}) == (("label", "x"),)


NEEDS = ProjectOptions(
    (),
    (
        flag("jit", requires={"backend": "NATIVE", "parts": ("vm", "core")}),
        choice("backend", ["portable", "native"]),
        words("parts", choices=["core", "vm", "doc"], default=["core"]),
    ),
)


def test_a_contradiction_names_both_options_and_what_would_be_right() -> None:
    with pytest.raises(UsageError) as caught:
        NEEDS.compile_values({"jit": True, "backend": "portable"})
    assert str(caught.value) == "--jit=yes needs --backend=native, but it is portable"


def test_what_is_required_and_not_said_is_so_by_itself() -> None:
    assert NEEDS.compile_values({"jit": True}) == (("backend", "native"), ("jit", True), ("parts", ("core", "vm")))
    assert NEEDS.followed({"jit": True, "backend": "native"}) == (
        Followed("parts", ("core", "vm"), "jit", True, suggested=False),
    )


def test_what_is_required_is_compared_in_canonical_form() -> None:
    """The description says NATIVE and (vm, core); what people choose is native and (core, vm)."""
    found = NEEDS.compile_values({"jit": True, "backend": "native", "parts": ["vm", "core"]})
    assert found == (("backend", "native"), ("jit", True), ("parts", ("core", "vm")))


def test_an_option_at_its_default_requires_nothing() -> None:
    assert dict(NEEDS.compile_values({"jit": False}))["backend"] == "portable"


@pytest.mark.parametrize(
    "compile_options",
    [
        (flag("jit", requires={"nowhere": True}),),
        (flag("jit", requires={"level": 9}), number("level", default=1, maximum=3)),
        (flag("jit"), flag("jit")),
        (flag("revision"),),
        (flag("force"),),
        (flag("arch"),),
    ],
)
def test_options_that_do_not_go_together_are_refused_when_they_are_made(compile_options: tuple[Option, ...]) -> None:
    with pytest.raises(ConfigurationError):
        ProjectOptions(standard("arch"), compile_options)


@given(project_options(), project_options())
def test_descriptions_have_one_digest_exactly_where_they_agree(one: ProjectOptions, two: ProjectOptions) -> None:
    def without_help(options: ProjectOptions) -> str:
        plain = json.loads(json.dumps(options.describe()))
        for rows in plain.values():
            for row in rows:
                del row["help"]
        return json.dumps(plain, sort_keys=True)

    assert (one.digest() == two.digest()) == (without_help(one) == without_help(two))


def test_the_help_text_is_no_part_of_the_digest() -> None:
    one, two = (ProjectOptions((), (flag("jit", help=said),)) for said in ("fast", "faster"))
    assert one.digest() == two.digest()


@given(canonicals(), canonicals())
def test_digests_are_equal_exactly_where_the_canonical_values_are(one: object, two: object) -> None:
    assert (digest_of(one) == digest_of(two)) == (canonical_json(one) == canonical_json(two))


# --- tool options ---------------------------------------------------------------------------------------

HOSTILE = ["-x", "--upload-pack=sh", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "", "x" * 300, "a\nb"]


@pytest.mark.parametrize("ref", HOSTILE)
def test_a_revision_that_git_could_take_for_something_else_is_refused(ref: str) -> None:
    revision = next(option for option in TOOL_OPTIONS if option.name == "revision")
    with pytest.raises(UsageError, match="--revision"):
        revision.parse(ref)


@pytest.mark.parametrize("said", ["", "0", "12", "v1.0..v2.0", "a..b"])
def test_a_range_is_a_number_of_steps_or_two_revisions(said: str) -> None:
    revrange = next(option for option in TOOL_OPTIONS if option.name == "revrange")
    assert revrange.parse(said) == said


@pytest.mark.parametrize("said", ["-1", "99999", "a..", "..b", "a...b", "a..-b", "a b..c"])
def test_anything_else_is_no_range(said: str) -> None:
    revrange = next(option for option in TOOL_OPTIONS if option.name == "revrange")
    with pytest.raises(UsageError, match="--revrange"):
        revrange.parse(said)


@pytest.mark.parametrize("path", ["../up", "a/../b", "a;b", "a\x00b"])
def test_a_source_does_not_lead_upwards(path: str) -> None:
    source = next(option for option in TOOL_OPTIONS if option.name == "source")
    with pytest.raises(UsageError, match="--source"):
        source.parse(path)
