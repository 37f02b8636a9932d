"""Repositories as git makes them only by mistake or by malice: built as a clone has them, or the project's to mend.

No machine and no mirror is blamed for what a commit's own id vouches for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.git import reader
from buildtool.adapters.vcs.git.objects import parse_tree
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror, directory_name
from buildtool.adapters.vcs.git_worktrees import worktrees
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from buildtool.errors import SourceUnusable, UnknownRef
from tests.support.inline import run
from tests.support.origins import Origin

WHO = b"author a <a@b> 1700000000 +0000\ncommitter a <a@b> 1700000000 +0000\n"


class Farm:
    """An origin whose objects are written by hand, and a build server's sources."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.origin = Origin(top / "origin")
        self.mirror = GitMirror(top / "mirrors", Inline())
        self.trees = Worktrees(self.mirror, top / "trees", Inline())

    def write(self, kind: str, content: bytes) -> str:
        """Write an object as it is, right or not, and return its id."""
        command = ["git", "-C", str(self.origin.path), "hash-object", "-w", "-t", kind, "--literally", "--stdin"]
        return subprocess.run(command, input=content, check=True, capture_output=True).stdout.decode().strip()

    def tree(self, *entries: tuple[bytes, bytes, str]) -> str:
        return self.write("tree", b"".join(b"%b %b\0%b" % (*one[:2], bytes.fromhex(one[2])) for one in entries))

    def commit(self, *entries: tuple[bytes, bytes, str]) -> str:
        """Make ``main`` a commit of these entries, each a mode, a name and an id."""
        commit = self.write("commit", b"tree %b\n%b\nm\n" % (self.tree(*entries).encode(), WHO))
        self.origin.git("update-ref", "refs/heads/main", commit)
        return commit

    def checkout(self, commit: str, url: str = "") -> Path:
        return run(self.trees.checkout(url or self.origin.url, commit, 0))


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    here = Farm(tmp_path)
    yield here
    here.mirror.close()


@given(st.binary() | st.lists(st.tuples(st.text("012345678 x"), st.binary(max_size=4), st.just(b"\0" * 21))))
def test_any_bytes_are_a_directory_or_the_project_s_to_mend(said: bytes | list[tuple[str, bytes, bytes]]) -> None:
    content = said if isinstance(said, bytes) else b"".join(b"%b %b%b" % (m.encode(), n, i) for m, n, i in said)
    try:
        parse_tree(content, 20)
    except SourceUnusable:
        return


@pytest.mark.parametrize("mode", [b"100664", b"100600", b"0100644", b"7" * 500 + b"100644"])
def test_modes_as_only_old_or_odd_programs_write_them_are_git_s_own(farm: Farm, mode: bytes) -> None:
    commit = farm.commit((mode, b"f", farm.write("blob", b"x")), (b"0100755", b"g", farm.write("blob", b"y")))
    tree = farm.checkout(commit)
    assert [oct((tree / name).stat().st_mode & 0o777) for name in ("f", "g")] == ["0o644", "0o755"]


def test_a_commit_that_names_a_directory_as_a_file_is_the_project_s_to_mend(farm: Farm) -> None:
    """Such a mirror would be made anew for ever, and the machine be called broken."""
    inner = farm.tree((b"100644", b"f", farm.write("blob", b"x")))
    commit = farm.commit((b"100644", b"g", inner))
    with pytest.raises(SourceUnusable, match=rf"the commit names {inner}, which is a tree of 29 bytes, as a blob"):
        farm.checkout(commit)


def test_what_is_too_long_to_be_read_is_the_project_s_to_mend(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = farm.commit((b"100644", b"f", farm.write("blob", b"x")))
    monkeypatch.setattr(reader, "SMALL_LIMIT", 20)
    with pytest.raises(SourceUnusable, match="more than the 20 that can be read"):
        farm.checkout(commit)


def test_a_few_trees_that_stand_for_ten_thousand_million_files_are_refused_at_once(farm: Farm) -> None:
    inner = farm.tree(*((b"100644", b"f%d" % one, farm.write("blob", b"x")) for one in range(10)))
    for _ in range(9):
        inner = farm.tree(*((b"40000", b"d%d" % one, inner) for one in range(10)))
    with pytest.raises(SourceUnusable, match="more than 2000000 files and directories"):
        farm.checkout(farm.commit((b"40000", b"d", inner)))


def test_a_submodule_may_be_at_a_tag_s_id(farm: Farm) -> None:
    inner = Origin(farm.top / "inner")
    inner.commit("f", "inner\n")
    inner.git("tag", "-a", "-m", "tag", "v1")
    (farm.origin.path / ".gitmodules").write_text('[submodule "n"]\n\tpath = d\n\turl = ../inner\n')
    farm.origin.git("add", ".gitmodules")
    farm.origin.git("update-index", "--add", "--cacheinfo", f"160000,{inner.git('rev-parse', 'v1')},d")
    farm.origin.git("commit", "-q", "-m", "at a tag")
    assert (farm.checkout(farm.origin.git("rev-parse", "HEAD")) / "d" / "f").read_text() == "inner\n"


def test_two_slots_of_one_repository_may_be_the_first_at_once(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory that one finds missing the other has made meanwhile, and a tree in it."""
    commit, laid_out = farm.origin.commit("f"), list[Path]()
    run(farm.mirror.fetch_commit(farm.origin.url, commit))
    shared = farm.top / "trees" / directory_name(farm.origin.url)
    other = threading.Thread(target=lambda: laid_out.append(run(farm.trees.checkout(farm.origin.url, commit, 1))))

    def meanwhile(path: Path, check: Callable[[], None] = lambda: None) -> None:
        if path == shared and not other.ident:
            other.start()
            other.join(0.3)  # it waits for its turn, or has had it
        remove_tree(path, check)

    monkeypatch.setattr(worktrees, "remove_tree", meanwhile)
    laid_out.append(farm.checkout(commit))
    other.join()
    assert [(tree / "f").exists() for tree in laid_out] == [True, True]


def tags(tree: Path) -> set[bytes]:
    command = ["git", "-C", str(tree), "tag", "-l"]
    return set(subprocess.run(command, check=True, capture_output=True).stdout.split(b"\n")) - {b""}


def test_tags_of_any_length_and_encoding_are_those_of_a_clone(farm: Farm) -> None:
    commit = farm.origin.commit()
    names = {b"v\xff", b"v\xfe", "\u00fc".encode(), b"a/" + b"y" * 249}
    for name in names:
        command = [b"git", b"-C", os.fsencode(farm.origin.path), b"update-ref", b"refs/tags/" + name, commit.encode()]
        subprocess.run(command, check=True)
    assert tags(farm.checkout(commit)) == names
    farm.origin.path.rename(farm.top / "away")
    farm.trees = Worktrees(farm.mirror, farm.top / "trees", Inline())
    assert tags(farm.checkout(commit)) == names


def test_a_bundle_is_an_origin_whose_annotated_tags_describe(farm: Farm) -> None:
    commit = farm.origin.commit()
    farm.origin.git("tag", "-a", "-m", "tag", "v1")
    bundle = farm.top / "origin.bundle"
    farm.origin.git("bundle", "create", "-q", str(bundle), "--all")
    tree = farm.checkout(commit, str(bundle))
    command = ["git", "-C", str(tree), "describe"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "v1\n"


def test_a_head_whose_commit_is_not_there_is_said_to_be_so(farm: Farm) -> None:
    commit = farm.origin.commit()
    (farm.origin.path / ".git" / "HEAD").write_text("1" * 40 + "\n")
    with pytest.raises(UnknownRef, match=r"'HEAD' of .* is at 1{40}, which is not there: push it again"):
        run(farm.mirror.resolve(farm.origin.url, "HEAD"))
    assert run(farm.mirror.resolve(farm.origin.url, "main")) == commit


def swap(path: Path) -> None:
    """Put a file where there was a directory, and a directory everywhere else."""
    was_directory = path.is_dir()
    remove_tree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if was_directory:
        path.write_text("a file")
    else:
        (path / "in it").mkdir(parents=True)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.long)], ids=["some", "all"])
def test_a_mirror_heals_whatever_of_it_is_a_file_instead_of_a_directory_or_the_other_way_round(
    farm: Farm, step: int
) -> None:
    farm.checkout(farm.origin.commit("first"))
    (mirror,) = (farm.top / "mirrors").glob("*.git")
    found = sorted(path.relative_to(mirror) for path in mirror.rglob("*"))
    found += [Path("objects/ab"), Path("objects/info"), Path("info/grafts"), Path("shallow")]
    for number, name in enumerate(found[::step]):
        (mirror / "objects" / "ab").mkdir(exist_ok=True)
        swap(mirror / name)
        tree = farm.checkout(farm.origin.commit(f"file {number}"))
        assert (tree / f"file {number}").exists(), name
    (mirror / "shallow").touch()
    assert (farm.checkout(farm.origin.commit("last")) / "last").exists()
    for beside in (farm.top / "mirrors").glob("*.git?*"):
        swap(beside)
        assert (farm.checkout(farm.origin.commit(f"after {beside.name}")) / "first").exists()


GONE = """
import os, sys
from pathlib import Path
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from tests.support.inline import run
os.mkdir(sys.argv[1] + "/gone")
os.chdir(sys.argv[1] + "/gone")
os.rmdir(sys.argv[1] + "/gone")
print(run(GitMirror(Path(sys.argv[1], "mirrors"), Inline()).resolve(sys.argv[2], "main")))
"""


def test_a_program_whose_working_directory_was_deleted_still_fetches(farm: Farm) -> None:
    commit = farm.origin.commit()
    command = [sys.executable, "-c", GONE, str(farm.top), farm.origin.url]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == (commit, 0), done.stderr
