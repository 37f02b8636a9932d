"""``SourceResolver``: git, Subversion and what the simulation has in their place tell the same of a line of commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import frozen

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.vcs.by_url import Resolvers
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.svn.command import SvnCommand
from buildtool.adapters.vcs.svn.resolver import SvnResolver
from buildtool.errors import RepositoryUnreachable, UnknownRef, UsageError
from buildtool.model.trust.sources import EVERY_REF
from buildtool.ports.metaserver import SourceResolver
from tests.adapters.vcs.svn.repositories import SvnOrigin
from tests.simulation.origin import resting
from tests.simulation.projects import REVISIONS
from tests.support.inline import run
from tests.support.origins import Origin

WORLD = pytest.mark.world
LENGTH = 5


@frozen
class OneLine:
    """A repository whose commits are one line, oldest first; ``go_away`` makes it answer nobody any more."""

    resolver: SourceResolver
    url: str
    ids: tuple[str, ...]
    absent: str
    go_away: Callable[[], object]


def _real(directory: Path, closing: ExitStack) -> SourceResolver:
    mirror, svn = GitMirror(directory / "mirrors", Inline()), SvnCommand(directory / "svn")
    closing.callback(mirror.close)
    closing.callback(svn.close)
    return Resolvers(mirror, SvnResolver(svn, Inline()))


def of_git(directory: Path, closing: ExitStack) -> OneLine:
    origin = Origin(directory / "origin")
    ids = tuple(origin.commit("file") for _ in range(LENGTH))
    leave = lambda: origin.path.rename(directory / "gone")  # noqa: E731
    return OneLine(_real(directory, closing), origin.url, ids, "no-such-branch", leave)


def of_svn(directory: Path, closing: ExitStack) -> OneLine:
    origin = SvnOrigin(directory / "origin")
    ids = tuple(origin.commit("trunk/file", f"{number}\n") for number in range(LENGTH))
    leave = lambda: origin.repository.rename(directory / "gone")  # noqa: E731
    return OneLine(_real(directory, closing), origin.url(), ids, "r99", leave)


def simulated(_directory: Path, _closing: ExitStack) -> OneLine:
    away: list[bool] = []
    made = resting(lambda: bool(away))
    return OneLine(made, "https://git.example/paint.git", tuple(REVISIONS), "no-such-branch", lambda: away.append(True))


@pytest.fixture(params=[pytest.param(of_git, marks=WORLD), pytest.param(of_svn, marks=WORLD), simulated])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OneLine]:
    with ExitStack() as closing:
        yield request.param(tmp_path, closing)


def test_the_newest_is_head_and_an_id_is_itself(line: OneLine) -> None:
    assert run(line.resolver.resolve(line.url, "HEAD")) == line.ids[-1]
    for commit in line.ids:
        assert run(line.resolver.resolve(line.url, commit)) == commit
        run(line.resolver.pin(line.url, commit))


def test_what_is_accepted_is_nearest_first_and_of_two_as_near_the_older(line: OneLine) -> None:
    run(line.resolver.resolve(line.url, "HEAD"))
    for at, commit in enumerate(line.ids):
        for steps in range(4):
            near = [index for index in range(len(line.ids)) if abs(index - at) <= steps]
            expected = tuple(line.ids[index] for index in sorted(near, key=lambda index: (abs(index - at), index)))
            assert run(line.resolver.acceptable(line.url, commit, str(steps))) == expected


def test_what_is_on_a_branch_or_in_a_repository_of_subversion_is_trusted(line: OneLine) -> None:
    for commit in (run(line.resolver.resolve(line.url, "HEAD")), *line.ids):
        assert run(line.resolver.trusted(line.url, commit, EVERY_REF))


def test_what_is_not_there_and_one_that_answers_nobody_are_told_apart(line: OneLine) -> None:
    with pytest.raises(UnknownRef, match=line.absent.removeprefix("r")):
        run(line.resolver.resolve(line.url, line.absent))
    line.go_away()
    with pytest.raises(RepositoryUnreachable):
        run(line.resolver.resolve(line.url, "HEAD"))


def test_what_lies_before_the_newest_of_a_ref_is_older_whoever_asked_for_the_same_ref(line: OneLine) -> None:
    newest = run(line.resolver.resolve(line.url, "HEAD"))
    among = [("HEAD", one) for one in line.ids] + [("elsewhere", line.ids[0])]
    assert run(line.resolver.older(line.url, "HEAD", newest, among)) == {("HEAD", one) for one in line.ids[:-1]}
    assert run(line.resolver.older(line.url, "HEAD", newest, [])) == frozenset()
    assert run(line.resolver.older(line.url, "HEAD", line.ids[1], among)) == {("HEAD", line.ids[0])}


def test_of_what_is_no_ref_nothing_is_older(line: OneLine) -> None:
    newest = run(line.resolver.resolve(line.url, "HEAD"))
    with pytest.raises(UsageError):
        run(line.resolver.older(line.url, newest, newest, [("HEAD", line.ids[0])]))


def test_what_is_named_can_be_asked_for(line: OneLine) -> None:
    run(line.resolver.resolve(line.url, "HEAD"))
    names = run(line.resolver.refs(line.url))
    assert all(run(line.resolver.resolve(line.url, name)) in line.ids for name in names)
    assert ("main" in names) is not line.url.startswith("svn")
