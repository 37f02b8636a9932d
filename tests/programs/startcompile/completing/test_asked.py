"""What a shell is answered, and that real shells offer it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import ConfigurationError, UsageError
from buildtool.programs.startcompile.completing.asked import answer, split
from buildtool.programs.startcompile.completing.candidates import Surroundings
from buildtool.programs.startcompile.completing.scripts import script
from buildtool.programs.startcompile.main import COMMAND_LINE, main
from tests.programs.startcompile.completing.test_candidates import known
from tests.support.packages import require

ROOT = Path(__file__).resolve().parents[4]


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert answer(COMMAND_LINE, words, lambda _words: known()) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("bash", "=:", "x --checksum=f"), ["words", "fnv1a"]),
        (("bash", "", "x --checksum=f"), ["words", "--checksum=fnv1a"]),
        (("bash", "=:", "x --checksum "), ["words", "crc32", "fnv1a"]),
        (("bash", "=:", "x --checksum 'f"), ["words", "fnv1a"]),
        (("bash", "=:", "x --output "), ["files"]),
        (("zsh", "--checksum=f"), ["words", "--checksum=fnv1a"]),
        (("zsh", "--fore"), ["words", "--foreground:wait for the end, show state and log, fetch the artifact"]),
        (("fish", "--fore"), ["words", "--foreground\twait for the end, show state and log, fetch the artifact"]),
        (("fish", "matrix", ""), ["files"]),
        (("fish", "log", "12"), ["words", "12-abcdef\tlua main"]),
        (("bash", "=:", "x cancel "), ["words", "12-abcdef"]),
    ],
)
def test_each_shell_is_answered_in_its_own_form(
    words: tuple[str, ...], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert answered(capsys, *words) == expected


def test_where_the_configuration_is_wrong_nothing_fits_and_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_words: Sequence[str]) -> Surroundings:
        raise ConfigurationError("config.py: line 3 is wrong")

    assert answer(COMMAND_LINE, ["zsh", "c"], broken) == 0
    assert capsys.readouterr() == ("words\n", "")


@given(st.text("ab '\"\\=-", max_size=12))
def test_any_unfinished_line_is_split_without_an_error(text: str) -> None:
    assert all(isinstance(word, str) for word in split(text))


def test_a_shell_that_there_is_no_script_for_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"there is no completion for 'bsh': did you mean bash\?"):
        script("bsh")
    assert main(["completion", "tcsh"]) == 2
    assert "there is one for bash, zsh, fish" in capsys.readouterr().err
    assert main(["completion", "fish", "--json"]) == 0
    assert '"script": "# Completion' in capsys.readouterr().out


@pytest.fixture
def typed(tmp_path: Path) -> dict[str, str]:
    """Surroundings in which the program can be typed by its name, and nothing is known of any metaserver."""
    program = tmp_path / "bin" / "startcompile.py"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/bin/startcompile.py "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path), "BUILDTOOL_CONFIG": str(ROOT / "config.py"), "LC_ALL": "C.UTF-8",
    }  # fmt: skip


BASH = """
set -e
eval "$(startcompile.py completion bash)"
offered() {
    COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=(startcompile.py) COMPREPLY=()
    compopt() { echo "compopt $*"; }
    _startcompile
    printf '%s\\n' "${COMPREPLY[@]}"
}
offered 'startcompile.py --checksum=a'
offered 'startcompile.py --output '
complete -p startcompile.py
"""

FISH = """
startcompile.py completion fish | source
complete -C 'startcompile.py --checksum=a'
complete -C 'startcompile.py cance' | string split -f1 \\t
"""

OFFERED = {
    "bash": (BASH, ["adler32", "compopt -o", "default", "", "complete -F _startcompile startcompile.py"]),
    "fish": (FISH, ["--checksum=adler32", "cancel"]),
    "zsh": ("startcompile.py completion zsh > c.zsh && zsh -n c.zsh && echo sound", ["sound"]),
}


@pytest.mark.world
@pytest.mark.parametrize("shell", OFFERED)
def test_a_real_shell_takes_its_script_and_offers_what_fits(shell: str, typed: dict[str, str], tmp_path: Path) -> None:
    require(shell, shell)
    text, expected = OFFERED[shell]
    ran = subprocess.run(
        [shell, "-c", text], cwd=tmp_path, env=typed, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == expected
