"""A forge in a simulated farm: it delivers what was pushed, once, late, twice or not at all; somebody forges more.

A witness has all that was delivered and how it was answered: what is signed is taken, once whatever happens, what is
not signed never, and what was taken is open until a look was made after it.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.settings import Settings
from buildtool.errors import BuildToolError
from buildtool.metaserver.hooking.receiving import HookReceiver
from buildtool.metaserver.triggering.triggers import Triggers
from buildtool.model.hooks.secrets import HookSecrets
from buildtool.model.metrics.counts import Counts
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.hooks import HookStore
from buildtool.protocol.hooks.messages import DeliverHook, HookAnswered, packed_body
from tests.simulation.clock import Armed
from tests.support.hooks import SECRET, body_of, from_gitea, from_github, push, small

if TYPE_CHECKING:
    from tests.simulation.metaserver import Metaserver
    from tests.simulation.world import World

MATTERS = 0.5
"""In how many of the worlds with triggers a forge delivers."""

ALONE = 0.4
"""In how many of these triggers look when something is delivered only."""

LOST, DOUBLED, FORGED = 0.25, 0.3, 0.3
KILLED = 0.15
"""How often the metaserver ends within a few steps after it answered."""

LATE = 600.0
"""Seconds that a delivery may take."""

AGAIN = 400.0
"""Seconds until something else happens at the forge, while triggers do not know what it has."""

PAGES = Principal(PrincipalRole.PAGES)


@define(eq=False)
class Forge:
    """The forge of one world, and the witness of its deliveries. ``behind`` returns whether a trigger misses a push."""

    world: World
    triggers: bool
    matter: bool = field(init=False)
    alone: bool = field(init=False)
    _rng: random.Random = field(init=False)
    _receiver: tuple[Metaserver, HookReceiver] | None = field(default=None, init=False)
    _signed: list[bytes] = field(factory=list, init=False)
    _taken: Counter[bytes] = field(factory=Counter, init=False)

    def __attrs_post_init__(self) -> None:
        self._rng = random.Random(f"{self.world.seed} hooks")
        self.matter = self.triggers and self._rng.random() < MATTERS
        self.alone = self.matter and self._rng.random() < ALONE

    def of(self, settings: Settings) -> Settings:
        """Return the settings of a world, whose project may take deliveries."""
        if not self.matter:
            return settings
        (project,) = settings.projects
        return evolve(settings, hook_secrets=HookSecrets({}, {project.name: (SECRET, "the one that comes next")}))

    async def start(self, metaserver: Metaserver, store: HookStore, triggers: Triggers) -> None:
        """Take deliveries in one life of the metaserver. Raises StorageUnavailable."""
        if self.matter:
            configuration = CurrentConfiguration(self.world.settings)
            found = HookReceiver(configuration, store, self.world.wall, Counts(), triggers.hint)
            await found.start()
            self._receiver = metaserver, found

    # --- what the forge does -----------------------------------------------------------------------------------

    def pushed(self) -> None:
        """Deliver what was pushed, as it comes."""
        if not self.matter:
            return
        body, rng = body_of(push(number=len(self._signed))), self._rng
        self._signed.append(body)
        if rng.random() >= LOST:
            self._later(body, signed=True)
        if rng.random() < DOUBLED:
            self._later(rng.choice(self._signed), signed=True)
        if rng.random() < FORGED:
            self._later(body_of(push(forged=rng.random())), signed=False)

    def goes_on(self) -> None:
        """Push elsewhere once troubles are over, as long as something that was delivered got lost and is missed."""
        if self.matter:
            self.world.time.call(AGAIN, self._another)

    def _another(self) -> None:
        if not self.world.faults.on and self.world.triggering.behind():
            body = body_of(push(number=len(self._signed)))
            self._signed.append(body)
            self._deliver(body, signed=True)
        self.goes_on()

    def _later(self, body: bytes, *, signed: bool) -> None:
        seconds = self._rng.choice([self._rng.uniform(0.0, 2.0), self._rng.uniform(0.0, LATE)])
        self.world.time.call(seconds, lambda: self._deliver(body, signed=signed))

    def _deliver(self, body: bytes, *, signed: bool) -> None:
        metaserver, receiver = self._receiver or (None, None)
        up = metaserver is not None and metaserver is self.world.metaserver and metaserver.serving
        if receiver is None or metaserver is None or not up or metaserver.life.ended or metaserver.life.frozen:
            return  # which the forge counts as failed, and leaves
        send, secret = self._rng.choice([from_github, from_gitea]), SECRET if signed else "made up by somebody"
        headers = small(send(body, "push", f"{self._rng.getrandbits(64):x}", secret))
        message = DeliverHook(self.world.settings.projects[0].name, headers, packed_body(body), len(body), by_tls=True)
        answering = Deferred.fromCoroutine(receiver.deliver(PAGES, message))
        answering.addCallbacks(lambda told: self._answered(body, told, signed=signed), _unanswered)

    def _answered(self, body: bytes, told: HookAnswered, *, signed: bool) -> None:
        if signed != (told.status == 202):
            self.world.watch.wrong(f"a delivery that is {'' if signed else 'not '}signed is answered {told}")
        if told.status == 202 and "before" not in told.words:
            self._taken[body] += 1
            if self._taken[body] > 1:
                self.world.watch.wrong("a delivery is taken twice")
            if self.world.metaserver is not None and self.world.faults.on and self._rng.random() < KILLED:
                armed = Armed(self.world.metaserver.life, self._rng.randint(1, 8), self.world.crash_metaserver)
                self.world.armed.append(armed)

    # --- the witness -------------------------------------------------------------------------------------------

    def opened(self) -> bool:
        """Return whether a delivery is open, after which no look was made."""
        return self.matter and bool(self.world.rows.ask("SELECT number FROM hook_deliveries WHERE open"))


def _unanswered(failure: Failure) -> None:
    failure.trap(BuildToolError)  # such as a disk that is full: the forge is told that it failed
