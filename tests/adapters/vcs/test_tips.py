"""``RefReader``: what real repositories have now, with the commit behind each tag, and nothing fetched for it."""

from pathlib import Path

import pytest

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.vcs.by_url import Resolvers
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.svn.command import SvnCommand
from buildtool.adapters.vcs.svn.resolver import SvnResolver
from buildtool.errors import RepositoryUnreachable
from tests.adapters.vcs.svn.repositories import SvnOrigin
from tests.support.inline import run
from tests.support.origins import Origin

pytestmark = pytest.mark.world


def reader(directory: Path) -> Resolvers:
    return Resolvers(GitMirror(directory / "mirrors", Inline()), SvnResolver(SvnCommand(directory / "svn"), Inline()))


def test_git_tells_of_head_branches_and_the_commits_behind_tags(tmp_path: Path) -> None:
    origin, found = Origin(tmp_path / "origin"), reader(tmp_path)
    assert run(found.tips(origin.url)) == {}
    first = origin.commit()
    origin.git("tag", "-a", "-m", "one", "v1")
    origin.git("tag", "-a", "-m", "of a tag", "v1-again", "v1")
    origin.git("update-ref", "refs/pull/7/head", first)
    origin.git("branch", "HEAD2")
    origin.git("branch", f"{'a' * 150}/{'b' * 150}")  # nobody can ask for it by that name
    second = origin.commit()
    assert run(found.tips(origin.url)) == {
        "HEAD": second, "refs/heads/main": second, "refs/heads/HEAD2": first, "refs/tags/v1": first,
        "refs/tags/v1-again": first,
    }  # fmt: skip
    for ref, commit in run(found.tips(origin.url)).items():
        assert run(found.resolve(origin.url, ref)) == commit, "what is listed is what would be built"
    with pytest.raises(RepositoryUnreachable):
        run(found.tips(f"file://{tmp_path}/nowhere"))


def test_subversion_tells_of_the_last_change_of_a_path(tmp_path: Path) -> None:
    origin, found = SvnOrigin(tmp_path / "origin"), reader(tmp_path)
    number = origin.commit("trunk/file", "one\n")
    origin.commit("branches/other", "elsewhere\n")
    assert run(found.tips(origin.url())) == {"HEAD": number}
