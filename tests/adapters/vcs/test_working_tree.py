"""A working tree is built as it is now, as a build server would find it, and is not touched."""

import os
import subprocess
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.vcs.git_worktrees.layout import WRITTEN
from buildtool.adapters.vcs.working_tree import NO_COMMIT, TreeFacts, WorkingTree
from buildtool.errors import MachineFault, SourceUnusable
from tests.fakes_build import Immediate
from tests.support.packages import require

pytestmark = pytest.mark.world


def git(tree: Path, *words: str) -> str:
    require("git", "git")
    environment = {
        "PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }  # fmt: skip
    done = subprocess.run(["git", *words], cwd=tree, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def copied(source: Path, places: Path) -> tuple[TreeFacts, Path]:
    tree = WorkingTree(source, places, Immediate())
    found: list[tuple[TreeFacts, Path]] = []

    async def act() -> None:
        facts = await tree.facts()
        found.append((facts, await tree.checkout("", facts.commit, 0)))

    failures: list[Failure] = []
    Deferred.fromCoroutine(act()).addErrback(failures.append)
    tree.close()
    for failure in failures:
        failure.raiseException()
    return found[0]


def names(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if ".git" not in path.relative_to(place).parts}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tree = tmp_path / "source"
    (tree / "sub").mkdir(parents=True)
    git(tree, "init", "-q", "-b", "main")
    (tree / ".gitignore").write_text("*.o\n")
    (tree / "main.c").write_text("old")
    (tree / "gone.c").write_text("")
    (tree / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (tree / "sub" / "run.sh").chmod(0o700)
    (tree / "link").symlink_to("main.c")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    git(tree, "tag", "v1")
    return tree


def test_what_is_not_committed_is_built_and_what_is_ignored_is_not(source: Path, tmp_path: Path) -> None:
    (source / "main.c").write_text("new")
    (source / "more.c").write_text("")
    (source / "main.o").write_text("")
    (source / "gone.c").unlink()
    before = {path: path.lstat().st_mtime_ns for path in source.rglob("*")}
    facts, place = copied(source, tmp_path / "places")
    assert facts == TreeFacts(git(source, "rev-parse", "HEAD"), changed=3)
    assert names(place) == {".gitignore", "main.c", "more.c", "sub", "sub/run.sh", "link"}
    assert (place / "main.c").read_text() == "new"
    assert (place / "link").readlink() == Path("main.c")
    assert [(place / name).stat().st_mode & 0o777 for name in ("main.c", "sub/run.sh")] == [0o644, 0o755]
    assert {(place / name).stat().st_mtime_ns for name in ("main.c", "more.c")} == {WRITTEN}
    assert git(place, "describe", "--tags") == "v1"
    assert git(place, "status", "--porcelain").splitlines() == ["D gone.c", " M main.c", "?? more.c"]
    assert {path: path.lstat().st_mtime_ns for path in source.rglob("*")} == before


def test_a_directory_of_a_work_tree_is_copied_alone_and_one_without_git_whole(source: Path, tmp_path: Path) -> None:
    facts, place = copied(source / "sub", tmp_path / "places")
    assert facts.commit == git(source, "rev-parse", "HEAD")
    assert names(place) == {"run.sh"}
    assert not (place / ".git").exists()
    plain = tmp_path / "plain"
    (plain / "deep").mkdir(parents=True)
    (plain / "deep" / "a").write_text("")
    (plain / "ring").symlink_to(".")
    os.mkfifo(plain / "pipe")
    facts, place = copied(plain, tmp_path / "others")
    assert facts == TreeFacts(NO_COMMIT)
    assert names(place) == {"deep", "deep/a", "ring"}


def test_work_trees_in_the_tree_come_with_what_they_track(source: Path, tmp_path: Path) -> None:
    inner = source / "sub" / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "a.c").write_text("")
    (inner / "a.tmp").write_text("")
    (inner / ".gitignore").write_text("*.tmp")
    _, place = copied(source, tmp_path / "places")
    assert {"sub/inner/a.c", "sub/inner/.gitignore"} <= names(place)
    assert "sub/inner/a.tmp" not in names(place)


def test_what_cannot_be_copied_is_said_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnusable, match=f"there are no files in {tmp_path}/empty"):
        copied(tmp_path / "empty", tmp_path / "places")
    with pytest.raises(MachineFault, match="none is no directory"):
        copied(tmp_path / "none", tmp_path / "places")
