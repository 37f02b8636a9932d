"""What may stand at the cursor of an unfinished command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.project_options import ProjectOptions
from buildtool.programs.startcompile.command_line import parse
from buildtool.programs.startcompile.completing.candidates import Candidate, Completion, Surroundings, completed
from buildtool.programs.startcompile.main import COMMAND_LINE
from tests.programs.startcompile.test_command_line import project, settings

PROJECTS = (project(), project(ProjectOptions((), ()), "lua"))


def refs(name: str, source: str) -> list[str]:
    return [f"{source or name}-main", f"{source or name}-v1.0"]


def ids(command: str) -> list[Candidate]:
    return [Candidate("12-abcdef", "lua main"), *([] if command == "cancel" else [Candidate("7-xyz", "lua v1.0")])]


def known(only: bool = True) -> Surroundings:
    return Surroundings(PROJECTS[:1] if only else PROJECTS, refs, ids)


def at(line: str, *, only: bool = True) -> Completion:
    """Return what may stand in place of the last word of a line; of the ``only`` project, or of two."""
    *words, current = line.split(" ")
    return completed(COMMAND_LINE, words, current, known(only))


def words(line: str, *, only: bool = True) -> list[str]:
    return [one.word for one in at(line, only=only).candidates]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("canc", ["cancel"]),
        ("--checks", ["--checksum"]),
        ("--checksum ", ["crc32", "fnv1a"]),
        ("--checksum=f", ["--checksum=fnv1a"]),
        ("--parts a,", ["a,b"]),
        ("--parts=a,b,", []),
        ("--no-u", ["--no-utf8"]),
        ("--arch ppc6", ["ppc64", "ppc64le"]),
        ("--table-size ", ["1024"]),
        ("--revision tally-m", ["tally-main"]),
        ("--source fork --revision=fork-v", ["--revision=fork-v1.0"]),
        ("--revrange tally-m", ["tally-main.."]),
        ("--revrange v0..tally-m", ["v0..tally-main"]),
        ("--project ", ["tally"]),
        ("completion z", ["zsh"]),
        ("cancel --che", []),
        ("cancel --plat", ["--platform"]),
        ("cancel --platform ppc64l", ["ppc64le"]),
        ("--cancel 1-x --dry", ["--dry-run"]),
        ("why --foreg", []),
        ("why ", ["12-abcdef", "7-xyz"]),
        ("log 7", ["7-xyz"]),
        ("--follow ", ["12-abcdef", "7-xyz"]),
        ("cancel ", ["12-abcdef"]),
        ("cancel --reason x ", ["12-abcdef"]),
        ("why 12-abcdef ", []),
        ("anna@example.org canc", []),
        ("-- --checks", []),
        ("--output x --outp", []),
        ("--checksum crc32 --checks", ["--checksum"]),
    ],
)
def test_what_fits_is_offered_and_nothing_else(line: str, expected: list[str]) -> None:
    assert words(line) == expected


def test_of_several_projects_the_one_that_is_said_has_its_options() -> None:
    assert words("--project ", only=False) == ["tally", "lua"]
    assert words("--checks", only=False) == []
    assert words("--project tally --checks", only=False) == ["--checksum"]
    assert words("--checks", only=False) == words("--project lua --checks", only=False)


@pytest.mark.parametrize(
    ("line", "paths"), [("--output ", True), ("matrix ", True), ("why ", False), ("--host ", False)]
)
def test_where_a_file_may_stand_that_is_said(line: str, paths: bool) -> None:
    assert at(line).paths is paths


SAID = st.sampled_from(
    [
        *(one.name for one in COMMAND_LINE.commands), "--checksum", "--utf8", "crc32", "--project=tally", "--output",
        "anna@example.org", "--cancel", "--", "--arch=", "ppc", "--revision", "-x", "",
    ]
)  # fmt: skip


@given(st.lists(SAID, max_size=4), st.one_of(SAID, st.sampled_from(["-", "--", "--c", "--checksum=c", "c"])))
def test_whatever_stands_before_the_cursor_what_is_offered_continues_what_is_there(
    before: list[str], current: str
) -> None:
    for one in completed(COMMAND_LINE, before, current, known()).candidates:
        assert one.word.startswith(current)
        assert one.word.isprintable()
        assert one.help.isprintable()


def test_every_option_and_value_that_is_offered_is_taken() -> None:
    configured, options = settings(), {option.flag: option for option in project().options.all()}
    offered = [one for one in words("--") if one not in ("--help", "--help-all")]
    assert set(options) < set(offered)
    lines = [line for flag in offered if flag in options for line in words(f"{flag}=") if not line.endswith("..")]
    lines += [flag for flag in offered if flag not in options and COMMAND_LINE.options.get(flag, {}).get("dest")]
    wrong = []
    for line in lines:
        try:
            parse(COMMAND_LINE, [line, "anna@example.org"], lambda _path: configured)
        except UsageError as error:
            wrong += [f"{line}: {error}"]
    assert wrong == []
