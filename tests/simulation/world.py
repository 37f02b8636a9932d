"""One world: a metaserver, build servers honest and not, requesters, a mail server, and all that befalls them."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.domain.messages import ServerPaused, ServerResumed
from buildtool.errors import BuildToolError
from buildtool.protocol import Submit
from tests.simulation import projects
from tests.simulation.builders import Builder
from tests.simulation.clock import Life, VirtualTime, Wall
from tests.simulation.database import Rows
from tests.simulation.faults import Faults
from tests.simulation.hostile import Liar
from tests.simulation.invariants import Spoilt, Watch, path_of
from tests.simulation.machine import Machine
from tests.simulation.mailserver import Letter, MailServer
from tests.simulation.metaserver import Metaserver
from tests.simulation.network import Network
from tests.simulation.projects import ARCHES, COLOURS, REVISIONS, Resolver, Times, Truths
from tests.simulation.requesters import Requester
from tests.simulation.trace import Trace

EPOCH = 1_700_000_000.0
PATIENCE = 2 * 86_400.0
STEPS_MOST = 400_000


@frozen
class Report:
    """What came of one seed."""

    seed: int
    digest: str
    hours: float
    steps: int
    violations: tuple[str, ...]
    faults: dict[str, int]


@define(eq=False)
class _Armed:
    """A crash that comes after so many more steps of its victim."""

    life: Life
    steps: int
    act: Callable[[], None]


@implementer(ILogObserver)
@frozen
class _Observer:
    see: Callable[[LogEvent], None]

    def __call__(self, event: LogEvent) -> None:
        self.see(event)


class World:
    """Everything, made from a seed. ``run`` lets it happen."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        rng = self.rng = random.Random(seed)  # noqa: S311 - nothing here is secret
        self.seed = seed
        self.time = VirtualTime()
        self.trace = Trace(self.time, keep=keep_trace)
        self.faults = Faults(rng)
        self.wall = Wall(self.time, EPOCH)
        self.key = rng.randbytes(32)
        times = Times(
            request_ttl=rng.choice((1_800.0, 7_200.0, 20_000.0)),
            failure_ttl=rng.choice((300.0, 20_000.0)),
            lease=rng.choice((60.0, 600.0)),
        )
        self.settings = projects.settings(times)
        self.lease = times.lease
        self.keepalive = times.lease / 4
        self.truths = Truths(rng)
        self.rows = Rows()
        self.network = Network(self.time, rng, self.trace, self.faults)
        for name in ("meta", "transfer"):
            self.network.node(name)
        self.machine = Machine("meta", self.faults, lambda: self.crash_metaserver(silently=True))
        self.watch = Watch(self.trace, self.settings.projects[0], self.truths, self._file_of, self.lease)
        self.mail = MailServer(self.faults, self.trace, self._mail_arrived)
        self.resolver = Resolver(lambda: self.time.pause(0.05), lambda: self.faults.on and rng.random() < 0.02)
        self.metaserver: Metaserver | None = None
        self.builders = [self._builder(number) for number in range(rng.randint(1, 4))]
        self.watch.honest = {builder.name for builder in self.builders}
        self.liars = [Liar(self, f"liar{number}") for number in range(rng.choice((0, 0, 1, 2)))]
        self.requesters = [
            Requester(self, name, f"{name}@example.org")
            for name in ("ann", "bob", "cyd", "unknown")[: rng.randint(2, 4)]
        ]
        self.steps = 0
        self.lives = 0
        self.active_until = rng.uniform(1_200.0, 3 * 3_600.0)
        self._armed: list[_Armed] = []
        self._kept: list[object] = []

    def keep(self, *things: object) -> None:
        """Keep what a crash leaves behind from being tidied up."""
        self._kept.extend(things)

    def _builder(self, number: int) -> Builder:
        rng = self.rng
        arches = ARCHES if rng.random() < 0.3 else (rng.choice((ARCHES[0], ARCHES[0], ARCHES[1])),)
        name = f"bs{number}"
        machine = Machine(name, self.faults)
        builder = Builder(
            world=self,
            name=name,
            arches=arches,
            memory=rng.choice((1024, 4096)),
            max_builds=rng.choice((1, 1, 2)),
            slowness=rng.choice((0.5, 1.0, 3.0)),
            trouble=rng.choice((0.0, 0.1, 0.5)),
            bulk=rng.choice((1, 5, 60)),
            maxdelay=rng.choice((60.0, 300.0)),
            keepalive=self.keepalive,
            machine=machine,
        )
        machine.failed = lambda: self._builder_down(builder, silently=True)
        return builder

    def _mail_arrived(self, letter: Letter) -> None:
        self.watch.arrived(letter)
        self.tempt("meta")

    def committed(self, transaction: tuple[Any, ...]) -> None:
        self.watch.committed(transaction)
        if transaction[0] == "_commit" and self.rng.random() < 0.1:
            self.tempt("meta")

    def _file_of(self, digest: str) -> bytes | None:
        return self.machine.read(path_of(self.machine.directory, digest))

    # --- the metaserver ---------------------------------------------------------------------------------------

    def start_metaserver(self) -> None:
        """Begin a life of the metaserver; one that cannot start is started again, as a service manager would."""
        if self.metaserver is not None and not self.metaserver.life.ended:
            return
        self.lives += 1
        life = Life(self.time, f"meta.{self.lives}")
        self.watch.started_at = self.time.now
        metaserver = self.metaserver = Metaserver(self, self.machine, life)
        self.keep(metaserver)
        self.trace.say("meta", f"starts, life {self.lives}")

        def failed(failure: Any) -> None:
            failure.trap(BuildToolError)
            self.trace.say("meta", f"does not start: {failure.getErrorMessage()}")
            life.ended = True
            self.time.call(5.0, self.start_metaserver)

        starting = Deferred.fromCoroutine(metaserver.start()).addErrback(failed)
        starting.addErrback(lambda failure: self.watch.wrong(f"the metaserver does not start: {failure}"))
        self.keep(starting)

    def crash_metaserver(self, *, silently: bool = False) -> None:
        """End the metaserver at once, in the middle of whatever it is."""
        metaserver = self.metaserver
        if metaserver is None or metaserver.life.ended:
            return
        self.faults.count("metaserver_crash")
        self.trace.say("meta", f"crashes{', power and all' if silently else ''}")
        metaserver.life.ended = True
        self.machine.fails_soon = False
        if silently:
            self.machine.power_cut()
        else:
            self.machine.killed()
        self.network.machine_gone(metaserver.life, silently=silently)
        self.time.call(self.rng.choice((0.5, 20.0, 300.0)) * (0.5 + self.rng.random()), self.start_metaserver)

    # --- what befalls them --------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """Decide when which blow falls."""
        rng = self.rng
        hours = self.active_until / 3_600.0
        blows: tuple[tuple[Callable[[], None], float], ...] = (
            (self._submission, 8.0 * rng.choice((0.5, 1.0, 2.0))),
            (self._crash_metaserver_soon, rng.choice((0.0, 1.0, 3.0))),
            (self._crash_builder, rng.choice((0.0, 1.0, 2.0))),
            (self._cut, rng.choice((0.0, 1.0, 3.0))),
            (self._go_silent, rng.choice((0.0, 1.0, 2.0))),
            (self._part, rng.choice((0.0, 1.0, 2.0))),
            (self._herd, rng.choice((0.0, 0.5, 1.5))),
            (self._set_clock, rng.choice((0.0, 0.5, 1.5))),
            (self._pause_server, rng.choice((0.0, 0.5, 1.0))),
            (self._spoil_artifact, rng.choice((0.0, 1.0))),
            (self._move_head, 1.0),
            (self._stop_builder, rng.choice((0.0, 0.5))),
        )
        for blow, rate in blows:
            for _ in range(min(40, int(rate * hours + rng.random()))):
                self.time.call(rng.uniform(1.0, self.active_until), partial(self._strike, blow))

    def _strike(self, blow: Callable[[], None]) -> None:
        if self.faults.on:
            blow()

    def _submission(self) -> None:
        rng = self.rng
        count = rng.choice((1, 1, 1, 1, 2, 3))
        requester = rng.choice(self.requesters)
        requester.ask(tuple(self._submit(requester) for _ in range(count)))
        if rng.random() < 0.3:
            self._submission()

    def _submit(self, requester: Requester) -> Submit:
        rng = self.rng
        ref = rng.choice(("", "main", *REVISIONS[:3]))
        system: dict[str, Any] = {}
        if rng.random() < 0.2:
            system["arch"] = rng.choice(ARCHES)
        if rng.random() < 0.2:
            system["memory"] = rng.choice((512, 2048, 8192))
        return Submit(
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
        )

    def _crash_metaserver_soon(self) -> None:
        """Crash it in one of its next steps, most of them in the middle of something."""
        metaserver = self.metaserver
        if metaserver is None or metaserver.life.ended:
            return
        if self.rng.random() < 0.7:
            self._submission()
        if self.rng.random() < 0.3:
            self.machine.fails_soon = True  # the power goes between two operations of its disk
            return
        silently = self.rng.random() < 0.3
        act = lambda: self.crash_metaserver(silently=silently)  # noqa: E731
        self._armed.append(_Armed(metaserver.life, self.rng.randint(1, 80), act))

    def _crash_builder(self) -> None:
        builder = self.rng.choice(self.builders)
        if not builder.running:
            return
        if self.rng.random() < 0.3:
            builder.machine.fails_soon = True
            return
        silently = self.rng.random() < 0.3
        self._armed.append(
            _Armed(builder.life, self.rng.randint(1, 60), lambda: self._builder_down(builder, silently=silently))
        )

    def tempt(self, name: str) -> None:
        """Something has just been done that a crash in the next few steps must not undo, nor do twice."""
        if not self.faults.happens("crash_here", count=False):
            return
        metaserver = self.metaserver
        if name == "meta" and metaserver is not None:
            self._armed.append(_Armed(metaserver.life, self.rng.randint(1, 5), self.crash_metaserver))
        for builder in self.builders:
            if builder.name == name and builder.running:
                act = partial(self._builder_down, builder, silently=False)
                self._armed.append(_Armed(builder.life, self.rng.randint(1, 14), act))

    def _builder_down(self, builder: Builder, *, silently: bool) -> None:
        if builder.running:
            self.faults.count("server_crash")
            builder.machine.fails_soon = False
            builder.crash(silently=silently)
            absent = self.rng.choice((1.0, 30.0, 900.0)) * (0.5 + self.rng.random())
            self.time.call(absent, lambda: self._start(builder))

    def _start(self, builder: Builder) -> None:
        if not builder.running:
            builder.start()

    def _stop_builder(self) -> None:
        builder = self.rng.choice(self.builders)
        if builder.running:
            builder.stop(drains=self.rng.random() < 0.3)
            self.time.call(self.rng.uniform(30.0, 600.0), lambda: self._start(builder))

    def _cut(self) -> None:
        if self.network.wires:
            self.faults.count("loss")
            wire = self.rng.choice(self.network.wires)
            self.trace.say("network", f"{wire.near.here} loses its connection")
            wire.cut()

    def _go_silent(self) -> None:
        wires = [wire for wire in self.network.wires if not wire.silent]
        if wires:
            self.faults.count("half_open")
            wire = self.rng.choice(wires)
            self.trace.say("network", f"the connection of {wire.near.here} is half-open")
            wire.go_silent()

    def _part(self) -> None:
        self.faults.count("partition")
        name = self.rng.choice([*(one.name for one in self.builders), *(one.name for one in self.requesters)])
        seconds = self.rng.choice((10.0, 100.0, 600.0)) * (0.5 + self.rng.random())
        busy = [one.name for one in self.builders if one.running and one.server.running]
        if busy and self.rng.random() < 0.5:
            name, seconds = self.rng.choice(busy), self.lease * self.rng.uniform(1.2, 4.0)
        self.trace.say("network", f"{name} and the metaserver are parted for {seconds:.0f} s")
        self.network.part(name, "meta", seconds)

    def _herd(self) -> None:
        """All connections break at once, and everybody comes back, with questions, in the same moment."""
        self.faults.count("herd")
        self.trace.say("network", "everybody loses the connection")
        for wire in list(self.network.wires):
            wire.cut()
        for _ in range(6):
            self._submission()

    def _set_clock(self) -> None:
        """Somebody sets the metaserver's clock."""
        self.faults.count("clock_step")
        seconds = self.rng.choice((-3_600.0, 3_600.0, 40.0, -40.0, 90_000.0))
        self.trace.say("meta", f"its clock is set by {seconds:+.0f} s")
        self.wall.offset += seconds

    def _pause_server(self) -> None:
        """The operator lets a server take nothing, and lets it take builds again later."""
        name = self.rng.choice(self.builders).name
        if name in self.watch.servers and not self.watch.paused.get(name):
            self._operate(ServerPaused(name, "by hand"), name, "by hand")
            self.time.call(self.rng.uniform(60.0, 2_000.0), lambda: self._resume(name))

    def _resume(self, name: str) -> None:
        self._operate(ServerResumed(name), name, "")

    def _operate(self, event: ServerPaused | ServerResumed, name: str, paused: str) -> None:
        """Let the operator do something to a server, again until it is known to be done."""
        metaserver, perhaps = self.metaserver, self.watch.perhaps_paused
        if metaserver is None or not metaserver.serving or metaserver.life.ended:
            self.time.call(60.0, lambda: self._operate(event, name, paused))
            return
        perhaps[name] = {*perhaps.get(name, {self.watch.paused.get(name, "")}), paused}
        known: list[object] = []

        def done(result: object) -> None:
            known.append(result)
            if not isinstance(result, Failure):
                self.watch.paused[name] = paused
                perhaps.pop(name, None)

        def look() -> None:
            if not known or isinstance(known[0], Failure):
                self._operate(event, name, paused)

        self.time.call(60.0, look)
        self.keep(Deferred.fromCoroutine(metaserver.broker.send(event)).addBoth(done))

    def _spoil_artifact(self) -> None:
        """A file of the cache is deleted, or overwritten, or its disk turns a bit over, which nobody can see."""
        watch, spoilt = self.watch, self.watch.spoilt
        here = [row for row in watch.artifacts.values() if not row.withdrawn and row.digest not in spoilt]
        if not here:
            return
        digest = self.rng.choice(here).digest
        path, how = path_of(self.machine.directory, digest), self.rng.choice(tuple(Spoilt))
        data = self.machine.read(path)
        if data is None:
            return
        self.trace.say("meta", f"the file of {digest[:12]} is {how.value}")
        spoilt[digest] = (how, self.time.now)
        if how is Spoilt.DELETED:
            self.machine.lose(path)
        elif how is Spoilt.OVERWRITTEN:
            self.machine.disk.put(path, data[::-1])
        else:
            self.machine.disk.damage(path)

    def _move_head(self) -> None:
        self.resolver.head = min(self.resolver.head + 1, len(REVISIONS) - 1)

    # --- running ------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Let everything happen, let it come to rest, and say how it was."""
        observer = _Observer(self._observe)
        globalLogPublisher.addObserver(observer)
        try:
            self._run()
        finally:
            globalLogPublisher.removeObserver(observer)
        hours = self.time.now / 3_600.0
        counts = dict(sorted(self.faults.counts.items()))
        return Report(self.seed, self.trace.digest(), hours, self.steps, tuple(self.watch.violations), counts)

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical or "log_failure" in event:
            failure = event.get("log_failure")
            text = failure.getTraceback() if failure is not None else event.get("log_format")
            self.watch.wrong(f"a defect was logged: {event.get('log_namespace')} {text}")

    def _run(self) -> None:
        self.faults.on = True
        self._plan()
        self.start_metaserver()
        for builder in self.builders:
            self.time.call(self.rng.uniform(0.0, 30.0), partial(self._start, builder))
        for liar in self.liars:
            self.time.call(self.rng.uniform(0.0, 300.0), liar.start)
        self.time.call(self.active_until, self._calm)
        deadline = self.active_until + self.settings.projects[0].request_ttl + PATIENCE
        while not self.watch.violations:
            due = self.time.next_time()
            if due is None or due > deadline or self.steps > STEPS_MOST:
                break
            self._step()
            if not self.faults.on and self.steps % 50 == 0 and self._rests():
                break
        if not self.watch.violations:
            self._check_rest()

    def _step(self) -> None:
        armed = self._armed
        life = self.time.next_life() if armed else None
        if self.time.step():
            self.steps += 1
        for one in [one for one in armed if one.life is life or one.life.ended]:
            one.steps -= 1
            if one.steps <= 0 or one.life.ended:
                armed.remove(one)
                if not one.life.ended:
                    one.act()

    def _calm(self) -> None:
        """From now on nothing goes wrong any more."""
        self.trace.say("world", "faults stop")
        self.faults.stop()
        self.network.heal()
        self._armed.clear()
        for machine in (self.machine, *(builder.machine for builder in self.builders)):
            machine.fails_soon = False
        for liar in self.liars:
            liar.stop()
        if self.metaserver is None or self.metaserver.life.ended:
            self.start_metaserver()
        for builder in self.builders:
            if not builder.running:
                self._start(builder)

    def _rests(self) -> bool:
        if any(requester.busy for requester in self.requesters) or self.watch.open():
            return False
        return not self._unsent() and all(builder.running and builder.idle for builder in self.builders)

    def _unsent(self) -> dict[str, str]:
        found = self.rows.ask("SELECT key, last_error FROM outbox WHERE sent_at IS NULL AND refused_at IS NULL")
        return dict(found)

    def _check_rest(self) -> None:
        refused = {key for (key,) in self.rows.ask("SELECT key FROM outbox WHERE refused_at IS NOT NULL")}
        self.watch.check_told(self._unsent(), refused)
        self.watch.compare(self.rows.ask)
        for builder in self.builders:
            if not builder.running or not builder.idle:
                self.watch.wrong(f"at rest {builder.name} still builds, or delivers, or does not run")
        for requester in self.requesters:
            if requester.busy:
                self.watch.wrong(f"at rest {requester.name} still waits for an answer")
