"""Work trees: how long a slot takes to switch from one commit to another, all of it compared by content."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from statistics import median

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from tests.benchmarks.figures import Board
from tests.benchmarks.world import World, progress
from tests.support.inline import run
from tests.support.origins import Origin, git

FILES = 4_457
CHANGED = 20
DIRECTORIES = 300
SWITCHES = 15
RUNS = 3
_LINE = b"int some_function(int argument, const char *name); /* %d */\n"


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    ours, theirs = "switched_tree_ms_p50", "limit_git_switched_tree_ms_p50"
    if not board.wants(ours, theirs):
        return
    progress(f"a switched tree of {FILES} files")
    top = world.directory / "checkouts"
    shutil.rmtree(top, ignore_errors=True)
    origin = top / "origin"
    commits = _make(origin)
    board.put(theirs, [median(_by_git(origin, top / f"plain-{number}", commits)) for number in range(RUNS)])
    board.put(ours, [median(_by_us(origin, top / f"ours-{number}", commits)) for number in range(RUNS)])


def _by_us(origin: Path, top: Path, commits: tuple[str, str]) -> list[float]:
    mirror = GitMirror(top / "mirrors", Inline())
    trees = Worktrees(mirror, top / "trees", Inline())
    url = f"file://{origin}"
    for commit in commits:
        run(trees.checkout(url, commit, 0))
    took = []
    for number in range(SWITCHES):
        began = time.perf_counter()
        run(trees.checkout(url, commits[number % 2], 0))
        took.append((time.perf_counter() - began) * 1_000)
    mirror.close()
    return took


def _by_git(origin: Path, tree: Path, commits: tuple[str, str]) -> list[float]:
    """Return what git alone takes that believes its index: checkout, clean and status, as it would be used."""
    git(origin, "worktree", "add", "--quiet", "--detach", str(tree), commits[0])
    took = []
    for number in range(SWITCHES + 1):
        began = time.perf_counter()
        git(tree, "checkout", "--quiet", "--force", "--detach", commits[1 - number % 2])
        git(tree, "clean", "-ffdxq")
        git(tree, "status", "--porcelain", "--ignored")
        took.append((time.perf_counter() - began) * 1_000)
    return took[1:]


def _make(origin: Path) -> tuple[str, str]:
    draw = random.Random(1)
    repository = Origin(origin)
    names = [origin / f"part-{number % 17}" / f"unit-{number % DIRECTORIES}" / f"{number}.c" for number in range(FILES)]
    for name in names:
        name.parent.mkdir(parents=True, exist_ok=True)
        size = int(min(200_000, draw.lognormvariate(8.2, 1.2)))
        line = _LINE % draw.randrange(10**9)
        name.write_bytes((line * (size // len(line) + 1))[:size])
    first = repository.commit_all("first")
    for name in names[:CHANGED]:
        name.write_bytes(name.read_bytes() + b"changed\n")
    return first, repository.commit_all("second")
