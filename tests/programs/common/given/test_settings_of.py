"""Every option of all four programs, by each of the three ways: on the command line, by variable, in the file."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.given.gathering import gather
from buildtool.configuration.given.names import EACH_TIME, PROGRAMS, SETTINGS, SHARED, option_name, variable
from buildtool.configuration.given.values import NOTHING, Given, SettingsText
from buildtool.errors import ConfigurationError
from buildtool.programs.common.given.settings_of import origin_lines, origin_objects, origins
from buildtool.programs.common.subcommands import Subcommand, Subcommands
from tests.configuration.given.test_gathering import PATH
from tests.programs.common.test_subcommands import LINES, VALUES, taken

EACH = [
    (program, one, name)
    for program, line in LINES.items()
    for one in line.commands
    for name in (*line.everywhere, *one.options)
]


def text_of(how: Any, value: str) -> str:
    """A value as the settings file has it."""
    if how.get("action") in ("store_true", "store_false"):
        return "true"
    return value if getattr(how.get("type"), "whole", False) else json.dumps(value)


def settled(line: Subcommands[Any], words: list[str], given: Given) -> dict[str, object]:
    """What a command line says, completed with what is given."""
    _, said = line.parse(words)
    given.complete(said)
    return {name: value for name, value in vars(said).items() if name not in ("_given", "_unsaid", "_spoken")}


def lies_here(value: object) -> bool:
    """Whether it names files beside which a settings file does not lie."""
    return isinstance(value, tuple) and any(isinstance(one, Path) and not one.is_absolute() for one in value)


def started(one: Subcommand[Any], data: st.DataObject) -> list[str]:
    target = [data.draw(taken(["7", "12-abcdef", "attic", "24h"], one.read))] if one.argument else []
    return [one.name, *target]


@given(st.data())
def test_an_option_is_the_same_by_each_of_the_three_ways(data: st.DataObject) -> None:
    program, one, flag = data.draw(st.sampled_from([each for each in EACH if option_name(each[2]) not in EACH_TIME]))
    line, how, name = LINES[program], LINES[program].options[flag], option_name(flag)
    words = started(one, data)
    drawn = data.draw(taken(VALUES, how.get("type", str)))
    valueless = how.get("action") in ("store_true", "store_false")
    value = str(Path("/srv") / drawn) if how.get("type") is Path else drawn
    by_line = settled(line, [*words, flag] if valueless else [*words, f"{flag}={value}"], NOTHING)
    own = {variable(name, line.table): "yes" if valueless else value}
    text = f"[{line.table}]\n{name} = {text_of(how, value)}"
    assert settled(line, words, gather(line.table, line.options, own, None)) == by_line
    if not lies_here(by_line.get(how.get("dest") or name)):
        by_file = gather(line.table, line.options, {}, SettingsText(Path("/x"), text))
        assert settled(line, words, by_file) == by_line
    if name in SHARED:
        shared = {variable(name): "yes" if valueless else value}
        assert settled(line, words, gather(line.table, line.options, shared, None)) == by_line


@given(st.data(), st.sets(st.sampled_from(["line", "environment", "file"])))
def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    data: st.DataObject, ways: set[str]
) -> None:
    line = LINES["buildserver.py"]
    words = ["serve", *(["--max-builds=5"] if "line" in ways else [])]
    environment = {"BUILDTOOL_BUILDSERVER_MAX_BUILDS": "6"} if "environment" in ways else {}
    text = "[buildserver]\nmax_builds = 7" if "file" in ways else ""
    found = settled(line, words, gather(line.table, line.options, environment, SettingsText(PATH, text)))
    first = next((number for way, number in (("line", 5), ("environment", 6), ("file", 7)) if way in ways), None)
    assert found["max_builds"] == first


@pytest.mark.parametrize("program", LINES)
def test_what_confirms_something_once_is_refused_by_name_wherever_it_is_given_for_good(program: str) -> None:
    line = LINES[program]
    for flag in line.options:
        name = option_name(flag)
        if name in EACH_TIME:
            with pytest.raises(ConfigurationError, match=f"say {flag} on the command line each time"):
                gather(line.table, line.options, {}, SettingsText(PATH, f"[{line.table}]\n{name} = true"))
            with pytest.raises(ConfigurationError, match=f"say {flag} on the command line each time"):
                gather(line.table, line.options, {variable(name, line.table): "1"}, None)


def test_the_tables_are_called_as_the_programs_are_and_no_variable_is_two_options() -> None:
    assert {line.table for line in LINES.values()} == set(PROGRAMS)
    found = [variable(name) for name in dict.fromkeys((*SETTINGS, *SHARED))]
    for line in LINES.values():
        names = dict.fromkeys((*SETTINGS, *SHARED, *map(option_name, line.options)))
        found += [variable(name, line.table) for name in names]
    assert len(set(found)) == len(found)


def test_each_value_is_told_with_where_it_comes_from_and_a_secret_with_no_more() -> None:
    line = LINES["buildserver.py"]
    _, said = line.parse(["serve", "--name", "attic", "--max-builds", "2"])
    text = "[buildserver]\nmax_builds = 7\njoin = 'hunter2'"
    environment = {"BUILDTOOL_BUILDSERVER_TIME_LIMIT": "60"}
    gather(line.table, line.options, environment, SettingsText(PATH, text)).complete(said)
    found = origins(said, argparse.Namespace(origins=()))  # type: ignore[arg-type] # no more of the settings is asked
    assert sorted(origin_lines(found)) == [
        f"set             join = (a secret), by {PATH}: [buildserver] join",
        "set             max_builds = 2, by the command line",
        "set             name = 'attic', by the command line",
        "set             time_limit = '60', by $BUILDTOOL_BUILDSERVER_TIME_LIMIT",
    ]
    assert {one["name"] for one in origin_objects(found)} == {"join", "max_builds", "name", "time_limit"}
    assert "hunter2" not in json.dumps(origin_objects(found))
