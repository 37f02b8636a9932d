"""The ``ports.FollowedConfiguration`` of a build server: git, keys and trials, in threads.

Covered by tests/programs/buildserver/following/test_starting.py.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from attrs import field, frozen

from buildtool.adapters.vcs.followed.repository import FollowedRepository
from buildtool.adapters.vcs.followed.signatures import verify_commit
from buildtool.errors import ConfigurationError, MachineFault
from buildtool.model.guest.following import SHORT, FollowedTip
from buildtool.ports.buildserver import FollowLook
from buildtool.ports.common import Clock, Executor
from buildtool.programs.buildserver.following.choice import FollowChoice
from buildtool.programs.buildserver.following.loading import FollowedTrees
from buildtool.programs.buildserver.following.trial import TrialRunner


@frozen
class FollowedSource:
    """The repository that an owner has chosen, its copy below ``place``; ``own`` is this machine's configuration."""

    choice: FollowChoice
    place: Path
    own: Path
    said: argparse.Namespace
    pool: Executor
    clock: Clock
    trials: TrialRunner = field(factory=TrialRunner)
    _repository: FollowedRepository = field(init=False)

    @_repository.default
    def _copy(self) -> FollowedRepository:
        return self.choice.repository(self.place)

    def close(self) -> None:
        """End what git and trials still do, and start no more: for the program's own end."""
        self._repository.git.close()
        self.trials.close()

    async def look(self, holds: str) -> FollowLook:
        """Return what is newest. Raises RepositoryUnreachable, ConfigurationError, MachineFault."""
        return await self.pool.run(partial(self._look, holds, self.clock.wall()))

    async def attempt(self, commit: str) -> str:
        """Return why a commit will not do, "" where it will."""
        return await self.pool.run(partial(self._attempt, commit))

    def _look(self, holds: str, now: float) -> FollowLook:
        try:
            return self._seen(holds, now)
        except MachineFault as error:
            if not self._repository.mend():
                raise
            raise MachineFault(f"the copy of {self._repository.words} was damaged, and is made anew") from error

    def _seen(self, holds: str, now: float) -> FollowLook:
        keys = [one for one in self.choice.read_keys() if one.holds(now)]
        repository = self._repository
        commit = repository.fetch()
        kinship = repository.kinship(holds, commit)
        found = verify_commit(repository.git, repository.path, commit, keys)
        words = repository.about(commit)
        changed = repository.changed(holds if holds and repository.has(holds) else "", commit)
        signed = f"signed by {found.signer}" if found.signer else found.verdict.value
        about = f"{commit[:SHORT]} of {words.author}, {signed}: {words.subject} ({changed.words})"
        return FollowLook(FollowedTip(commit, found.verdict, kinship, found.signer), about)

    def _attempt(self, commit: str) -> str:
        trees = FollowedTrees(self.choice, self.place)
        try:
            config = trees.written(commit, self._repository)
        except ConfigurationError as error:
            return str(error)
        why = self.trials.attempt(self.own, config, self.said.allow_network)
        if why:
            trees.remove(commit)
        return why
