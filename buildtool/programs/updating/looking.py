"""What is newest in the repository, and what is to be known of it before anything of it is run. Everything here blocks.

Covered by tests/programs/updating/test_rounds.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from buildtool.adapters.vcs.followed.repository import TIP, FollowedRepository
from buildtool.adapters.vcs.followed.signatures import CommitSignature, verify_commit, verify_tag
from buildtool.adapters.vcs.followed.tags import list_tags
from buildtool.adapters.vcs.git.command import need
from buildtool.errors import MachineFault, RepositoryUnreachable
from buildtool.model.guest.following import SHORT, FollowedTip, Kinship, SignatureVerdict
from buildtool.model.updating.names import newest_tag
from buildtool.programs.updating.choice import UpdateChoice

COPY = "source"
"""The directory beside the versions in which the copy of the repository is."""

MIGRATIONS = "buildtool/adapters/sql/migrations/versions"


@frozen
class NewestVersion:
    """The newest version: what people call it, what it says of itself, and what it does to the database.

    ``brings`` are revisions of the database that the version which runs does not know, ``lacks`` those that only it
    knows.
    """

    tip: FollowedTip
    name: str
    about: str = ""
    brings: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


def repository_of(choice: UpdateChoice) -> FollowedRepository:
    """Return the copy of the repository."""
    return choice.source.repository(choice.place / COPY)


def look_for_newest(choice: UpdateChoice, holds: str, here: Path, now: float) -> NewestVersion:
    """Return what is newest; ``here`` is where the version that ``holds`` lies, ``now`` in seconds of wall time.

    Raises RepositoryUnreachable, ConfigurationError, MachineFault.
    """
    repository = repository_of(choice)
    try:
        repository.git.place.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise MachineFault(f"{repository.git.place} cannot be used: {error.strerror or error}") from error
    try:
        return _newest(choice, repository, holds, here, now)
    except MachineFault as error:
        if not repository.mend():
            raise
        raise MachineFault(f"the copy of {choice.words} was damaged, and is made anew") from error
    finally:
        repository.git.close()


def _newest(choice: UpdateChoice, repository: FollowedRepository, holds: str, here: Path, now: float) -> NewestVersion:
    tag = ""
    if choice.tags:
        tag = newest_tag(list_tags(repository), choice.tags)
        if not tag:
            raise RepositoryUnreachable(f"there is no version among {choice.words}")
    commit = repository.fetch(tag)
    name = tag or commit[:SHORT]
    kinship = repository.kinship(holds, commit)
    if kinship is Kinship.SAME:
        return NewestVersion(FollowedTip(commit, SignatureVerdict.UNSIGNED, kinship), name)
    found = CommitSignature(SignatureVerdict.UNSIGNED)
    if not choice.unsigned:
        keys = [one for one in choice.source.read_keys() if one.holds(now)]
        git, path = repository.git, repository.path
        found = verify_tag(git, path, TIP, tag, keys) if tag else verify_commit(git, path, commit, keys)
    words, called = repository.about(commit), f"{tag} ({commit[:SHORT]})" if tag else name
    changed = repository.changed(holds if holds and repository.has(holds) else "", commit)
    signed = f"signed by {found.signer}" if found.signer else found.verdict.value
    known, new = set[str](), set[str]()
    if holds and not choice.without_database:
        known, new = revisions_here(here), _revisions(repository, commit)
    return NewestVersion(
        FollowedTip(commit, found.verdict, kinship, found.signer),
        name,
        f"{called} of {words.author}, {signed}: {words.subject} ({changed.words})",
        tuple(sorted(new - known)),
        tuple(sorted(known - new)),
    )


def _revisions(repository: FollowedRepository, commit: str) -> set[str]:
    words = ("ls-tree", "-r", "-z", "--name-only", commit, f"{MIGRATIONS}/")
    answer = repository.git.run(words, git_dir=repository.path, settings=repository.git.settings)
    found = need(answer, MachineFault, f"cannot read {repository.path}: ").text.split("\0")
    return _named(Path(one).name for one in found)


def revisions_here(here: Path) -> set[str]:
    """Return the revisions of the database that the version in a directory knows."""
    place = here / MIGRATIONS
    return _named(one.name for one in place.rglob("*.py")) if place.is_dir() else set()


def _named(names: Iterable[str]) -> set[str]:
    """Return the numbers of revisions, as their files are named: 0019_what_is_measured.py."""
    return {name.partition("_")[0] for name in names if name.endswith(".py") and name[:1].isdigit()}
