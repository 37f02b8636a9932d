"""``Sources``: git and Subversion lay trees out, and refuse, alike; what stands for them has places as they have."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import frozen
from twisted.internet.defer import Deferred

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.vcs.by_url import Checkouts
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.worktrees import Worktrees
from buildtool.adapters.vcs.svn.command import SvnCommand
from buildtool.adapters.vcs.svn.copies import SvnSources
from buildtool.errors import RepositoryUnreachable, UnknownRef
from buildtool.ports.buildserver import Sources
from tests.adapters.vcs.svn.repositories import SvnOrigin
from tests.fakes_build import FakeSources
from tests.simulation.builders import Workbench
from tests.simulation.clock import Life, VirtualTime
from tests.support.origins import Origin

NONE = "0123456789abcdef0123456789abcdef01234567"
WORLD = pytest.mark.world


@frozen
class At:
    """A repository with two commits, of which the second has another ``file`` and no ``more``."""

    sources: Sources
    url: str
    commits: tuple[str, str]
    absent: str
    away: str
    time: VirtualTime

    def checkout(self, number: int, slot: int = 0) -> Path:
        return self.bring(self.url, self.commits[number], slot)

    def bring(self, url: str, commit: str, slot: int = 0) -> Path:
        found: list[Any] = []
        Deferred.fromCoroutine(self.sources.checkout(url, commit, slot)).addBoth(found.append)
        while not found and self.time.step():
            pass
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        path: Path = found[0]
        return path


def checkouts(directory: Path, closing: ExitStack) -> Sources:
    """Return what a build server checks out with."""
    mirror, svn = GitMirror(directory / "mirrors", Inline()), SvnCommand(directory / "svn")
    closing.callback(mirror.close)
    closing.callback(svn.close)
    git = Worktrees(mirror, directory / "sources", Inline())
    return Checkouts(git=git, svn=SvnSources(svn, directory / "sources" / "svn", Inline()))


def of_git(directory: Path, closing: ExitStack) -> At:
    origin = Origin(directory / "origin")
    origin.commit("more")
    first = origin.commit("file", "one\n")
    origin.git("rm", "-q", "more")
    commits = (first, origin.commit("file", "two\n"))
    made = checkouts(directory, closing)
    return At(made, origin.url, commits, NONE, f"file://{directory}/nowhere", VirtualTime())


def of_svn(directory: Path, closing: ExitStack) -> At:
    origin = SvnOrigin(directory / "origin")
    origin.write("trunk/more")
    first = origin.commit("trunk/file", "one\n")
    origin.delete("trunk/more")
    commits = (first, origin.commit("trunk/file", "two\n"))
    made = checkouts(directory, closing)
    return At(made, origin.url(), commits, "r99", f"svn+file://{directory}/nowhere", VirtualTime())


def faked(_directory: Path, _closing: ExitStack) -> At:
    return At(FakeSources(), "https://git.example/x.git", (NONE, NONE[::-1]), "", "", VirtualTime())


def simulated(_directory: Path, _closing: ExitStack) -> At:
    time = VirtualTime()
    world: Any = SimpleNamespace(rng=random.Random(1))  # noqa: S311 - no secret
    builder: Any = SimpleNamespace(name="anna")
    made = Workbench(world, builder, Life(time, "anna"))
    return At(made, "https://git.example/x.git", (NONE, NONE[::-1]), "", "", time)


REAL = (pytest.param(of_git, marks=WORLD), pytest.param(of_svn, marks=WORLD))


@pytest.fixture
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[At]:
    with ExitStack() as closing:
        yield request.param(tmp_path, closing)


@pytest.mark.parametrize("at", [*REAL, faked, simulated], indirect=True)
def test_a_slot_has_one_directory_whatever_is_checked_out_in_it_and_another_slot_another(at: At) -> None:
    places = [at.checkout(0), at.checkout(1), at.checkout(0, 1), at.checkout(1)]
    assert places[0] == places[1] == places[3]
    assert places[2] != places[0]
    assert not any(one in other.parents for one in places for other in places)


def names(tree: Path) -> set[str]:
    return {path.name for path in tree.iterdir()} - {".git", ".svn"}


@pytest.mark.parametrize("at", REAL, indirect=True)
def test_a_tree_is_what_was_committed_whatever_was_there_before(at: At) -> None:
    for _ in range(2):
        tree = at.checkout(0)
        assert names(tree) == {"file", "more"}
        assert (tree / "file").read_text() == "one\n"
        (tree / "file").write_text("of a build")
        (tree / "made").mkdir()
        tree = at.checkout(1)
        assert names(tree) == {"file"}
        assert (tree / "file").read_text() == "two\n"
        (tree / "file").unlink()
        (tree / "more").write_text("of a build")
        assert names(at.checkout(1)) == {"file"}


@pytest.mark.parametrize("at", REAL, indirect=True)
def test_what_cannot_be_checked_out_is_refused_by_its_kind_and_spoils_nothing(at: At) -> None:
    tree = at.checkout(0)
    for commit in (at.absent, "main", "HEAD", "", "-x"):
        with pytest.raises(UnknownRef):
            at.bring(at.url, commit)
    for _ in range(2):
        with pytest.raises(RepositoryUnreachable):
            at.bring(at.away, at.absent)
    assert at.checkout(0) == tree
    assert (tree / "file").read_text() == "one\n"
