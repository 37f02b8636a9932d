"""Mounts that a build left in its tree: nothing reaches through them.

Only a mount namespace of the test's own ever has any, and only of directories that the test made.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildtool.adapters.storage.trees import mounted

TABLE = (
    b"21 1 0:20 / /proc rw - proc proc rw\n"
    b"30 1 8:1 /precious /b/trees/a\\040b/d rw - ext4 /dev/vda rw\n"
    b"31 1 8:1 / /b/trees rw - ext4 /dev/vda rw\n"
    b"32 1 8:1 / /b/trees2 rw - ext4 /dev/vda rw\n"
    b"nonsense\n"
)

ROOT = Path(__file__).resolve().parents[3]

PREPARED = """
import subprocess, sys
from pathlib import Path
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from tests.support.origins import Origin
from tests.support.inline import run
top = Path(sys.argv[1])
precious = top / "precious"

def bind(place):
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", str(precious), str(place)], check=True)
"""
CHECKED_OUT = """
origin = Origin(top / "origin")
commit = origin.commit("d/x", "x")
trees = Worktrees(GitMirror(top / "mirrors", Inline()), top / "trees", Inline())
tree = run(trees.checkout(origin.url, commit, 0))
for place in (tree / "d", tree / "stranger", tree / ".git" / "refs", tree):
    bind(place)
    assert run(trees.checkout(origin.url, commit, 0)) == tree
    assert (tree / "d" / "x").read_text() == "x" and not (tree / "stranger").exists()
"""
REMOVED = """
for name in ("slot", "a b", "a\\\\040b", "ü#"):
    for place in (top / name / "home", top / name):
        bind(place)
        remove_tree(top / name)
        assert not (top / name).exists()
"""


def test_the_kernel_s_table_tells_what_is_mounted_below_a_directory() -> None:
    assert mounted(TABLE, b"/b/trees", itself=False) == [b"/b/trees/a b/d"]
    assert mounted(TABLE, b"/b/trees", itself=True) == [b"/b/trees/a b/d", b"/b/trees"]
    assert mounted(TABLE, b"/b/tree", itself=True) == []


@pytest.mark.parametrize("program", [CHECKED_OUT, REMOVED], ids=["checked out", "removed"])
def test_what_is_mounted_in_a_tree_is_neither_emptied_nor_written_to(tmp_path: Path, program: str) -> None:
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("mounts of its own need root, or the right to make a mount namespace")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "kept").write_text("kept")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", PREPARED + program, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["kept"]
