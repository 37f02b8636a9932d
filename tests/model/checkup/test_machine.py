"""Verdicts on a machine: what is too little, and the one line that installs what is missing."""

import pytest

from buildtool.model.checkup.machine import ToolFacts, install_line, judge_disk, judge_open_files, judge_tools
from buildtool.model.checkup.packages import COMMON, FAMILIES
from buildtool.model.checkup.verdicts import CheckVerdict
from buildtool.model.properties import TOOLS

LUA = ToolFacts("lua", ("gcc", "make"), ("gcc",), COMMON)
ZIG = ToolFacts("zig", ("zig", "g++"), ("zig", "g++"), {**COMMON, "zig": {"debian": "zig0 zig-tools"}})


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(None, CheckVerdict.PROBLEM), (9, CheckVerdict.PROBLEM), (50, CheckVerdict.WARNING), (100, CheckVerdict.OK)],
)
def test_a_disk_is_told_when_it_is_nearly_full(free: int | None, verdict: CheckVerdict) -> None:
    assert judge_disk("build_dir", "/builds", free, 100, 10).verdict is verdict


@pytest.mark.parametrize(
    ("soft", "verdict"), [(-1, CheckVerdict.OK), (4096, CheckVerdict.OK), (1024, CheckVerdict.WARNING)]
)
def test_a_limit_of_open_files_is_told_when_it_is_low(soft: int, verdict: CheckVerdict) -> None:
    assert judge_open_files(soft, 4096).verdict is verdict


@pytest.mark.parametrize(
    ("family", "line"),
    [
        ("debian", "sudo apt-get install g++ gcc zig-tools zig0"),
        ("fedora", "sudo dnf install gcc gcc-c++; install zig by hand: the recipe names no package"),
        ("homebrew", "brew install gcc; install zig by hand: the recipe names no package"),
    ],
)
def test_one_line_installs_what_all_projects_lack(family: str, line: str) -> None:
    assert install_line([LUA, ZIG], [family]) == line


def test_nothing_is_installed_where_nothing_is_missing_and_told_where_nothing_installs() -> None:
    assert install_line([ToolFacts("lua", ("gcc",), (), COMMON)], ["debian"]) == ""
    assert install_line([LUA], []) == "install gcc by hand"


def test_a_project_whose_tools_are_missing_is_a_problem_with_the_line_as_mend() -> None:
    (told,) = judge_tools([LUA], ["debian"])
    assert (told.verdict, told.mend) == (CheckVerdict.PROBLEM, "sudo apt-get install gcc")
    hidden = ToolFacts("lua", ("gcc",), ("gcc",), COMMON, {"gcc": "/home/me/bin"})
    (told,) = judge_tools([hidden], ["debian"])
    assert told.sentence == (
        "lua needs gcc, which builds do not see (it is in /home/me/bin): --readable /home/me/bin, or sudo apt-get "
        "install gcc"
    )
    (told,) = judge_tools([ToolFacts("lua", ("gcc",), (), COMMON)], ["debian"])
    assert told.verdict is CheckVerdict.OK


def test_the_common_packages_are_of_every_family_and_of_tools_that_are_looked_for() -> None:
    assert all(set(packages) == set(FAMILIES) for packages in COMMON.values())
    assert set(COMMON) <= {*TOOLS, "svn"}
