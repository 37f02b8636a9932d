"""Options in groups, and what follows from one for others: the same wherever it is worked out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.options import Consequence, Kind, Option, choice, flag, number
from buildtool.model.project_options import Followed, OptionGroup, ProjectOptions, group
from buildtool.protocol.projects.described import read_described

PYPY = ProjectOptions(
    (),
    (
        choice("opt", ["0", "2", "jit"], default="0", suggests={"jit": {"translation.jit": True}}),
        group(
            "translation",
            choice(
                "gc", ["ref", "boehm", "incminimark"], suggests={"incminimark": {"translation.shape": "asmgcc"}},
                requires={"boehm": {"translation.transformer": "boehm"}, "ref": {"translation.transformer": "ref"}},
            ),
            choice("transformer", ["none", "boehm", "ref"]),
            choice("shape", ["stack", "asmgcc"]),
            flag("jit", suggests={"translation.gc": "incminimark"}, requires={"translation.backend.inline": 40}),
            group("backend", number("inline", default=32), flag("merge")),
        ),
    ),
)  # fmt: skip


def test_an_option_in_a_group_has_the_group_s_name_before_its_own() -> None:
    assert [option.flag for option in PYPY.compile] == [
        "--opt", "--translation-gc", "--translation-transformer", "--translation-shape", "--translation-jit",
        "--translation-backend-inline", "--translation-backend-merge",
    ]  # fmt: skip
    assert [option.path for option in PYPY.compile][-1] == "translation.backend.merge"
    assert {option.group for option in PYPY.compile} == {"", "translation", "translation.backend"}


def test_what_is_suggested_follows_and_brings_what_it_requires() -> None:
    values = dict(PYPY.compile_values({"opt": "jit"}))
    assert values == {
        "opt": "jit", "translation_jit": True, "translation_gc": "incminimark", "translation_shape": "asmgcc",
        "translation_transformer": "none", "translation_backend_inline": 40, "translation_backend_merge": False,
    }  # fmt: skip
    followed = PYPY.followed({"opt": "jit"})
    assert Followed("translation_jit", True, "opt", "jit", suggested=True) in followed
    assert [one.words() for one in followed] == [
        "--translation-backend-inline=40, which --translation-jit=yes needs",
        "--translation-gc=incminimark, which --translation-jit=yes suggests",
        "--translation-jit=yes, which --opt=jit suggests",
        "--translation-shape=asmgcc, which --translation-gc=incminimark suggests",
    ]


def test_what_is_said_goes_before_what_is_suggested_and_not_before_what_is_required() -> None:
    values = dict(PYPY.compile_values({"opt": "jit", "translation_gc": "boehm"}))
    assert (values["translation_gc"], values["translation_transformer"]) == ("boehm", "boehm")
    with pytest.raises(UsageError, match="--translation-jit=yes needs --translation-backend-inline=40, but it is 7"):
        PYPY.compile_values({"translation_jit": True, "translation_backend_inline": 7})
    values = dict(PYPY.compile_values({"opt": "jit", "translation_backend_inline": 7}))
    assert values["translation_jit"] is False, "a suggestion that cannot be followed is left out"


def test_two_options_that_need_different_values_of_a_third_are_both_named() -> None:
    options = ProjectOptions(
        (), (flag("a", requires={"c": 1}), flag("b", requires={"c": 2}), number("c", default=0))
    )  # fmt: skip
    with pytest.raises(UsageError) as caught:
        options.compile_values({"a": True, "b": True})
    assert str(caught.value) == "--b=yes needs --c=2, but --a=yes needs --c=1"


def test_an_option_without_a_default_may_be_required() -> None:
    options = ProjectOptions((), (flag("a", requires={"label": "x"}), Option("label", Kind.STRING)))
    assert dict(options.compile_values({"a": True}))["label"] == "x"
    with pytest.raises(UsageError, match="--label has no default"):
        options.compile_values({})


@given(st.data())
def test_what_comes_of_it_is_the_same_when_all_of_it_is_said(data: st.DataObject) -> None:
    """So that the metaserver, the build server and a restart agree."""
    given_ = {
        option.name: data.draw(st.sampled_from(option.choices) if option.choices else st.booleans(), label=option.name)
        for option in PYPY.compile
        if option.kind is not Kind.INT and data.draw(st.booleans(), label=f"{option.name} is said")
    }
    try:
        values = PYPY.compile_values(given_)
    except UsageError:
        return
    assert PYPY.compile_values(dict(values)) == values
    assert dict(values).items() >= given_.items()
    defaults = dict(PYPY.defaults)
    followed = {one.name: one.value for one in PYPY.followed(given_)}
    assert {name: value for name, value in values if value != defaults[name]} == {
        name: value for name, value in {**given_, **followed}.items() if value != defaults[name]
    }
    assert PYPY.compile_values({**given_, **followed}) == values


def test_who_reads_the_descriptions_comes_to_the_same() -> None:
    text = json.dumps({"projects": [{"name": "pypy", "options": PYPY.describe()}]})
    described = read_described(text, "", "here").project("pypy").options
    assert described.compile == PYPY.compile
    assert described.compile_values({"opt": "jit"}) == PYPY.compile_values({"opt": "jit"})


def test_descriptions_that_have_nothing_new_are_what_they_were() -> None:
    """A build server of before compares their digest."""
    assert set(flag("jit", requires={"a": 1}).describe()) == {
        "name", "kind", "help", "default", "choices", "minimum", "maximum", "pattern", "shape", "requires",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ((flag("jit", suggests={"gc": "x"}),), "option jit suggests 'gc', which is no compile option"),
        ((flag("jit", suggests={"on": 7}), flag("on")), "option jit suggests an impossible value: --on: 7"),
        ((choice("gc", ["a"], requires={"b": {"on": True}}), flag("on")), "option gc requires something at 'b'"),
        ((group("a", flag("b_c")), group("a_b", flag("c"))), "option name 'a_b_c' is used twice"),
        ((group("a", "b"),), "'b' is none"),  # type: ignore[arg-type] # what a configuration may say
    ],
)
def test_what_can_never_follow_is_refused_when_it_is_made(members: tuple[Option | OptionGroup, ...], why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ProjectOptions((), members)
    assert why in str(caught.value)


@pytest.mark.parametrize("name", ["", "A", "a-b", "a.b", "1a"])
def test_a_group_has_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="group name"):
        group(name)


@pytest.mark.parametrize("path", ["a.c", "a_b", "a..b", ".b", "A.b"])
def test_a_path_that_is_not_the_name_s_own_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be"):
        Option("a_b", Kind.BOOL, default=False, path=path)


def test_a_consequence_holds_at_its_value_and_never_at_the_default() -> None:
    option = choice("gc", ["a", "b", "c"], requires={"b": {"x": 1}}, suggests={"y": 2})
    assert option.asks("a") == ()
    assert option.asks("b") == (Consequence("x", 1, "b"), Consequence("y", 2, None, suggested=True))
    assert option.asks("c") == (Consequence("y", 2, None, suggested=True),)
