"""A command and its older form, the flag of its name, mean the same, wherever other options stand."""

import argparse
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.programs.common.subcommands import Subcommand
from buildtool.programs.metaserver.main import COMMAND_LINE

NAMES = [one.name for one in COMMAND_LINE.commands]
EARLIER = {
    "--check-config", "--mail-test", "--fsck", "--backup", "--status", "--pause", "--resume", "--forget", "--abort",
    "--rebuild", "--purge", "--purge-built-by", "--forget-failure", "--drain", "--undrain",
}  # fmt: skip
"""The flags of version 0.1 that were verbs."""


def command(name: str) -> Subcommand:
    return next(one for one in COMMAND_LINE.commands if one.name == name)


def parsed(*words: str) -> tuple[Subcommand, argparse.Namespace]:
    return COMMAND_LINE.parse(words)


def test_every_flag_that_was_a_verb_is_one_still() -> None:
    assert {one.flag for one in COMMAND_LINE.commands} >= EARLIER


@given(st.data())
def test_every_old_flag_does_what_its_command_does(data: st.DataObject) -> None:
    one = command(data.draw(st.sampled_from(NAMES)))
    target = [data.draw(st.sampled_from(["7", "12", "4711"]))] if one.argument else []
    chosen = data.draw(st.lists(st.sampled_from([*one.options, "--config", "--verbose"]), unique=True))
    others = []
    for name in chosen:
        valued = name == "--config" or (name != "--verbose" and "action" not in COMMAND_LINE.options[name])
        value = data.draw(st.sampled_from(["x", "pause", "it is broken", "status"]))
        joined = data.draw(st.booleans())
        others.append([name] if not valued else [f"{name}={value}"] if joined else [name, value])
    joined = data.draw(st.booleans())
    older = [f"{one.flag}={target[0]}"] if target and joined else [one.flag, *target]
    at = data.draw(st.integers(0, len(others)))
    before, after = (list(itertools.chain.from_iterable(part)) for part in (others[:at], others[at:]))
    expected = parsed(one.name, *target, *before, *after)
    assert expected[0] is one
    assert parsed(*before, *older, *after) == expected
    assert parsed(*before, one.name, *target, *after) == expected
    assert parsed(*before, one.name, *after, *target) == expected


def test_without_a_command_the_first_is_meant() -> None:
    one, said = parsed("--web", "--config", "status")
    assert (one.name, said.web, said.config) == ("serve", True, Path("status"))


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_a_help_with_an_example_that_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(name, "--help")
    assert ended.value.code == 0
    found = re.search(r"^example:\n  bin/metaserver(.*)$", capsys.readouterr().out, re.MULTILINE)
    assert found is not None
    words = re.findall(r'"[^"]*"|\S+', found[1])
    assert parsed(*words)[0].name == name


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    listed = capsys.readouterr().out.partition("commands (")[2].partition("example:")[0]
    assert [line.split()[0] for line in listed.splitlines()[1:] if line] == NAMES
