"""``BranchReader.line``: what a commit follows by first parents in real repositories, newest first."""

from pathlib import Path

import pytest

from buildtool.errors import UnknownRef
from tests.adapters.vcs.svn.repositories import SvnOrigin
from tests.adapters.vcs.test_tips import reader
from tests.support.inline import run
from tests.support.origins import Origin

pytestmark = pytest.mark.world


def test_git_tells_the_line_of_first_parents_as_far_as_is_asked_for_and_fetches_what_it_lacks(tmp_path: Path) -> None:
    origin, found = Origin(tmp_path / "origin"), reader(tmp_path)
    first = origin.commit()
    origin.git("checkout", "-q", "-b", "side")
    origin.commit()
    origin.git("checkout", "-q", "main")
    second = origin.commit()
    origin.git("merge", "-q", "-s", "ours", "--no-ff", "-m", "merge", "side")
    merge = origin.git("rev-parse", "HEAD").strip()
    assert list(run(found.line(origin.url, merge, 10))) == [merge, second, first]
    assert list(run(found.line(origin.url, merge, 2))) == [merge, second]
    assert len(run(found.line(origin.url, merge, 5_000))) == 3
    with pytest.raises(UnknownRef):
        run(found.line(origin.url, "0" * 40, 10))


def test_subversion_tells_the_changes_of_a_path(tmp_path: Path) -> None:
    origin, found = SvnOrigin(tmp_path / "origin"), reader(tmp_path)
    first = origin.commit("trunk/file", "one\n")
    origin.commit("branches/other", "elsewhere\n")
    last = origin.commit("trunk/file", "two\n")
    assert list(run(found.line(origin.url(), last, 10))) == [last, first]
    assert list(run(found.line(origin.url(), last, 1))) == [last]
