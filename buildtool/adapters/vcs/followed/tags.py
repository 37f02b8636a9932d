"""The tags of a followed repository, as it lists them. Everything here blocks.

Covered by tests/adapters/vcs/followed/test_signatures.py.
"""

from __future__ import annotations

from buildtool.adapters.vcs.followed.repository import LIST_LIMIT, TAGS, FollowedRepository
from buildtool.adapters.vcs.git.command import NOWHERE, unreachable
from buildtool.adapters.vcs.process import TimedOut
from buildtool.adapters.vcs.refs import is_full_id, may_be_ref
from buildtool.errors import RepositoryUnreachable

MOST_TAGS = 20_000
_SEEN = 4_096


def list_tags(repository: FollowedRepository) -> tuple[str, ...]:
    """List the tags that a repository has, the first 20,000 of them. Raises RepositoryUnreachable."""
    found: list[str] = []

    def line(text: bytes) -> None:
        one, _, name = text[:_SEEN].decode("utf-8", "replace").partition("\t")
        if is_full_id(one) and name.startswith(TAGS) and len(found) < MOST_TAGS and may_be_ref(name):
            found.append(name.removeprefix(TAGS))

    words = ("ls-remote", "--quiet", "--refs", "--end-of-options", "origin", f"{TAGS}*")
    git, limit = repository.git, min(LIST_LIMIT, repository.limit)
    try:
        answer = git.run(words, git_dir=NOWHERE, url=repository.url, limit=limit, on_line=line, settings=git.settings)
    except TimedOut as error:
        raise RepositoryUnreachable(f"cannot read {repository.words}: {error}") from error
    if answer.code:
        raise unreachable(repository.words, answer)
    return tuple(found)
