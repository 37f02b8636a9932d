"""What a recipe is told about running what it builds, and that the integrator's example makes use of it."""

import shlex
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.settings import load_settings
from buildtool.errors import ConfigurationError
from buildtool.project.recipe import Command, Plan, Recipe, Wanted

ROOT = Path(__file__).resolve().parents[2]
TESTPROJECT = load_settings(ROOT / "config.py", secrets=False).project("testproject")


def wanted(kind: str, **tools: str) -> Wanted:
    options = dict(TESTPROJECT.options.compile_values({}))
    return Wanted(options, {"os": "linux", "arch": "ppc"}, kind, tools, PurePath("/source"), "0" * 40, 2)


@pytest.mark.parametrize(
    ("kind", "run", "can"),
    [("native", "", True), ("emulated", "", True), ("cross", "", False), ("cross", "qemu-ppc-static", True)],
)
def test_what_is_built_can_be_run_unless_it_was_cross_built_and_there_is_no_emulator(
    kind: str, run: str, can: bool
) -> None:
    assert wanted(kind, **({"RUN": run} if run else {})).can_run is can


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1))
def test_the_words_of_an_emulator_are_those_that_were_announced(words: list[str]) -> None:
    assert wanted("cross", RUN=shlex.join(words)).emulator == tuple(words)


def test_the_example_builds_with_the_tools_it_is_given_and_checks_in_the_emulator() -> None:
    tools = {"CC": "powerpc-linux-gnu-gcc", "AR": "powerpc-linux-gnu-ar", "STRIP": "powerpc-linux-gnu-strip"}
    plan = TESTPROJECT.recipe.plan(wanted("cross", **tools, RUN="qemu-ppc-static -L /usr/powerpc-linux-gnu"))
    build, check = (command.argv for command in plan.commands)
    assert {f"{role}={name}" for role, name in tools.items()} <= set(build)
    assert "RUN=qemu-ppc-static -L /usr/powerpc-linux-gnu" in check
    assert check[:2] == ("make", "check")
    (only,) = TESTPROJECT.recipe.plan(wanted("cross", **tools)).commands
    assert only.argv == build
    assert "RUN=" in TESTPROJECT.recipe.plan(wanted("native")).commands[1].argv


@pytest.mark.parametrize("name", [5, b"build", ["build"]])
def test_a_command_is_called_by_a_text(name: object) -> None:
    with pytest.raises(ConfigurationError, match="called by a text"):
        Command(["make"], name=name)  # a mistake of theirs


@pytest.mark.parametrize("terminal", [1, None, "yes"])
def test_a_command_has_a_terminal_or_not(terminal: object) -> None:
    with pytest.raises(ConfigurationError, match="True or False"):
        Command(["make"], terminal=terminal)  # a mistake of theirs


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        ({"gcc": "gcc"}, "a recipe's packages are like"),
        ([], "a recipe's packages are like"),
        ({"gcc": {"arch": "gcc"}}, "'arch' is none of debian, fedora, homebrew"),
        ({"gcc": {"debian": ""}}, "is no name of a package"),
        ({"gcc": {"debian": "gcc; rm -rf /"}}, "is no name of a package"),
        ({"gcc": {"debian": "-y"}}, "is no name of a package"),
    ],
)
def test_packages_are_plain_names_by_tool_and_family(packages: object, words: str) -> None:
    """What is named is pasted into a shell."""
    with pytest.raises(ConfigurationError, match=words):
        Recipe(1, lambda _wanted: Plan([Command(["make"])], ["x"]), packages=packages)  # type: ignore[arg-type]
    found = Recipe(1, lambda _wanted: Plan([Command(["make"])], ["x"]), packages={"gcc": {"debian": "gcc libc6-dev"}})
    assert found.packages == {"gcc": {"debian": "gcc libc6-dev"}}
