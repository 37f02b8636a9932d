"""One run: the farm is started, everything in the script happens to it, and it is looked at when it is at rest."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.web.client import Agent, ResponseFailed, ResponseNeverReceived, readBody

from buildtool.adapters.host.detectors import DETECTORS
from buildtool.adapters.runtime.threads import Threads
from buildtool.configuration.settings import load_settings
from buildtool.demo.local_farm import LocalFarm, free_ports
from buildtool.errors import NotRunning
from buildtool.programs.buildserver.guest.local_socket import ask_server
from buildtool.programs.startcompile.errands import detected
from tests.chaos import leftovers
from tests.chaos.farm import DRAINS_WITHIN, STOPS_WITHIN, Misbehaved, Program
from tests.chaos.keys import SOLD, Office, Person, Revoked, building, machine_joins
from tests.chaos.mail import MoodyServer
from tests.chaos.processes import Guard
from tests.chaos.proxy import ROUGH, Proxy
from tests.chaos.requesters import Around, Post, Requester
from tests.chaos.script import METASERVER, REQUESTERS, TRANSFERS, WEB, Fault, Script, Trouble
from tests.chaos.sources import make_repository

CONFIG = Path(__file__).resolve().parent / "config.py"
LOOK = 0.5
"""Seconds between two looks at what should change by itself."""

NOT_NOW = (1, 7)
"""Exit codes of an operator's word that will be heard later: no metaserver runs, or it went while it was asked."""

DATABASE = "buildtool.sqlite"

PATIENCE = ("10", "0")
"""Minutes for which owners let a build stand still before it is handed back, by turns: always, and not at all."""

BUILDS_SOON = 100
"""How often it is looked whether a build server that is to be revoked builds, before it is revoked anyway."""

CALM_LOOKS = 6
"""How many looks in a row find nothing to do before the farm is believed to be at rest."""


def say(words: str) -> None:
    """Say what goes on, on stderr: the figures are on stdout."""
    os.write(2, f"# {words}\n".encode())


@frozen
class Report:
    """What came of a run; ``problems`` are lines for people."""

    requests: int
    lost: int
    told_twice: int
    left_over: int
    kills: int
    seconds: float
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not (self.lost or self.told_twice or self.left_over or self.problems)

    def line(self) -> str:
        """Return the figures as one line of JSON."""
        names = ("requests", "lost", "told_twice", "left_over", "kills")
        return json.dumps({name: getattr(self, name) for name in names} | {"seconds": round(self.seconds, 1)})


@define(eq=False)
class Run:
    """One run in ``directory``, which is its own and not there yet."""

    script: Script
    directory: Path
    reactor: ReactorBase
    kills: int = 0
    skipped: int = 0
    done: dict[str, int] = field(factory=dict)
    problems: list[str] = field(factory=list)
    programs: dict[str, Program] = field(factory=dict)
    proxies: dict[str, Proxy] = field(factory=dict)
    ports: dict[str, int] = field(factory=dict)
    requesters: list[Requester] = field(factory=list)
    away: list[Program] = field(factory=list)
    farm: LocalFarm = field(init=False)
    mail: MoodyServer = field(init=False)
    office: Office = field(init=False)
    revoked: Revoked | None = None
    threads: Threads = field(init=False)
    post: Post = field(factory=Post)
    _ending: bool = False
    _mail_is_away: bool = False

    def __attrs_post_init__(self) -> None:
        (self.directory / "logs").mkdir(parents=True)
        said = {"CHAOS_REPOSITORY": str(self.directory / "chaos.git"), "CHAOS_LEASE": str(self.script.shape.lease)}
        os.environ |= said  # its projects are looked at here too
        keys = {"BUILDTOOL_TRUSTED": "nobody", "BUILDTOOL_CERTIFICATE_LIFE": f"{self.script.shape.life}s"}
        self.farm = LocalFarm(self.directory / "farm", CONFIG, said | keys)
        self.office = Office(self.reactor, self.farm.directory / "metaserver")
        draw = random.Random(self.script.seed + 1)
        self.mail = MoodyServer(draw, partial(self.reactor.callFromThread, self._mail_came))
        self.threads = Threads(self.reactor, 4, "chaos")

    # --- the whole --------------------------------------------------------------------------------------

    async def live(self) -> Report:
        """Do it all. Whatever happens, nothing that was started is there afterwards."""
        guard = Guard(self.directory)
        began = self.reactor.seconds()
        try:
            await self._begin()
            await self._happen()
            left = await self._come_to_rest(guard.pid)
        finally:
            self._ending = True
            for program in self.programs.values():
                program.kill()
            for proxy in self.proxies.values():
                await proxy.close()
            self.threads.stop()
            self.mail.end()
            guard.close()
        return self._judged(left, self.reactor.seconds() - began)

    async def _begin(self) -> None:
        script, directory, shape = self.script, self.directory, self.script.shape
        commits = make_repository(directory / "chaos.git", script.revisions)
        # A port that no outgoing connection takes while the mail server is away.
        (self.mail.port,) = free_ports(1)
        self.mail.start()
        self.farm.mail_port = self.mail.port
        ports = self.farm.ports
        transfer_port = self._proxy(TRANSFERS, ports["BUILDTOOL_PB_PORT"])  # one port is enough, and speaks TLS
        self.farm.extra["BUILDTOOL_TRANSFER_URL"] = f"https://127.0.0.1:{transfer_port}"
        asking_port = self._proxy(REQUESTERS, ports["BUILDTOOL_PB_PORT"])
        metaserver = self._program(METASERVER, "metaserver")
        metaserver.start()
        await metaserver.ready("ready: control port")
        self._program(WEB, "webserver").start()
        for number, name in enumerate(shape.names()):
            self.ports[name] = self._proxy(name, ports["BUILDTOOL_PB_PORT"])
            words = "--maxdelay", "2", "--max-builds", str(1 + number % 2), "--patience", PATIENCE[number % 2]
            self._program(name, "buildserver.py", *words)
        await self._all(self._joins(self.programs[name]) for name in shape.names())
        local = detected(load_settings(CONFIG).projects[0], DETECTORS)
        downloads = directory / "downloads"
        downloads.mkdir()
        around = Around(self.reactor, commits, local, self.post, self.threads, downloads, script.seed)
        for asked in script.asked:
            name = f"requester-{asked.number}"
            line = await self.office.line(name, asking_port, "requester", asked.email)
            person = Person(self.reactor, line, directory / "keys" / name)
            self.requesters.append(Requester(asked, around, person))

    async def _joins(self, program: Program, *, replaces: bool = False) -> None:
        """Invite a machine, and have its build server join; ``busy`` meanwhile, as it may take several starts."""
        port = self.ports[program.name]
        line = await self.office.line(program.name, port, "build server", replaces=replaces)
        program.busy = True
        try:
            await machine_joins(program, line, self.directory)
        except Misbehaved as error:
            self.problems.append(str(error))
        finally:
            program.busy = False

    def _place(self, name: str) -> Path:
        """Return the directory of a build server, in which there is one of its name."""
        return self.directory / "farm" / "build" / name

    def _program(self, name: str, binary: str, *words: str) -> Program:
        place = {"BUILDTOOL_BUILD_DIR": str(self._place(name))}
        made = self.programs[name] = Program(
            name,
            [str(self.farm.root / "bin" / binary), *words],
            self.farm.environment(**place),
            self.directory / "logs",
            partial(deferLater, self.reactor),
        )
        return made

    def _proxy(self, name: str, port: int) -> int:
        draw = random.Random(f"{self.script.seed}/{name}")
        made = self.proxies[name] = Proxy(self.reactor, port, draw)
        return made.listen()

    def _mail_came(self, address: str, mail: EmailMessage) -> None:
        self.post.came(address, str(mail["Message-ID"]), str(mail["X-Buildtool-Outcome"]))

    # --- while things go wrong --------------------------------------------------------------------------

    async def _happen(self) -> None:
        """Let the requesters ask and the troubles come, until the last trouble is over."""
        shape = self.script.shape
        say(f"{shape.requests} requests, {len(self.script.faults)} troubles in {shape.seconds:.0f} s")
        for proxy in self.proxies.values():
            proxy.weather = ROUGH
        self.mail.defers, self.mail.drops = 0.08, 0.08
        for each in self.requesters:
            self._alone(each.live())
        self._alone(self._watch())
        self._alone(self._visit())
        self._alone(self._accept(max(shape.seconds - 10, shape.seconds / 2)))
        await self._all(self._trouble(fault) for fault in self.script.faults)
        await self._rest(max(0.0, shape.seconds - self.script.faults[-1].at if self.script.faults else shape.seconds))
        for proxy in self.proxies.values():
            proxy.clear_up()
        self.mail.calm()

    async def _accept(self, seconds: float) -> None:
        """Put off no mail any more: what was put off comes ten seconds later at the earliest."""
        await self._rest(seconds)
        self.mail.defers = 0.0

    async def _trouble(self, fault: Fault) -> None:
        await self._rest(fault.at)
        program = self.programs.get(fault.target)
        if fault.trouble in (Trouble.KILL, Trouble.FREEZE, Trouble.RESTART, Trouble.DRAIN):
            assert program is not None
            if program.busy:
                self.skipped += 1
                return
            program.busy = True
            try:
                await self._to_program(fault, program)
            finally:
                program.busy = False
        elif fault.trouble in (Trouble.DEAD, Trouble.NUMB):
            await self._send_away(fault, self.programs[fault.target])
        elif fault.trouble in (Trouble.REVOKED, Trouble.ANEW, Trouble.ROTATED):
            await self._to_keys(fault)
        elif fault.trouble is Trouble.RELOAD:
            self._reload()
        elif fault.trouble is Trouble.PAUSE:
            await self._by_hand("--pause", fault.target)
            await self._rest(fault.seconds)
            await self._by_hand("--resume", fault.target)
        elif fault.trouble is Trouble.OWNER:
            await self._owner_is_there(fault, self.programs[fault.target])
        elif fault.trouble is Trouble.POWER:
            await self._power_cut(fault.seconds)
        elif fault.trouble is Trouble.MAIL_AWAY:
            await self._without_mail(fault.seconds)
        else:
            await self._to_network(fault, self.proxies[fault.target])
        self.done[fault.trouble.value] = self.done.get(fault.trouble.value, 0) + 1

    async def _owner_is_there(self, fault: Fault, program: Program) -> None:
        """Let the owner of a machine take it back for a while, whatever else happens to it meanwhile."""
        life = program.lives
        await self._owner_says(program, "pause")
        await self._rest(fault.seconds)
        self._alone(self._owner_leaves(program, life))

    async def _owner_leaves(self, program: Program, life: int) -> None:
        """Resume what was paused, until that is heard; a pause ends with the life of the program that heard of it."""
        while program.alive and program.lives == life and not self._ending:
            if await self._owner_says(program, "resume"):
                return
            await self._rest(LOOK)

    async def _owner_says(self, program: Program, act: str) -> bool:
        """Say something to a build server over its socket; return whether it answered."""
        place = self._place(program.name) / program.name
        try:
            await self.threads.run(partial(ask_server, place, {"act": act}))
        except NotRunning:
            return False
        return True

    async def _without_mail(self, seconds: float) -> None:
        if self._mail_is_away:
            self.skipped += 1
            return
        self._mail_is_away = True
        self.mail.stop()
        await self._rest(seconds)
        self.mail.start()
        self._mail_is_away = False

    async def _send_away(self, fault: Fault, program: Program) -> None:
        """End or freeze a program until ``_call_back``; nothing else happens to it meanwhile."""
        await self._take(program)
        if fault.trouble is Trouble.DEAD:
            self.kills += 1
            program.kill()
        else:
            program.freeze()
        self.away.append(program)

    async def _take(self, program: Program) -> None:
        """Wait until nothing happens to a program, and let nothing else happen to it."""
        while program.busy:
            await self._rest(LOOK)
        program.busy = True

    async def _to_keys(self, fault: Fault) -> None:
        match fault.trouble:
            case Trouble.REVOKED:
                await self._revoke(self.programs[fault.target])
            case Trouble.ANEW:
                await self._make_anew(self.programs[fault.target], fault.seconds)
            case Trouble.ROTATED:
                await self._by_hand("rotate-ca")

    async def _revoke(self, program: Program) -> None:
        """Revoke a build server, if it can be while it builds; it is told why, and is gone for good."""
        name, database = program.name, self.office.state / DATABASE
        await self._take(program)
        for _ in range(BUILDS_SOON):
            if building(database, name):
                break
            await self._rest(LOOK / 5)
        builds = building(database, name)
        await self.office.revoke(name, SOLD)
        self.revoked = Revoked.now(name, builds)
        say(f"{name} is revoked, while it has {len(builds)} builds")
        try:
            await program.ready(f"the key of {name} was revoked: {SOLD}")
        except Misbehaved as error:
            self.problems.append(str(error))
        await self._lose(program)

    async def _make_anew(self, program: Program, seconds: float) -> None:
        """Kill a build server, lose all that it had, its key too, and have it join anew under its name."""
        await self._take(program)
        await self._lose(program)
        await self._rest(seconds)
        await self._joins(program, replaces=True)

    async def _lose(self, program: Program) -> None:
        """Kill a build server, and lose its disk."""
        self.kills += 1
        program.kill()
        place = self._place(program.name)
        await self._gone(partial(leftovers.of_builds, place))
        shutil.rmtree(place)

    async def _call_back(self) -> None:
        for program in self.away:
            if program.frozen:
                program.thaw()
            else:
                program.start()
                await program.ready("registered")
            program.busy = False

    async def _to_program(self, fault: Fault, program: Program) -> None:
        match fault.trouble:
            case Trouble.KILL:
                self.kills += 1
                program.kill()
            case Trouble.RESTART:
                await self._stopped(program)
            case Trouble.DRAIN:
                await self._stopped(program, signal.SIGHUP, DRAINS_WITHIN)
            case Trouble.FREEZE:
                program.freeze()
        await self._rest(fault.seconds)
        if program.frozen:
            program.thaw()
        else:
            program.start()

    def _reload(self) -> None:
        metaserver = self.programs[METASERVER]
        if metaserver.busy or b"ready" not in metaserver.log.read_bytes():
            self.skipped += 1  # what is still being loaded does not know the signal yet
        else:
            metaserver.send(signal.SIGHUP)

    async def _by_hand(self, *words: str) -> None:
        """Let the operator say something, again while no metaserver runs that could hear it."""
        argv = [str(self.farm.root / "bin" / "metaserver"), *words]
        for _ in range(30):
            said, problem, code = await getProcessOutputAndValue(
                sys.executable, argv, env=self.farm.environment(), reactor=self.reactor
            )
            if not code:
                return
            if code not in NOT_NOW:
                break
            await self._rest(LOOK)
        self.problems.append(f"bin/metaserver {' '.join(words)} ended with {code}: {problem.decode()}{said.decode()}")

    async def _power_cut(self, seconds: float) -> None:
        """Kill every program that is not being dealt with, and start them all again."""
        programs = [program for program in self.programs.values() if not program.busy]
        for program in programs:
            program.busy = True
            self.kills += 1
            program.kill()
        await self._rest(seconds)
        for program in programs:
            program.start()
            program.busy = False

    async def _to_network(self, fault: Fault, proxy: Proxy) -> None:
        if fault.trouble is Trouble.CUT:
            proxy.cut()
        elif not proxy.held:
            proxy.hold()
            await self._rest(fault.seconds)
            proxy.release()

    async def _stopped(
        self, program: Program, number: signal.Signals = signal.SIGTERM, seconds: float = STOPS_WITHIN
    ) -> None:
        try:
            code = await program.stop(number, seconds)
        except Misbehaved as error:
            self.problems.append(str(error))
        else:
            early = code == -number and not program.log.read_bytes()  # it was still being loaded
            if code and not early:
                self.problems.append(f"{program.name} ended with {code} after {number.name}: {program.last()}")

    async def _watch(self) -> None:
        """Note programs that end by themselves, and start them again."""
        while not self._ending:
            for program in self.programs.values():
                if program.wanted and not program.alive and not program.busy:
                    code = program.process.returncode if program.process is not None else None
                    self.problems.append(f"{program.name} ended by itself with {code}: {program.last()}")
                    program.start()
            await self._rest(LOOK)

    async def _visit(self) -> None:
        """Look at the pages all the time: while the web server is up, they never break."""
        agent = Agent(self.reactor, connectTimeout=5)
        number = 0
        while not self._ending:
            number += 1
            path = ("/", "/builds", "/buildservers", f"/build/{1 + number % 40}")[number % 4]
            try:
                code = await self._page(agent, path)
            except (ConnectError, ResponseFailed, ResponseNeverReceived):
                code = 0
            if code not in (0, 200, 404, 503):
                self.problems.append(f"the page {path} answers {code}")
            await self._rest(LOOK)

    async def _page(self, agent: Agent, path: str) -> int:
        response = await agent.request(b"GET", f"{self.farm.public_url}{path}".encode())
        await readBody(response)
        return int(response.code)

    # --- at rest ----------------------------------------------------------------------------------------

    async def _come_to_rest(self, guard: int) -> list[str]:
        """Wait until everybody was told, stop everything, and return what is left over."""
        state, database = self.office.state, self.office.state / DATABASE
        unfinished = lambda: [one for one in self.requesters if one.doing != "has ended"]  # noqa: E731
        say(f"no more troubles; {len(unfinished())} requesters wait")
        until = self.reactor.seconds() + self.script.shape.settle
        while (unfinished() or leftovers.open_ends(database)) and self.reactor.seconds() < until:
            await self._rest(LOOK)
        await self._call_back()
        open_ends: list[str] = []
        names = [one for one in self.script.shape.names() if self.revoked is None or one != self.revoked.name]
        places = [self._place(name) / name for name in names]
        # Who comes back late has something to build, or to tell, that nobody waits for any more, and notices it later.
        calm = 0
        while calm < CALM_LOOKS and self.reactor.seconds() < until:
            await self._rest(LOOK)
            open_ends = leftovers.open_ends(database)
            calm = 0 if open_ends or any(leftovers.of_work(place) for place in places) else calm + 1
        left = [f"the database has {words}" for words in open_ends]
        left += await self._gone(partial(leftovers.of_builds, self.directory))
        say("at rest; the programs are stopped")
        self._ending = True
        for name in (*names, WEB, METASERVER):
            await self._stopped(self.programs[name])
        left += await self._gone(partial(leftovers.of_programs, self.directory, guard))
        left += leftovers.in_state(state) + leftovers.in_downloads(self.directory / "downloads")
        for place in places:
            left += leftovers.in_build_dir(place)
        left += leftovers.in_database(database)
        left += self.revoked.left(database) if self.revoked is not None else ["a machine that was not revoked"]
        return left + leftovers.by_fsck(self.farm.root, self.farm.environment())

    async def _gone(self, look: Callable[[], list[str]]) -> list[str]:
        """Return what is still there after some seconds, in which it may go."""
        for _ in range(20):
            found = look()
            if not found:
                break
            await self._rest(LOOK)
        return found

    def _judged(self, left: Iterable[str], seconds: float) -> Report:
        lost, twice = [], []
        for one in self.requesters:
            one.close_the_book()
            if missing := one.told.lost():
                lost.append(f"lost: requester {one.asked.number} {missing}; it {one.doing}")
            if more := one.told.twice():
                twice.append(f"told twice: requester {one.asked.number} {more}")
        over = [f"left over: {words}" for words in left]
        defects = [line for program in self.programs.values() for line in program.defects()]
        tries = sum(one.tries for one in self.requesters)
        say(f"{self.done}, {self.skipped} skipped; requesters tried again {tries} times")
        stops = sorted((program.longest_stop, name) for name, program in self.programs.items())
        say(f"longest to stop: {', '.join(f'{name} {seconds:.1f} s' for seconds, name in stops[-3:])}")
        say(f"mail: {len(self.mail.messages)} taken, {self.mail.dropped} without a word, {self.mail.deferred} put off")
        return Report(
            len(self.requesters),
            len(lost),
            len(twice),
            len(over),
            self.kills,
            seconds,
            (*lost, *twice, *over, *(f"problem: {words}" for words in self.problems + defects)),
        )

    # --- how --------------------------------------------------------------------------------------------

    def _alone(self, act: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        def failed(failure: Any) -> None:
            self.problems.append(f"a defect of the chaos itself: {failure.getTraceback()}")

        return Deferred.fromCoroutine(act).addErrback(failed)

    async def _all(self, acts: Iterable[Coroutine[Deferred[Any], Any, None]]) -> None:
        await DeferredList([self._alone(act) for act in acts])

    async def _rest(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)
