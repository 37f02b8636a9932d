"""What a metaserver says of its projects is read as what a stranger sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import DecodeError, UnknownProject, UsageError
from buildtool.model.options import Kind
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.protocol.hello import DESCRIBED
from buildtool.protocol.projects.described import DescribedProjects, read_described
from tests.programs.startcompile.test_command_line import project

GOOD: dict[str, Any] = {"name": "tally", "description": "counts", "options": project().options.describe()}


def read(*projects: object) -> DescribedProjects:
    return read_described(json.dumps({"projects": list(projects)}), "0" * 64, "there")


def changed(**option: object) -> dict[str, Any]:
    first = {**GOOD["options"]["compile"][0], **option}
    return {**GOOD, "options": {**GOOD["options"], "compile": [first, *GOOD["options"]["compile"][1:]]}}


def test_a_project_is_found_by_its_name_and_another_lists_those_that_there_are() -> None:
    found = read(GOOD, {**GOOD, "name": "lua"})
    assert found.project("lua").options == found.project("tally").options
    with pytest.raises(UnknownProject, match="there are tally, lua"):
        found.project("perl")


def test_no_regular_expression_of_theirs_is_tried_here() -> None:
    evil = {**GOOD["options"]["compile"][5], "pattern": "(a+)+b"}
    found = read({**GOOD, "options": {**GOOD["options"], "compile": [evil]}})
    (option,) = found.projects[0].options.compile
    assert (option.kind, option.pattern) == (Kind.STRING, "")
    assert option.parse("a" * 60) == "a" * 60
    assert "(a+)+b" in option.accepts()


@pytest.mark.parametrize(
    "wrong",
    [
        [], None, 3, {"name": "tally"},
        {**GOOD, "name": "../x"}, {**GOOD, "name": "x" * 41}, {**GOOD, "description": 3},
        {**GOOD, "options": []}, {**GOOD, "options": {"system": [], "compile": {}}},
        changed(name="help"), changed(name="--x"), changed(name=3), changed(kind="program"), changed(choices=[]),
        changed(choices=["\x1b[2J"]), changed(choices=["x"] * 1001), changed(default="none of them"),
        changed(default={}),
        changed(default=1.5), changed(requires=[["nothing", True]]), changed(requires=[["utf8"]]), changed(minimum="1"),
        {**GOOD, "options": {**GOOD["options"], "system": [{"name": "os"}]}},
        {**GOOD, "options": {**GOOD["options"], "compile": GOOD["options"]["compile"] * 60}},
    ],
)  # fmt: skip
def test_what_describes_no_project_is_one_line(wrong: object) -> None:
    with pytest.raises(DecodeError) as caught:
        read(wrong)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", '{"projects":' + "[" * 100, "x" * (DESCRIBED + 1), "NaN"])
def test_a_text_that_is_none_is_one_line(text: str) -> None:
    with pytest.raises(DecodeError, match="projects"):
        read_described(text, "", "there")


def test_words_reach_a_terminal_as_harmless_lines() -> None:
    shown = read({**changed(help="red\x1b[31m\nand more " + "x" * 9_000), "description": "a\x07b\nc"})
    (found,) = shown.projects
    assert found.description.isprintable()
    assert found.options.compile[0].help.isprintable()
    assert len(found.options.compile[0].help) <= 400


PLAIN = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_nothing_else_is_raised(data: object) -> None:
    for project_ in (
        data,
        {**GOOD, "options": data},
        changed(default=data),
        changed(requires=data),
        changed(help=data),
    ):
        try:
            read(project_)
        except DecodeError:
            continue


def test_values_are_checked_as_by_the_description_that_the_metaserver_has() -> None:
    own, (found,) = ProjectOptions(standard(), project().options.compile), read(GOOD).projects
    for option, theirs in zip(own.compile, found.options.compile, strict=True):
        for text in ("yes", "no", "crc32", "64", "a,b", "nonsense", "-1"):
            try:
                value: object = option.parse(text)
            except UsageError:
                value = UsageError
            try:
                other: object = theirs.parse(text)
            except UsageError:
                other = UsageError
            assert value == other
