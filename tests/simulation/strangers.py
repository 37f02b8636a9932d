"""Strangers in a simulated farm: a pull request whose commits anybody asks for, until a branch is moved to one.

A witness knows which commits were on a branch at any time, and so of each request and each build whether it is for the
project's own or for a stranger's: nobody who asks for the former may be given, wait for or be told what came of the
latter, and who asks for a stranger's is given nothing of another commit.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from buildtool.model.records import Artifact, Request, RequestState
from buildtool.model.trust.evidence import SourceTrust
from tests.simulation.origin import PULL
from tests.simulation.projects import STRANGE

if TYPE_CHECKING:
    from tests.simulation.world import World

MATTERS = 0.4
"""In how many worlds there is a pull request."""

ASKED = 0.4
"""How many of those who ask there ask for it."""

BETWEEN = (60.0, 900.0)
"""Seconds between two moves of the pull request, or of a branch to what it has."""


@define(eq=False)
class Strangers:
    """The pull request of one world, and the witness of what comes of it."""

    world: World
    matter: bool = field(init=False)
    _rng: random.Random = field(init=False)
    _own: dict[int, bool | None] = field(factory=dict, init=False)
    """Of each request whether it is for a commit of the project's own, None where that changed while it was asked."""

    _builds: dict[int, bool | None] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._rng = random.Random(f"{self.world.seed} strangers")
        self.matter = self._rng.random() < MATTERS

    def ref(self, usual: str) -> str:
        """Return what somebody asks for, where nothing strange is wanted as ``usual``."""
        if not self.matter or self._rng.random() > ASKED:
            return usual
        return self._rng.choice((PULL, PULL, "main", *STRANGE))

    def plan(self) -> None:
        """Let things be pushed now and then."""
        if self.matter:
            self.world.time.call(self._rng.uniform(*BETWEEN), self._push)

    def _push(self) -> None:
        if not self.world.faults.on:
            return
        name = self._rng.choice((PULL, "main", "topic"))
        self.world.origin.push(name, self._rng.choice(STRANGE) if name == PULL else self.world.origin.pull)
        self.plan()

    # --- the witness ----------------------------------------------------------------------------------------

    def committed(self, rows: Sequence[Any]) -> None:
        """These rows are committed, and the watch has taken them in."""
        if not self.matter:
            return
        requests = sorted((row for row in rows if type(row) is Request), key=lambda one: one.id)
        for row in requests:
            if row.id not in self._own:
                self._own[row.id] = self._is_own(row)
        for row in rows:
            if type(row) is Artifact:
                self._made(row)
        for row in requests:
            self._given(row)

    def _is_own(self, row: Request) -> bool | None:
        """Return whether a new request is for the project's own, and check that it is taken for that."""
        since, spec, said = self.world.refs.since(row.client_id), row.demand.spec, f"request {row.id}"
        if since is None:  # an operator has something built again
            return None
        found = self.world.origin.trusted(spec.revision, since)
        if len(found) > 1:
            return None
        (own,) = found
        taken = spec.policy.source is SourceTrust.TRUSTED
        self._check(own == taken, f"{said} is for {spec.revision[:4]}, which is {'on a' if own else 'on no'} branch")
        if own:
            near = [one for one in row.demand.acceptable if True not in self.world.origin.trusted(one, since)]
            self._check(not near, f"{said} accepts {[one[:4] for one in near]}, which are on no branch")
        return own

    def _of(self, build_id: int) -> bool | None:
        """Return whether a build is for the project's own, by the request that it was made for."""
        if build_id not in self._builds:
            build = self.world.watch.builds.get(build_id)
            self._builds[build_id] = self._own.get(build.place) if build is not None else None
        return self._builds[build_id]

    def _made(self, row: Artifact) -> None:
        own, taken = self._of(row.build_id), row.evidence.source is SourceTrust.TRUSTED
        self._check(own is None or own == taken, f"artifact {row.id} of build {row.build_id} is taken for another's")

    def _given(self, row: Request) -> None:
        own, what = self._own[row.id], f"request {row.id}"
        if own is None:
            return
        about = row.build_id if row.state in (RequestState.WAITING, RequestState.FAILED) else None
        if about is not None:
            theirs = self._of(about)
            self._check(not own or theirs is not False, f"{what} has build {about}, which is a stranger's")
        artifact = self.world.watch.artifacts.get(row.artifact_id or 0)
        if row.state is RequestState.SATISFIED and artifact is not None:
            theirs = self._of(artifact.build_id)
            self._check(not own or theirs is not False, f"{what} is given artifact {artifact.id}, a stranger's")
            same = artifact.shelf.revision == row.demand.spec.revision
            self._check(own or same, f"{what}, for a stranger's commit, is given another one's artifact")

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            self.world.watch.wrong(what)
