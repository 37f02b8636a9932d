"""``make sources``: what the by-hand farm of the README builds from."""

import shutil
import subprocess
from pathlib import Path

import pytest

from buildtool.demo.sources import main

ROOT = Path(__file__).resolve().parent.parent.parent


def git(repository: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_examples_sources_become_a_repository_which_is_not_made_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever tries a change of their own in it does not lose it to a second ``make sources``."""
    shutil.copytree(ROOT / "testproject" / "source", tmp_path / "testproject" / "source")
    repository = tmp_path / "var" / "testproject.git"
    assert main(tmp_path) == 0
    commit = git(repository, "rev-parse", "main")
    assert capsys.readouterr().out == f"{repository} is made, commit {commit[:12]}\n"
    (repository / "Makefile").write_text("changed")
    assert main(tmp_path) == 0
    assert capsys.readouterr().out == f"{repository} is there already; it stays as it is\n"
    assert (repository / "Makefile").read_text() == "changed"


def test_what_is_in_the_way_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tmp_path) == 1
    said = capsys.readouterr().err
    assert said.startswith("make sources: ")
    assert said.count("\n") == 1
