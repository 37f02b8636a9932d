"""What befalls a world, and when: questions, crashes, cut wires, clocks, the operator, and files that are spoilt."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.errors import BuildToolError
from buildtool.protocol.messages import Submit
from buildtool.scheduling.events import BuildAborted, ServerPaused, ServerResumed
from tests.simulation.clock import Armed
from tests.simulation.ledger import Spoilt, path_of
from tests.simulation.origin import ORDER
from tests.simulation.projects import ARCHES, COLOURS, REVISIONS
from tests.simulation.requesters import Requester

if TYPE_CHECKING:
    from tests.simulation.world import World

NICE = (0, 0, 0, 0, 0, 2, 7, -5)
"""How nice requests are; who is no operator may not go below 0, and tries it."""

CLOCK_SET = (0.0, 0.5, 1.5)
"""How often an hour the metaserver's clock is set, one of these in a world."""

CLOCK_STEPS = (-3_600.0, 3_600.0, 40.0, -40.0, 90_000.0)
"""By how many seconds."""


@define(eq=False)
class Blows:
    """Everything that goes wrong by itself, drawn from the world's seed. ``plan`` decides when which blow falls."""

    world: World

    def plan(self) -> None:
        """Decide when which blow falls."""
        rng = self.world.rng
        hours = self.world.active_until / 3_600.0
        blows: tuple[tuple[Callable[[], None], float], ...] = (
            (self._submission, 8.0 * rng.choice((0.5, 1.0, 2.0))),
            (self._crash_metaserver_soon, rng.choice((0.0, 1.0, 3.0))),
            (self._crash_builder, rng.choice((0.0, 1.0, 2.0))),
            (self._cut, rng.choice((0.0, 1.0, 3.0))),
            (self._go_silent, rng.choice((0.0, 1.0, 2.0))),
            (self._part, rng.choice((0.0, 1.0, 2.0))),
            (self._freeze, rng.choice((0.0, 0.5, 1.5))),
            (self._herd, rng.choice((0.0, 0.5, 1.5))),
            (self.world.second_metaserver, rng.choice((0.0, 0.0, 0.5))),
            (self._set_clock, rng.choice(CLOCK_SET)),
            (self._pause_server, rng.choice((0.0, 0.5, 1.0))),
            (self._abort_build, rng.choice((0.0, 0.5))),
            (self._spoil_artifact, rng.choice((0.0, 1.0))),
            (self.world.move_ref, 2.0),
            (self._stop_builder, rng.choice((0.0, 0.5))),
        )
        for blow, rate in blows:
            for _ in range(min(40, int(rate * hours + rng.random()))):
                self.world.time.call(rng.uniform(1.0, self.world.active_until), partial(self._strike, blow))
        if self.world.keyed:
            self._plan_keys(hours)

    def _plan_keys(self, hours: float) -> None:
        rng = self.world.key_rng
        for blow, rate in ((self._revoke, rng.choice((0.0, 1.0, 3.0))), (self._reinstall, rng.choice((0.0, 0.5, 1.5)))):
            for _ in range(int(rate * hours + rng.random())):
                self.world.time.call(rng.uniform(1.0, self.world.active_until), partial(self._strike, blow))

    def _strike(self, blow: Callable[[], None]) -> None:
        if self.world.faults.on:
            blow()

    def _submission(self) -> None:
        rng = self.world.rng
        count = rng.choice((1, 1, 1, 1, 2, 3))
        requester = rng.choice(self.world.requesters)
        requester.ask(tuple(self.submission(requester, rng) for _ in range(count)))
        if rng.random() < 0.3:
            self._submission()

    def submission(self, requester: Requester, rng: random.Random) -> Submit:
        """Return something that somebody could ask for."""
        ref = self.world.strangers.ref(rng.choice(("", "main", "release", "topic", *REVISIONS[:3])))
        system: dict[str, Any] = {}
        if rng.random() < 0.2:
            system["arch"] = rng.choice(ARCHES)
        if rng.random() < 0.2:
            system["memory"] = rng.choice((512, 2048, 8192))
        asked = Submit(
            client_id=f"{rng.getrandbits(128):032x}",
            project="paint",
            email=requester.email,
            source="",
            revision=ref,
            revrange=rng.choice(("", "", "", "1", "2")),
            compile={"colour": rng.choice(COLOURS)} if rng.random() < 0.7 else {},
            system=system,
            local={"os": "linux", "arch": "x86_64"},
            force=rng.random() < 0.05,
            sandbox=self.world.sandboxes.wish(),
        )
        supersede = ref not in ORDER and int(asked.client_id[2:4], 16) % 2 == 0
        asked = evolve(asked, nice=NICE[int(asked.client_id[:2], 16) % len(NICE)], supersede=supersede)
        return self.world.sandboxes.asked(self.world.needs.asked(asked))

    def _crash_metaserver_soon(self) -> None:
        """Crash it in one of its next steps, most of them in the middle of something."""
        metaserver = self.world.metaserver
        if metaserver is None or metaserver.life.ended:
            return
        if self.world.rng.random() < 0.7:
            self._submission()
        if self.world.rng.random() < 0.3:
            self.world.machine.fails_soon = True  # the power goes between two operations of its disk
            return
        silently = self.world.rng.random() < 0.3
        act = lambda: self.world.crash_metaserver(silently=silently)  # noqa: E731
        self.world.armed.append(Armed(metaserver.life, self.world.rng.randint(1, 80), act))

    def _crash_builder(self) -> None:
        builder = self.world.rng.choice(self.world.builders)
        if not builder.running:
            return
        if self.world.rng.random() < 0.3:
            builder.machine.fails_soon = True
            return
        silently = self.world.rng.random() < 0.3
        self.world.armed.append(
            Armed(
                builder.life, self.world.rng.randint(1, 60), lambda: self.world.builder_down(builder, silently=silently)
            )
        )

    def _stop_builder(self) -> None:
        builder = self.world.rng.choice(self.world.builders)
        if builder.running:
            builder.stop(drains=self.world.rng.random() < 0.3)

    def _cut(self) -> None:
        if self.world.network.wires:
            self.world.faults.count("loss")
            wire = self.world.rng.choice(self.world.network.wires)
            self.world.trace.say("network", f"{wire.near.here} loses its connection")
            wire.cut()

    def _go_silent(self) -> None:
        wires = [wire for wire in self.world.network.wires if not wire.silent]
        if wires:
            self.world.faults.count("half_open")
            wire = self.world.rng.choice(wires)
            self.world.trace.say("network", f"the connection of {wire.near.here} is half-open")
            wire.go_silent(for_ever=self.world.rng.random() < 0.3)

    def _freeze(self) -> None:
        """A program does nothing for a while, though its system does: SIGSTOP, or a machine that swaps."""
        lives = [builder.life for builder in self.world.builders if builder.running]
        if self.world.metaserver is not None:
            lives.append(self.world.metaserver.life)
        running = [life for life in lives if not life.ended]
        if running:
            life = self.world.rng.choice(running)
            seconds = self.world.rng.choice((3.0, 60.0, 400.0)) * (0.5 + self.world.rng.random())
            self.world.faults.count("freeze")
            self.world.trace.say("world", f"{life.name} is frozen for {seconds:.0f} s")
            life.frozen_until = max(life.frozen_until, self.world.time.now + seconds)
            if self.world.metaserver is not None and life is self.world.metaserver.life:
                self.world.trust.thawed_at = life.frozen_until
                since, until = self.world.watch.stood_still
                self.world.watch.stood_still = (since if until > self.world.time.now else self.world.time.now,
                                                life.frozen_until)  # fmt: skip

    def _part(self) -> None:
        self.world.faults.count("partition")
        name = self.world.rng.choice(
            [*(one.name for one in self.world.builders), *(one.name for one in self.world.requesters)]
        )
        seconds = self.world.rng.choice((10.0, 100.0, 600.0)) * (0.5 + self.world.rng.random())
        busy = [one.name for one in self.world.builders if one.running and one.server.running]
        if busy and self.world.rng.random() < 0.5:
            name, seconds = self.world.rng.choice(busy), self.world.lease * self.world.rng.uniform(1.2, 4.0)
        self.world.trace.say("network", f"{name} and the metaserver are parted for {seconds:.0f} s")
        self.world.network.part(name, "meta", seconds)

    def _herd(self) -> None:
        """All connections break at once, and everybody comes back, with questions, in the same moment."""
        self.world.faults.count("herd")
        self.world.trace.say("network", "everybody loses the connection")
        for wire in list(self.world.network.wires):
            wire.cut()
        for _ in range(6):
            self._submission()

    def _set_clock(self) -> None:
        """Somebody sets the metaserver's clock."""
        self.world.faults.count("clock_step")
        seconds = self.world.rng.choice(CLOCK_STEPS)
        self.world.trace.say("meta", f"its clock is set by {seconds:+.0f} s")
        self.world.wall.offset += seconds
        self.world.trust.clock_set_at = self.world.time.now
        self.world.watch.declines.clock_set()

    def _pause_server(self) -> None:
        """The operator lets a server take nothing, and lets it take builds again later."""
        name = self.world.rng.choice(self.world.builders).name
        if name in self.world.watch.servers and not self.world.watch.paused.get(name):
            self._operate(ServerPaused(name, "by hand"), name, "by hand")
            self.world.time.call(self.world.rng.uniform(60.0, 2_000.0), lambda: self.resume(name))

    def resume(self, name: str) -> None:
        """Let the operator have a server take builds again."""
        self._operate(ServerResumed(name), name, "")

    def _operate(self, event: ServerPaused | ServerResumed, name: str, paused: str) -> None:
        """Let the operator do something to a server, again until it is known to be done."""
        metaserver, watch = self.world.metaserver, self.world.watch
        if metaserver is None or not metaserver.serving or metaserver.life.ended:
            self.world.time.call(60.0, lambda: self._operate(event, name, paused))
            return
        asked = (metaserver.life, paused)
        watch.pausing(name, asked)
        known: list[object] = []

        def done(result: object) -> None:
            known.append(result)
            if not isinstance(result, Failure):
                watch.is_paused(name, asked)

        def look() -> None:
            if not known or isinstance(known[0], Failure):
                self._operate(event, name, paused)

        self.world.time.call(60.0, look)
        self.world.keep(Deferred.fromCoroutine(metaserver.broker.send(event)).addBoth(done))

    def _abort_build(self) -> None:
        """The operator ends a build, once; whoever waits for it is mailed."""
        metaserver, watch = self.world.metaserver, self.world.watch
        if metaserver is None or not metaserver.serving or metaserver.life.ended or not watch.open_keys:
            return
        build_id = self.world.rng.choice(list(watch.open_keys.values()))
        watch.aborted.add(build_id)
        self.world.trace.say("operator", f"aborts build {build_id}")
        act = Deferred.fromCoroutine(metaserver.broker.send(BuildAborted(build_id, "by hand")))
        self.world.keep(act.addErrback(lambda failure: failure.trap(BuildToolError)))

    def _spoil_artifact(self) -> None:
        """A file of the cache is deleted, or overwritten, or its disk turns a bit over, which nobody can see."""
        watch, spoilt = self.world.watch, self.world.watch.spoilt
        here = [row for row in watch.artifacts.values() if not row.withdrawn and row.digest not in spoilt]
        if not here:
            return
        digest = self.world.rng.choice(here).digest
        path, how = path_of(self.world.machine.directory, digest), self.world.rng.choice(tuple(Spoilt))
        data = self.world.machine.read(path)
        if data is None:
            return
        self.world.trace.say("meta", f"the file of {digest[:12]} is {how.value}")
        spoilt[digest] = (how, self.world.time.now)
        if how is Spoilt.DELETED:
            self.world.machine.lose(path)
        elif how is Spoilt.OVERWRITTEN:
            self.world.machine.disk.put(path, data[::-1])
        else:
            self.world.machine.disk.damage(path)

    def _revoke(self) -> None:
        """The operator throws somebody out; they come back when they are invited anew."""
        self.world.faults.count("revocation")
        self.world.office.revoke(self.world.key_rng.choice(self.world.parties).name)

    def _reinstall(self) -> None:
        """A machine is made anew, and its key is gone."""
        world = self.world
        builder = world.key_rng.choice(world.builders)
        party = builder.party
        if party is None or party.own is None or not builder.running:
            return
        world.faults.count("reinstall")
        world.intruder_finds(party.own.identified.certificate)  # type: ignore[arg-type] # one of ours
        world.trace.say(builder.name, "is made anew")
        party.line = ""
        world.builder_down(builder, silently=False)
        party.wipe()
