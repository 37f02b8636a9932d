"""What is followed is fetched within bounds, compared with what holds, and shown whole."""

import secrets
import socket
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.vcs.followed.bounded_git import BoundedGit
from buildtool.adapters.vcs.followed.repository import FollowedRepository
from buildtool.errors import MachineFault, RepositoryUnreachable
from buildtool.model.guest.following import Kinship
from tests.adapters.vcs.followed.conftest import Followed
from tests.support.signed_origin import SignedOrigin

pytestmark = pytest.mark.world


def test_the_branch_that_was_named_is_followed_and_else_what_head_is(followed: Followed) -> None:
    first = followed.origin.push(None, config__py="")
    assert followed.repository.fetch() == first
    followed.origin.git("checkout", "-q", "-b", "other")
    second = followed.origin.push(None, config__py="1")
    assert followed.repository.fetch() == first
    assert FollowedRepository(followed.git, followed.origin.url).fetch() == second
    with pytest.raises(RepositoryUnreachable, match="has no branch 'none': name one as URL#BRANCH"):
        FollowedRepository(followed.git, followed.origin.url, "none").fetch()


def test_a_branch_is_only_where_its_own_name_says(followed: Followed) -> None:
    """Git lists every ref that ends with the name."""
    followed.origin.push(None, config__py="")
    followed.origin.git("update-ref", "refs/heads/x/refs/heads/wanted", "HEAD")
    with pytest.raises(RepositoryUnreachable, match="has no branch 'wanted'"):
        FollowedRepository(followed.git, followed.origin.url, "wanted").fetch()


def test_a_commit_is_newer_older_or_of_another_history_than_the_one_that_holds(followed: Followed) -> None:
    origin, repository = followed.origin, followed.repository
    first = origin.push(None, config__py="1")
    second = origin.push(None, config__py="2")
    repository.fetch()
    assert repository.kinship("", second) is Kinship.FIRST
    assert repository.kinship(second, second) is Kinship.SAME
    assert repository.kinship(first, second) is Kinship.NEWER
    repository.keep(second)

    origin.git("reset", "-q", "--hard", first)
    assert repository.kinship(second, repository.fetch()) is Kinship.OLDER
    origin.push(None, config__py="3")
    assert repository.kinship(second, repository.fetch()) is Kinship.FORKED
    assert repository.kinship("1" * 40, repository.fetch()) is Kinship.FORKED


def test_what_a_replacement_or_a_graft_says_of_history_is_not_believed(followed: Followed) -> None:
    origin, repository = followed.origin, followed.repository
    first = origin.push(None, config__py="1")
    origin.git("checkout", "-q", "--orphan", "lone")
    lone = origin.push(None, config__py="2")
    origin.git("replace", "--graft", lone, first)
    origin.git("branch", "-f", "main", lone)
    (origin.path / ".git" / "info").mkdir(exist_ok=True)
    (origin.path / ".git" / "info" / "grafts").write_text(f"{lone} {first}\n")
    assert repository.kinship(first, repository.fetch()) is Kinship.FORKED


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_what_changed_is_told_and_shown_whole(tmp_path: Path, form: str) -> None:
    origin = SignedOrigin(tmp_path / "origin", object_format=form)
    repository = FollowedRepository(BoundedGit(tmp_path / "follow"), origin.url, "main")
    first = origin.push(None, config__py="one = 1\n")
    second = origin.push(None, config__py="two = 2\n", more="\0\x1b[31m\n")
    origin.git("config", "diff.x.textconv", "false")
    assert repository.fetch() == second
    assert repository.changed(first, second).words == "2 files changed: config.py, more"
    assert repository.changed("", first).words == "1 file changed: config.py"
    about = repository.about(second)
    assert (about.author, about.subject, about.at) == ("A <a@example.org>", "change config__py, more", 1_704_067_200.0)
    lines: list[bytes] = []
    repository.diff(first, second, lines.append)
    assert {b"-one = 1", b"+two = 2"} <= set(lines)
    assert b"+\0\x1b[31m" in lines, "what git takes for binary is shown as well"
    lines.clear()
    repository.diff("", first, lines.append)
    assert b"+one = 1" in lines


def test_no_more_comes_than_the_bound(followed: Followed, tmp_path: Path) -> None:
    (followed.origin.path / "much").write_bytes(secrets.token_bytes(3_000_000))  # which no packing makes smaller
    followed.origin.push(None, config__py="")
    small = FollowedRepository(BoundedGit(tmp_path / "small", 1_000_000), followed.origin.url, "main")
    with pytest.raises(RepositoryUnreachable, match=r"more than 976\.6 KiB came"):
        small.fetch()
    left = sum(one.stat().st_size for one in (tmp_path / "small").rglob("*") if one.is_file())
    assert left < 2_000_000
    followed.origin.push(None, much=None)
    assert followed.repository.fetch()


def test_a_copy_that_grew_too_large_is_made_anew_and_keeps_what_holds(followed: Followed) -> None:
    """Else a server could take away what holds, by sending much that is refused."""
    held = followed.origin.push(None, config__py="")
    followed.repository.fetch()
    followed.repository.keep(held)
    followed.origin.git("checkout", "-q", "--orphan", "other")
    (followed.origin.path / "much").write_bytes(secrets.token_bytes(300_000))
    other = followed.origin.push(None)
    followed.origin.git("branch", "-f", "main", other)
    small = evolve(followed.repository, whole=200_000)
    assert small.fetch() == other
    assert small.fetch() == other
    assert small.has(held)
    assert small.kinship(held, other) is Kinship.FORKED


def test_a_repository_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x"
        repository = FollowedRepository(BoundedGit(tmp_path), url, limit=0.3)
        with pytest.raises(RepositoryUnreachable, match=r"took longer than 0\.3 s"):
            repository.fetch()


def test_a_repository_that_is_gone_is_one_line_without_its_password(tmp_path: Path) -> None:
    repository = FollowedRepository(BoundedGit(tmp_path), "http://anna:secret@127.0.0.1:1/x", "main")
    with pytest.raises(RepositoryUnreachable) as told:
        repository.fetch()
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_repository_that_runs_a_command_is_none(tmp_path: Path) -> None:
    repository = FollowedRepository(BoundedGit(tmp_path / "follow"), f"ext::sh -c touch% {tmp_path}/harm")
    with pytest.raises(RepositoryUnreachable):
        repository.fetch()
    assert not (tmp_path / "harm").exists()


def damage(repository: FollowedRepository) -> None:
    for pack in (repository.path / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(bytes(len(pack.read_bytes())))


def test_a_copy_that_was_damaged_is_made_anew(followed: Followed) -> None:
    first = followed.origin.push(None, config__py="")
    repository = followed.repository
    repository.fetch()
    assert not repository.mend()
    (repository.path / "HEAD").write_text("nothing")
    assert repository.fetch() == first

    damage(repository)
    second = followed.origin.push(None, config__py="1")
    assert repository.fetch() == second
    assert repository.kinship(first, second) is Kinship.NEWER

    damage(repository)
    with pytest.raises(MachineFault):
        repository.about(second)
    assert repository.mend()
    assert not repository.path.exists()
    assert repository.fetch() == second
    assert repository.kinship(first, second) is Kinship.NEWER


def test_what_a_git_that_was_killed_left_locked_holds_up_nothing(followed: Followed) -> None:
    followed.origin.push(None, config__py="")
    commit = followed.repository.fetch()
    for name in ("tip", "held"):
        (followed.repository.path / "refs" / "followed" / f"{name}.lock").touch()
    followed.repository.keep(commit)
    (followed.repository.path / "refs" / "followed" / "tip.lock").touch()
    assert followed.repository.fetch() == commit
    assert followed.origin.push(None, config__py="1") == followed.repository.fetch()
