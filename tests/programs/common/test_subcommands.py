"""A command and its older form, the flag of its name, mean the same, wherever other options stand: in all programs."""

import argparse
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.programs.buildserver import main as buildserver
from buildtool.programs.buildserver.guest.placing import COMMANDS
from buildtool.programs.common.given.parser import CommandParser
from buildtool.programs.common.subcommands import Subcommands
from buildtool.programs.metaserver import main as metaserver
from buildtool.programs.startcompile import main as startcompile
from buildtool.programs.updating import main as updating
from buildtool.programs.webserver import main as webserver

LINES: dict[str, Subcommands[Any]] = {
    one.COMMAND_LINE.program: one.COMMAND_LINE for one in (metaserver, webserver, buildserver, startcompile, updating)
}
EACH = [(program, one.name) for program, line in LINES.items() for one in line.commands]
EARLIER = {
    "metaserver": {
        "--check-config", "--mail-test", "--fsck", "--backup", "--status", "--pause", "--resume", "--forget", "--abort",
        "--rebuild", "--purge", "--purge-built-by", "--forget-failure", "--drain", "--undrain",
    },
    "webserver": {"--check-config"},
    "buildserver.py": {"--show-info"},
    "startcompile.py": {"--cancel", "--why", "--explain", "--matrix"},
    "update": set(),
}  # fmt: skip
"""The flags of version 0.1 that were verbs."""
VALUES = [
    "x", "pause", "it is broken", "status", "5", "anna@example.org", "24h", "none", "/usr", "2026-11", "2026-12-24",
    "ask", "Mon 20:00-21:00", "10M", "https://example.org/x.git",
]  # fmt: skip
"""Values of which each option that has one takes some."""


@pytest.mark.parametrize("program", LINES)
def test_each_option_takes_one_of_the_values_that_are_drawn_below(program: str) -> None:
    for name, how in LINES[program].options.items():
        assert any(takes(how.get("type", str), value) for value in VALUES), name


@pytest.mark.parametrize("program", LINES)
def test_every_flag_that_was_a_verb_is_one_still(program: str) -> None:
    assert {one.flag for one in LINES[program].commands[1:]} >= EARLIER[program]


@given(st.data())
def test_every_old_flag_does_what_its_command_does(data: st.DataObject) -> None:
    line = data.draw(st.sampled_from(list(LINES.values())))
    one = data.draw(st.sampled_from([each for each in line.commands[1:] if each.older]))
    target = [data.draw(taken(["7", "12-abcdef", "attic", "24h"], one.read))] if one.argument else []
    chosen = data.draw(st.lists(st.sampled_from([*one.options, *line.everywhere]), unique=True))
    others = []
    for name in chosen:
        how = line.options[name]
        value = data.draw(
            taken(
                VALUES,
                how.get("type", str),
            )
        )
        joined = data.draw(st.booleans())
        valueless = how.get("action") in {"store_true", "store_false"}
        others.append([name] if valueless else [f"{name}={value}"] if joined else [name, value])
    joined = data.draw(st.booleans())
    older = [f"{one.flag}={target[0]}"] if target and joined else [one.flag, *target]
    at = data.draw(st.integers(0, len(others)))
    before, after = (list(itertools.chain.from_iterable(part)) for part in (others[:at], others[at:]))
    expected = line.parse([one.name, *target, *before, *after])
    assert expected[0] is one
    assert line.parse([*before, *older, *after]) == expected
    assert line.parse([*before, one.name, *target, *after]) == expected
    assert line.parse([*before, one.name, *after, *target]) == expected


def taken(values: list[str], read: Callable[[str], object]) -> st.SearchStrategy[str]:
    """Those of some texts that an option or a command takes for its value."""

    return st.sampled_from([value for value in values if takes(read, value)])


def takes(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except (UsageError, argparse.ArgumentTypeError, ValueError):
        return False
    return True


def test_without_a_command_the_first_is_meant() -> None:
    one, said = LINES["metaserver"].parse(["--web", "--config", "status"])
    assert (one.name, said.web, said.config) == ("serve", True, Path("status"))


@pytest.mark.parametrize(("program", "name"), EACH)
def test_each_command_has_a_help_with_an_example_that_it_takes(
    program: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = LINES[program]
    with pytest.raises(SystemExit) as ended:
        line.parse([name, "--help"])
    assert ended.value.code == 0
    found = re.search(rf"^example:\n  (?:bin|deploy)/{program}(.*)$", capsys.readouterr().out, re.MULTILINE)
    assert found is not None
    words = re.findall(r'"[^"]*"|\S+', found[1])
    command, rest, said = line.chosen(words)
    line.parser(command, said=said).parse_known_args(rest)
    assert command.name == name


@pytest.mark.parametrize("program", LINES)
def test_the_help_lists_every_command(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        LINES[program].parse(["--help-all" if LINES[program].seldom else "--help"])
    listed = capsys.readouterr().out.partition("commands (")[2].partition("example:")[0]
    assert [line.split()[0] for line in listed.splitlines()[1:] if line and line[2] != " "] == [
        one.name for one in LINES[program].commands
    ]


@pytest.mark.parametrize("program", LINES)
def test_the_help_leaves_a_space_or_a_line_between_a_command_and_what_it_does(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        LINES[program].parse(["--help-all" if LINES[program].seldom else "--help"])
    listed = capsys.readouterr().out.partition("commands (")[2].partition("example:")[0].splitlines()
    for one in LINES[program].commands:
        head = f"  {one.name} {one.usage}".rstrip()
        at = next(number for number, line in enumerate(listed) if line.startswith(head))
        assert re.match(r"$|  +\S", listed[at][len(head) :]), listed[at]
        words = " ".join([listed[at][len(head) :], *listed[at + 1 :]])
        assert " ".join(words.split()).startswith(" ".join(one.help.split()))


@pytest.mark.parametrize("program", LINES)
def test_what_may_be_left_out_has_a_default_that_cannot_be_taken_for_a_value(program: str) -> None:
    for name, how in LINES[program].options.items():
        assert "default: any" not in how["help"], name


@pytest.mark.parametrize(("program", "name"), EACH)
def test_every_command_but_those_that_serve_answers_programs_too(program: str, name: str) -> None:
    """One prints a file as it is to be written, which programs read as well."""
    line = LINES[program]
    one = next(one for one in line.commands if one.name == name)
    assert ("--json" in (*one.options, *line.everywhere)) == (name not in ("serve", "restart", "local", "guest-sample"))


@pytest.mark.parametrize(
    ("program", "words", "line"),
    [
        ("metaserver", "--statsu", "unknown option --statsu (did you mean --status?)"),
        ("metaserver", "statsu", "there is no command 'statsu': did you mean status?"),
        ("buildserver.py", "sue", "there is no command 'sue'; there are " + ", ".join(sorted(COMMANDS))),
        ("buildserver.py", "hours", "there is no command 'hours': --hours is an option"),
        ("metaserver", "--qqq pause attic", "unknown option --qqq (--help lists all options)"),
        ("webserver", "--json", "--json goes with stop or check-config or join"),
        ("webserver", "--verbose=no", "--verbose: takes no value: leave out 'no' (--help shows an example)"),
        (
            "webserver",
            "--port 1 --port=2",
            "--port: is said twice, as 1 and as 2: choose one (--help shows an example)",
        ),
        (
            "buildserver.py",
            "--max-builds=1 --max-builds=2",
            "--max-builds: is said twice, as 1 and as 2: choose one (--help shows an example)",
        ),
        ("metaserver", "--pause attic --pause cellar", "--pause is said twice, as 'attic' and as 'cellar': choose one"),
        ("metaserver", "--abort=3 --abort=3 --abort=4", "--abort is said twice, as '3' and as '4': choose one"),
        (
            "metaserver",
            "pause \udcff",
            "SERVER: '\\udcff' is no name or id: there is an unprintable character in it (--help shows an example)",
        ),
        (
            "metaserver",
            "rebuild 1 --mail anna",
            "the e-mail address 'anna' is not a name, an @ and a domain: write it like name@example.org",
        ),
        ("buildserver.py", "show-info --show-info=x", "--show-info takes no value: leave out 'x'"),
        ("startcompile.py", "--why", "--why needs ID (--help shows an example)"),
        ("startcompile.py", "--why --cancel", "--why needs ID (--help shows an example)"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(program: str, words: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        LINES[program].parse(words.split())
    assert str(caught.value) == line


def test_two_dashes_behind_an_equals_sign_are_a_value_and_alone_the_end_of_the_options() -> None:
    """argparse takes both for the end, and gives the option a list (Python 3.11): that was a traceback."""
    parser = CommandParser(add_help=False)
    parser.add_argument("--one")
    parser.add_argument("--many", action="append", type=str.upper)
    parser.add_argument("--perhaps", nargs="?", const="const")
    parser.add_argument("word", nargs="?")
    said = parser.parse_args(["--one=--", "--many=--", "--many=a", "--perhaps=--", "--", "--one"])
    assert vars(said) == {"one": "--", "many": ["--", "A"], "perhaps": "--", "word": "--one"}


@pytest.mark.parametrize("program", LINES)
def test_an_option_of_which_two_dashes_are_no_value_says_so(program: str) -> None:
    line = LINES[program]
    for command in line.commands:
        for name in command.options:
            how = line.options[name]
            if "action" not in how and not takes(how.get("type", str), "--"):
                with pytest.raises(UsageError, match=name):
                    line.parser(command, said=True).parse_args([f"{name}=--"])
