"""What those have in common who want in where they do not belong: a life of their own, which ends with the troubles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.spread import pb

from buildtool.adapters.control.client import Session
from buildtool.protocol.messages import Register, Welcome
from tests.simulation import projects
from tests.simulation.clock import Life

if TYPE_CHECKING:
    from tests.simulation.world import World


@define(eq=False)
class Outsider(ABC):
    """Somebody who tries again and again, in ``_live``; ``life`` is that of their program, and has their name."""

    world: World
    life: Life

    def start(self) -> None:
        """Begin."""
        self.world.keep(Deferred.fromCoroutine(self._live()).addErrback(self._wrong))

    def stop(self) -> None:
        """Be gone for good."""
        self.life.ended = True
        self.world.network.machine_gone(self.life, silently=False)

    @abstractmethod
    async def _live(self) -> None:
        """Try again and again until the troubles end."""

    def _wrong(self, failure: Failure) -> None:
        self.world.watch.wrong(f"{self.life.name} met a defect: {failure}")

    async def _register(self, session: Session, name: str, instance: str, arches: Sequence[str]) -> Welcome:
        """Log in as a build server of that name. Raises BuildToolError."""
        project = self.world.settings.projects[0]
        capability = projects.capability(tuple(arches), memory=1_024, max_builds=1, of=project)
        return await session.call("register", Register(name, capability, (), instance), Welcome, pb.Referenceable())
