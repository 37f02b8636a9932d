"""One world: a metaserver, build servers honest and not, requesters, a mail server, and all that befalls them."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from buildtool.errors import BuildToolError
from buildtool.model.farm.weights import EVEN, Weights
from buildtool.model.principal import PrincipalRole
from tests.simulation import projects, sandboxes
from tests.simulation.blows import Blows
from tests.simulation.builders import Builder
from tests.simulation.clock import Armed, Life, VirtualTime, Wall
from tests.simulation.configuring import Configuring
from tests.simulation.database import Rows
from tests.simulation.decisions import watched
from tests.simulation.downtimes import Downtimes
from tests.simulation.fairness import Fairness
from tests.simulation.faults import Faults
from tests.simulation.fetching import Fetching
from tests.simulation.finding import PastSeen, wrong_counts, wrong_hours, wrong_searches
from tests.simulation.front import Front
from tests.simulation.hostile import Liar
from tests.simulation.intruders import Intruder
from tests.simulation.invariants import Watch
from tests.simulation.keeping import Retention
from tests.simulation.keys import Certificate, Keys
from tests.simulation.ledger import path_of
from tests.simulation.limits import Limits
from tests.simulation.machine import Machine
from tests.simulation.mailserver import Letter, MailServer
from tests.simulation.meddlers import Meddler, meddlers
from tests.simulation.metaserver import Metaserver
from tests.simulation.needs import Needs
from tests.simulation.network import Network
from tests.simulation.office import Office
from tests.simulation.origin import MovingOrigin, RefWitness, Resolver
from tests.simulation.overtaking import Overtaking
from tests.simulation.owners import Owners
from tests.simulation.ownership import Ownership
from tests.simulation.parties import Party
from tests.simulation.projects import ARCHES, Times, Truths
from tests.simulation.raising import Raising
from tests.simulation.requesters import Requester
from tests.simulation.returning import Returning, ReturnWitness
from tests.simulation.sandboxes import Sandboxes
from tests.simulation.shares import Shares
from tests.simulation.strangers import Strangers
from tests.simulation.telling import Telling
from tests.simulation.trace import Trace
from tests.simulation.triggering import Triggering
from tests.simulation.trust import Trust
from tests.simulation.twins import Twin
from tests.simulation.visitors import Pages, Visitor, visitors
from tests.simulation.visits import Visits
from tests.simulation.waits import arches_of, believed_lengths

EPOCH = 1_700_000_000.0
PATIENCE = 2 * 86_400.0
STEPS_MOST = 400_000
DAY = 86_400.0
LOOKED_AT = 400
"""After so many steps it is looked what the farm says while things go wrong."""

INTRUDERS = 0.8
"""In how many worlds with keys somebody means harm."""

LIMITED = 0.5
"""In how many worlds with keys nobody may ask for as much as they like."""

RESTORES = 0.3
"""How many starts of the metaserver are those of a restored backup."""

TWINS = 0.3
"""How many machines of all have another one that wants their name."""


@frozen
class Report:
    """What came of one seed."""

    seed: int
    digest: str
    hours: float
    steps: int
    violations: tuple[str, ...]
    faults: dict[str, int]


@implementer(ILogObserver)
@frozen
class _Observer:
    see: Callable[[LogEvent], None]

    def __call__(self, event: LogEvent) -> None:
        self.see(event)


class World:
    """Everything, made from a seed. ``run`` lets it happen."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        rng = self.rng = random.Random(seed)
        self.seed = seed
        self.time = VirtualTime()
        self.trace = Trace(self.time, keep=keep_trace)
        self.faults = Faults(rng)
        self.wall = Wall(self.time, EPOCH)
        self.owners = Owners(self, seed)
        self.machines_wall = Wall(self.time, EPOCH)
        self.downtimes = Downtimes(self, EPOCH)
        self.key = rng.randbytes(32)
        self.limits, self.fetching = Limits(seed), Fetching(seed)
        times = Times(
            request_ttl=rng.choice((1_800.0, 7_200.0, 20_000.0)),
            failure_ttl=rng.choice((300.0, 20_000.0)),
            lease=rng.choice((60.0, 600.0)),
            mails=rng.choice((1, 3, 1_000_000)),
            time_limit=self.limits.time_limit,
        )
        levels = sandboxes.matters(seed)
        demanded = sandboxes.of_project(levels)
        self.triggering, self.strangers = Triggering(self), Strangers(self)
        self.retention, self.telling = Retention(self), Telling(self)
        self.settings = self.telling.of(self.triggering.of(projects.settings(times, demanded, self.fetching.fetched)))
        self.lease = times.lease
        self.keepalive = times.lease / 4
        self.truths = Truths(rng)
        self.rows = Rows()
        self.past = PastSeen()
        self.network = Network(self.time, rng, self.trace, self.faults)
        for name in ("meta", "transfer"):
            self.network.node(name)
        self.machine = Machine("meta", self.faults, lambda: self.crash_metaserver(silently=True))
        self.watch = Watch(self.trace, self.settings.projects[0], self.truths, self._file_of, self.lease)
        self.limits.watch, self.fetching.wrong = self.watch, self.watch.wrong
        self.sandboxes = Sandboxes(levels, demanded, self.watch, self.faults)
        self.needs = Needs(seed, self.watch)
        self.mail = MailServer(self.faults, self.trace, self._mail_arrived)
        self.returning = Returning(self, ReturnWitness(self.watch))
        self.origin = MovingOrigin(random.Random(f"{seed} origin"), lambda: self.time.now)
        self.refs = RefWitness(self.origin, self.watch.wrong)
        self.metaserver: Metaserver | None = None
        self.front = Front(self)
        self.blows = Blows(self)
        self._identities(seed)
        self.builders = [self._builder(number) for number in range(rng.randint(1, 4))]
        self.watch.honest = {builder.name for builder in self.builders}
        self.liars = [Liar(self, f"liar{number}") for number in range(rng.choice((0, 0, 1, 2)))]
        self.twins = [Twin.of(self, builder) for builder in self.builders if rng.random() < TWINS]
        self.requesters = [
            Requester(self, name, f"{name}@example.org")
            for name in ("ann", "bob", "cyd", "unknown")[: rng.randint(2, 4)]
        ]
        if self.keyed:
            self._invite_all()
        self.steps = 0
        self.lives = 0
        self.active_until = rng.uniform(1_200.0, 3 * 3_600.0)
        self.armed: list[Armed] = []
        self._kept: list[object] = []

    def _identities(self, seed: int) -> None:
        """Decide whether everybody needs a key here, as in three of four worlds, and how long what lasts."""
        rng = self.key_rng = random.Random(f"{seed} keys")
        self.keyed = seed % 4 != 0
        self.keys = Keys(seed)
        self.certificate_life = rng.choice((900.0, 7_200.0, 30 * DAY))
        rejoin_within = rng.choice((3_600.0, 400 * DAY, 400 * DAY))
        self.trust = Trust(self.watch.wrong, lambda: self.time.now, self.wall.wall, rejoin_within)
        self.trust.opening = lambda: self.metaserver is None or not self.metaserver.serving
        self.office = Office(self)
        most = (rng.choice((3, 12)), rng.choice((2, 6))) if self.keyed and rng.random() < LIMITED else (None, None)
        self.shares = Shares(self.watch.wrong, *most)
        weights = Weights({"ann@example.org": 4.0}) if seed % 3 == 0 else EVEN
        self.fairness = Fairness(self.watch.wrong, weights, self.refs.superseding)
        self.overtaking = Overtaking(self.watch.wrong, weights, self.refs.superseding)
        self.lines: list[str] = []
        self.parties: list[Party] = []
        self.intruder: Intruder | None = None
        self.meddlers: list[Meddler] = []
        self.ownership = Ownership(self.watch, self.trust)
        self.visits = Visits(self.watch.wrong, self.trust)
        self.pages = Pages(self)
        self.visitors: list[Visitor] = []
        self.configuring = Configuring(self)

    def _invite_all(self) -> None:
        """Let everybody be somebody who has to be invited."""
        build_server, requester = PrincipalRole.BUILD_SERVER, PrincipalRole.REQUESTER
        owning = random.Random(f"{self.seed} owners")
        for builder in self.builders:
            owner = owning.choice(("", *(one.email for one in self.requesters)))
            builder.party = Party(self, builder.name, build_server, owner, builder.machine)
        for liar in self.liars:
            liar.party = Party(self, liar.name, build_server, "", Machine(liar.name, self.faults))
        for one in self.requesters:
            one.party = Party(self, one.name, requester, one.email, Machine(one.name, self.faults))
        servers, people = [one.party for one in self.builders], [one.party for one in self.requesters]
        found = (*servers, *(one.party for one in self.liars), *people)
        self.parties = [party for party in found if party is not None]
        self.meddlers = meddlers(self)
        self.visitors = visitors(self)
        self.parties.append(self.meddlers[-1].party)
        if self.key_rng.random() < INTRUDERS:
            self.intruder = Intruder.of(self)
            self.parties.append(self.intruder.party)

    def intruder_finds(self, certificate: Certificate) -> None:
        """A key is thrown away, and somebody keeps it."""
        if self.intruder is not None:
            self.intruder.found.append(certificate)

    def clock_of_others(self) -> float:
        """Return what the clocks of all but the metaserver say, which nobody sets."""
        return EPOCH + self.time.now

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
            arches=arches_of(self.seed, name, arches),
            memory=rng.choice((1024, 4096)),
            max_builds=rng.choice((1, 1, 2)),
            slowness=rng.choice((0.5, 1.0, 3.0)),
            trouble=rng.choice((0.0, 0.1, 0.5)),
            bulk=rng.choice((1, 5, 60)),
            maxdelay=rng.choice((60.0, 300.0)),
            keepalive=self.keepalive,
            machine=machine,
        )
        machine.failed = lambda: self.builder_down(builder, silently=True)
        return builder

    def _mail_arrived(self, letter: Letter, returns_to: str) -> None:
        self.watch.arrived(letter)
        self.returning.delivered(letter, returns_to)
        self.tempt("meta")

    def committed(self, transaction: tuple[Any, ...], *, told: bool = True) -> None:
        """Take a transaction that took effect; the metaserver is ``told`` so, or that it failed."""
        self.watch.committed(transaction)
        if transaction[0] == "_commit":
            self.sandboxes.committed(transaction[1])
            self.needs.committed(transaction[1])
            self.downtimes.committed(transaction[1], self.watch.before, transaction[3])
            self.front.commits(transaction[2])
            self.past.committed(transaction[1], transaction[2], transaction[3])
            self.past.ends(transaction[1], self.lives, told=told)
            self.trust.committed(transaction[1], transaction[3])
            self.visits.committed(transaction[1])
            self.shares.committed(transaction[1], self.time.now, told=told)
            self.fairness.committed(transaction[1])
            self.overtaking.committed(transaction[1])
            self.triggering.committed(transaction[1])
            self.retention.committed(transaction[1], transaction[3])
            self.telling.committed(transaction[1])
            self.strangers.committed(transaction[1])
        if transaction[0] == "_returned":
            self.returning.witness.noted(transaction[1], transaction[2])
        if transaction[0] == "_commit" and self.rng.random() < 0.1:
            self.tempt("meta")

    def resolver(self, life: Life) -> Resolver:
        """Return how one life of the metaserver looks at the origin, whose refs may move just then."""

        def tempt() -> None:
            if self.faults.on:
                self.time.call(self.origin.rng.uniform(0.0, 40.0), self.move_ref)

        def unreachable() -> bool:
            return self.faults.on and self.rng.random() < 0.02

        return Resolver(self.origin, life.pause, random.Random(f"{self.seed} {life.name} looks"), unreachable, tempt)

    def move_ref(self) -> None:
        """Somebody pushes."""
        if self.faults.on:
            self.faults.count("ref_move")
            self.origin.move()

    def _file_of(self, digest: str) -> bytes | None:
        return self.machine.read(path_of(self.machine.directory, digest))

    # --- the metaserver ---------------------------------------------------------------------------------------

    def start_metaserver(self) -> None:
        """Begin a life of the metaserver; one that cannot start is started again, as a service manager would."""
        if self.metaserver is not None and not self.metaserver.life.ended:
            return
        self.lives += 1
        if self.keyed and self.lives > 1 and self.faults.on and self.key_rng.random() < RESTORES:
            self._restore()
        life = Life(self.time, f"meta.{self.lives}")
        self.watch.started_at = self.time.now
        self.shares.restarted()
        self.visits.restarted()
        self.watch.starts += 1
        self.downtimes.restarted()
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

    def _restore(self) -> None:
        """The state directory is one that was restored from a backup."""
        self.faults.count("restore")
        self.trust.life = f"life {self.lives}"
        self.trace.say("meta", "is restored from a backup")

    def second_metaserver(self) -> None:
        """Somebody removes the lock and starts another one on the same database; the first soon notices, and ends."""
        first = self.metaserver
        if first is None or first.life.ended or not first.serving:
            return
        self.faults.count("second_start")
        self.metaserver = None
        self.start_metaserver()
        self.time.call(self.rng.uniform(0.5, 30.0), partial(self._ends, first))

    def _ends(self, first: Metaserver) -> None:
        if not first.life.ended:
            first.life.ended = True
            self.network.machine_gone(first.life, silently=False)
            self.front.network.machine_gone(first.life, silently=False)

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
        self.front.network.machine_gone(metaserver.life, silently=silently)
        self.time.call(self.rng.choice((0.5, 20.0, 300.0)) * (0.5 + self.rng.random()), self.start_metaserver)

    # --- crashes and starts ---------------------------------------------------------------------------------

    def tempt(self, name: str) -> None:
        """Something has just been done that a crash in the next few steps must not undo, nor do twice."""
        if not self.faults.happens("crash_here", count=False):
            return
        metaserver = self.metaserver
        if name == "meta" and metaserver is not None:
            self.armed.append(Armed(metaserver.life, self.rng.randint(1, 5), self.crash_metaserver))
        for builder in self.builders:
            if builder.name == name and builder.running:
                act = partial(self.builder_down, builder, silently=False)
                self.armed.append(Armed(builder.life, self.rng.randint(1, 14), act))

    def builder_down(self, builder: Builder, *, silently: bool) -> None:
        if builder.running:
            self.faults.count("server_crash")
            builder.machine.fails_soon = False
            builder.crash(silently=silently)
            absent = self.rng.choice((1.0, 30.0, 900.0)) * (0.5 + self.rng.random())
            self.time.call(absent, lambda: self.start_builder(builder))

    def start_builder(self, builder: Builder) -> None:
        if builder.running:
            return
        if away := self.downtimes.off_for(builder.name):
            self.time.call(away, partial(self.start_builder, builder))
        else:
            builder.start()

    # --- running ------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Let everything happen, let it come to rest, and say how it was."""
        observer = _Observer(self._observe)
        globalLogPublisher.addObserver(observer)
        try:
            comparisons = dict(self.settings.projects[0].scheduling().comparisons)
            looking = watched(comparisons, self.watch.wrong, self.watch.declines)
            with looking, believed_lengths(self.seed), self.keys.in_use():
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

    def _begin(self) -> None:
        """Let everybody begin whom there is."""
        self.faults.on = True
        self.blows.plan()
        self.owners.plan()
        self.downtimes.plan()
        self.configuring.plan()
        Raising(self).plan()
        self.triggering.plan()
        self.strangers.plan()
        self.start_metaserver()
        self.front.start()
        self.returning.start()
        for builder in self.builders:
            self.time.call(self.rng.uniform(0.0, 30.0), partial(self.start_builder, builder))
        for liar in self.liars:
            self.time.call(self.rng.uniform(0.0, 300.0), liar.start)
        for twin in self.twins:
            twin.start()
        for meddler in self.meddlers:
            meddler.start()
        for visitor in self.visitors:
            visitor.start()
        if self.intruder is not None:
            self.time.call(self.key_rng.uniform(0.0, 300.0), self.intruder.start)

    def _run(self) -> None:
        self._begin()
        self.time.call(self.active_until, self._calm)
        deadline = self.active_until + self.settings.projects[0].request_ttl + PATIENCE
        while not self.watch.violations:
            due = self.time.next_time()
            if due is None or due > deadline or self.steps > STEPS_MOST:
                break
            self._step()
            if not self.faults.on and self.steps % 50 == 0:
                awake = self.metaserver is not None and not self.metaserver.life.frozen
                self.watch.check_waiting(self.wall.wall(), awake=awake)
                self._check_why()
                if self._rests():
                    break
            elif self.steps % LOOKED_AT == 0:
                self._check_why()
        if not self.watch.violations:
            self._check_rest()

    def _check_why(self) -> None:
        metaserver = self.metaserver
        if metaserver is not None and metaserver.serving and not metaserver.broker._busy:
            self.sandboxes.check_why(metaserver.state, self.wall.wall())
            awake = not (metaserver.life.ended or metaserver.life.frozen)
            self.downtimes.check(metaserver.state, self.wall.wall(), awake=awake)

    def _step(self) -> None:
        armed = self.armed
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
        self.owners.calm()
        self.downtimes.calm()
        self.origin.settle()
        self.configuring.widen()
        self.network.heal()
        self.front.network.heal()
        self.armed.clear()
        for machine in (self.machine, *(builder.machine for builder in self.builders)):
            machine.fails_soon = False
        for liar in self.liars:
            liar.stop()
        for twin in self.twins:
            twin.stop()
        if self.intruder is not None:
            self.intruder.stop()
        if self.metaserver is None or self.metaserver.life.ended:
            self.start_metaserver()
        for builder in self.builders:
            if not builder.running:
                self.start_builder(builder)

    def _rests(self) -> bool:
        busy = any(requester.busy for requester in self.requesters) or any(one.busy for one in self.visitors)
        if busy or self.returning.busy or self.watch.open():
            return False
        if self.metaserver is None or not self.metaserver.serving or self.metaserver.broker._busy:
            return False
        if not all(builder.running and builder.idle for builder in self.builders):
            return False
        return (
            self.front.current
            and self.triggering.current
            and self.telling.current
            and not self._unsent()
            and all(self._connections(builder) == 1 for builder in self.builders)
        )

    def _connections(self, builder: Builder) -> int:
        wires = self.network.between(builder.name, "meta")
        return sum(wire.near.open and wire.far.open and not wire.silent for wire in wires)

    def _unsent(self) -> dict[str, str]:
        found = self.rows.ask("SELECT key, last_error FROM outbox WHERE sent_at IS NULL AND refused_at IS NULL")
        return dict(found)

    def _check_rest(self) -> None:
        refused = {key for (key,) in self.rows.ask("SELECT key FROM outbox WHERE refused_at IS NOT NULL")}
        self.watch.check_told(self._unsent(), refused)
        if self.metaserver is not None:
            self.watch.compare(self.rows.ask, self.metaserver.state)
            for what in wrong_counts(self.past, self.lives, self.metaserver.broker.counts.counts):
                self.watch.wrong(f"at rest {what}")
        self.returning.witness.check_rest(dict(self.rows.ask("SELECT id, mail_error FROM requests")))
        self.front.check_rest()
        self.triggering.check_rest()
        self.telling.check_rest()
        held = {digest for (digest,) in self.rows.ask("SELECT digest FROM tokens")}
        if held != self.visits.holding():
            self.watch.wrong("at rest the tokens in the database are not those that were committed")
        found = wrong_searches(self.seed, self.watch, self.past, self.rows)
        for what in (*wrong_hours(self.past, self.rows), *found):
            self.watch.wrong(f"at rest {what}")
        for builder in self.builders:
            if self._connections(builder) != 1:
                self.watch.wrong(f"at rest {builder.name} has {self._connections(builder)} connections")
            if not builder.running or not builder.idle:
                self.watch.wrong(f"at rest {builder.name} still builds, or delivers, or does not run")
        for requester in self.requesters:
            if requester.busy:
                self.watch.wrong(f"at rest {requester.name} still waits for an answer")
