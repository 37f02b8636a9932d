"""The projects of a followed commit: its signature is checked and its files are written anew, and then it is loaded.

Covered by tests/programs/buildserver/following/test_starting.py.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve, frozen

from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.followed.repository import FollowedRepository
from buildtool.adapters.vcs.followed.signatures import check_can_verify, verify_commit
from buildtool.adapters.vcs.followed.written_tree import CONFIG, write_tree
from buildtool.configuration.settings import Settings, load_settings
from buildtool.errors import ConfigurationError, MachineFault
from buildtool.model.guest.following import SHORT, SignatureVerdict
from buildtool.programs.buildserver.following.choice import FollowChoice
from buildtool.programs.metaserver.checking import FILE_PATIENCE, within


@frozen
class FollowedTrees:
    """The files of followed commits, a directory for each, below ``place``. Everything here blocks."""

    choice: FollowChoice
    place: Path

    @property
    def path(self) -> Path:
        """Where the directories are."""
        return self.place / "trees"

    def written(self, commit: str, repository: FollowedRepository | None = None, *, anew: bool = True) -> Path:
        """Return the ``config.py`` of a commit that a key of the owner's has signed.

        Its files are written; without ``anew``, only where they are not there. Whether a key's time is over does not
        count: it was checked when the commit was new. Raises ConfigurationError where it is not signed by one or has
        files that are not taken, MachineFault.
        """
        check_can_verify()
        repository = self.choice.repository(self.place) if repository is None else repository
        found = verify_commit(repository.git, repository.path, commit, self.choice.read_keys())
        if found.verdict is not SignatureVerdict.TRUSTED:
            raise ConfigurationError(f"{commit[:SHORT]} is not signed by any key of {self._files()}")
        place = self.path / commit
        if anew or not (place / CONFIG).is_file():
            return write_tree(repository.git, repository.path, commit, place)
        return place / CONFIG

    def remove(self, commit: str) -> None:
        """Remove the files of a commit that will not do. Raises MachineFault."""
        try:
            remove_tree(self.path / commit)
        except OSError as error:
            raise MachineFault(f"cannot clear {self.path}: {error.strerror or error}") from error

    def keep_only(self, *commits: str) -> None:
        """Remove the files of all other commits. Raises MachineFault."""
        try:
            for one in self.path.iterdir() if self.path.is_dir() else ():
                if one.name not in commits:
                    remove_tree(one)
        except OSError as error:
            raise MachineFault(f"cannot clear {self.path}: {error.strerror or error}") from error

    def _files(self) -> str:
        return ", ".join(map(str, self.choice.files))


def with_projects_of(settings: Settings, config: Path) -> Settings:
    """Return the settings of this machine with the projects of another configuration, and nothing else of that.

    Where the metaserver is and where things are kept, who follows has said themselves. For the main thread. Raises
    ConfigurationError, also for one that takes too long.
    """
    with within(FILE_PATIENCE):
        projects = load_settings(config, secrets=False).projects
    if not projects:
        raise ConfigurationError(f"{config}: projects is empty, so there is nothing to build")
    return evolve(settings, projects=projects)
