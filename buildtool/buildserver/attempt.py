"""One Attempt on a build server, from the checked-out source to the packed artifact, and whose fault it is if not.

Tested by tests/buildserver/test_server.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from attrs import field, frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool import errors
from buildtool.buildserver.blame import Stopped, TimeLimit, brief, end_of, judge, judge_start
from buildtool.buildserver.fetching import check_allowed, network_of, put_downloads
from buildtool.buildserver.log_upload import PATIENCE, LogPipe
from buildtool.buildserver.masking import Masker
from buildtool.buildserver.naming import artifact_name, check_files, own_environment
from buildtool.buildserver.standstill import Standstill
from buildtool.buildserver.ticket_holder import TicketHolder
from buildtool.buildserver.usage import AttemptUsage
from buildtool.concurrency.asker import Asker, working_for
from buildtool.model.guest.history import NOTHING, DoneWork
from buildtool.model.logs.marks import LogMark
from buildtool.model.options import Canonical, shown
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import SYSTEM_ROOT
from buildtool.model.text import duration_words
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports import buildserver as ports
from buildtool.ports.common import Executor
from buildtool.project.definition import Project
from buildtool.project.recipe import Command, Plan, PlatformTools, Wanted
from buildtool.project.user_errors import ask, at, defined, place, words
from buildtool.protocol.messages import Done, Ended, Order
from buildtool.protocol.source_parts import WHOLE, SourcePart

STOP_PATIENCE = 3.0
"""Seconds that the log of a build that was stopped has to get through."""

RECIPE_PATIENCE = 20.0
"""Seconds that a recipe has to answer: it is a function, and reads nothing."""

_FAULT_TAIL = 8 * 1024

T = TypeVar("T")

Pack = tuple[ports.PackedFile, Path, str, Canonical]
"""What was packed, where it is, what it is called, and what its files need."""


@frozen
class AttemptTools:
    """The means of every Attempt of a build server.

    ``environment`` is what commands have before the recipe adds to it; ``time_limit`` is the donor's own, in seconds of
    all commands of one build together, or None; ``cpus`` how many processors one build may use. ``secrets`` are masked
    in what is told of an Attempt. ``planned``, if there is one, is called with what the recipe answered.
    ``downloads`` has what recipes declare; ``networked`` are projects whose fetching commands may use the network.
    ``sandbox`` is the level of the sandbox that ``commands`` run in.
    """

    sources: ports.Sources
    commands: ports.Commands
    workshop: ports.SlotFiles
    uploads: ports.Uploads
    clock: IReactorTime
    environment: Mapping[str, str]
    server: str = ""
    cpus: int = 1
    time_limit: float | None = None
    copies: ports.SourceCopies | None = None
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    planned: Callable[[Plan], None] | None = None
    downloads: ports.DeclaredDownloads | None = None
    networked: frozenset[str] = frozenset()
    sandbox: SandboxLevel = SandboxLevel.NONE


@frozen
class AttemptWork:
    """One Attempt's order with what this machine's own configuration says about it.

    ``url`` is the repository's, ``tools`` the programs for the platform; limits are in bytes. ``mistake`` is what the
    project's configuration did wrong before anything could begin. ``copy_url`` is where the metaserver gives out what
    it has of the commit.
    """

    order: Order
    project: Project
    url: str = field(repr=False)
    tools: Mapping[str, str]
    slot: int
    artifact_limit: int
    log_limit: int
    tickets: TicketHolder
    mistake: errors.ProjectMistake | None = None
    copy_url: str = ""


@frozen
class FinishedBuild:
    """An Attempt of which nothing runs any more: how it ended, and what of it the metaserver has not got yet.

    ``artifact`` is the packed file of a Done, in the slot. ``patience`` is for how many seconds the end of the log may
    make no progress before it is given up. ``work`` is what was done for ``project``.
    """

    end: Done | Ended
    artifact: Path | None
    log: LogPipe
    tickets: TicketHolder
    patience: float = PATIENCE
    project: str = ""
    work: DoneWork = NOTHING


class AttemptRun:
    """An Attempt that runs. ``stop`` ends it; ``run`` returns once nothing of it runs; ``clear`` empties its slot."""

    _log = Logger()

    def __init__(self, work: AttemptWork, tools: AttemptTools, pool: Executor) -> None:
        """``pool`` is where the recipe answers, since nobody knows how long that takes it."""
        self._work = work
        self._tools = tools
        self._pool = pool
        self._masker = Masker(tools.secrets)
        self.log = LogPipe(tools.clock, self._append, work.log_limit, self._masker)
        self._stopped: Stopped | None = None
        self._halt = ports.Halt()
        self._usage = AttemptUsage(tools.clock)
        self._asker = Asker("", work.order.build_id, self._usage.sources)
        self._clearing = ports.Halt()
        self._command: ports.RunningCommand | None = None
        self._asking: Deferred[object] | None = None
        self._spent = 0.0
        self._rest = Standstill(tools.clock)

    def stop(self, end: AttemptEnd, reason: str) -> None:
        """Stop the build: its running command's whole process group is told to go. May be repeated; the first counts.

        One that is handed back does not wait until its slot is empty, either.
        """
        if end is AttemptEnd.RETURNED:
            self._clearing.ask(reason)
        if self._stopped is not None:
            return
        self._stopped = Stopped(end, reason)
        self._halt.ask(reason)
        self._asker.leave()
        if self._asking is not None:
            self._asking.cancel()
        if self._command is not None:
            self._command.stop(reason)
        self._rest.release()

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self._rest.lasts

    def freeze(self, reason: str) -> None:
        """Stop the build where it is, a checkout or packing once it is done. May be repeated."""
        if not self._rest.lasts and self._stopped is None:
            self._rest.begin()
            self.log.note(f"[frozen: {reason}]")
            if self._command is not None:
                self._command.freeze()

    def thaw(self) -> None:
        """Resume a build that was frozen. May be repeated."""
        if self._rest.lasts and self._stopped is None:
            self.log.note(f"[goes on after {duration_words(self._rest.end())}]")
            if self._command is not None:
                self._command.thaw()

    async def run(self) -> FinishedBuild:
        """Build, and return how it went. Raises nothing."""
        order, tickets = self._work.order, self._work.tickets
        try:
            done, artifact = await self._build()
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the metaserver must hear of an end
            stopped = self._end_of(error)
            stopped = Stopped(stopped.end, self._masker.whole(stopped.reason))
            self.log.end(f"[{stopped.end.value}: {stopped.reason}]", stopped.end.value, failed=True)
            last, used = self.log.last(), self._usage.processor
            ended = Ended(order.build_id, order.epoch, stopped.end, stopped.reason, last, used)
            patience = STOP_PATIENCE if self._stopped else PATIENCE
            return FinishedBuild(ended, None, self.log, tickets, patience, order.project, self._done(stopped.end))
        work = self._done(AttemptEnd.SUCCEEDED)
        return FinishedBuild(done, artifact, self.log, tickets, PATIENCE, order.project, work)

    def _done(self, end: AttemptEnd) -> DoneWork:
        return self._usage.work(end, self._rest.all)

    async def clear(self) -> None:
        """Empty the slot. Raises nothing; what is left when that is cut short goes before the slot is used again."""
        try:
            await self._tools.workshop.clear(self._work.slot, self._clearing)
        except ports.Halted:
            self._log.info("slot {slot} is cleaned at the next start", slot=self._work.slot)
        except errors.BuildToolError as error:
            self._log.warn("slot {slot} was not cleaned: {why}", slot=self._work.slot, why=str(error))

    def _end_of(self, error: BaseException) -> Stopped:
        """Return the end, by whose failure it was."""
        if self._stopped is not None:
            return self._stopped
        if isinstance(error, Stopped):
            return Stopped(error.end, brief(error.reason))
        if not isinstance(error, Exception):  # nothing of this program's own raises such here
            mistake = (
                f"what the recipe of {self._work.order.project} answered with raised {words(error)}{at(place(error))}"
            )
            return Stopped(AttemptEnd.MISTAKEN, brief(mistake))
        end = end_of(error)
        if end is not None:
            return Stopped(end, brief(str(error) or type(error).__name__))
        self._log.failure("a defect while building {build}", build=self._work.order.build_id)
        return Stopped(AttemptEnd.BROKEN, "a defect of the build server: its own log has the details")

    # --- the steps --------------------------------------------------------------------------------------

    async def _build(self) -> tuple[Done, Path]:
        order, began = self._work.order, self._tools.clock.seconds()
        about = f"{order.project} {order.revision} on {self._tools.server}, recipe {order.recipe_version}"
        self.log.begin("sources", about)
        self.log.note(f"for {shown(order.platform)} ({order.kind.value})")
        self.log.note(f"with {shown(order.options) or 'no options'}")
        if self._work.mistake is not None:
            raise self._work.mistake
        self._check()
        slot = self._tools.workshop.prepare(self._work.slot, self._halt, self._work.tools)
        preparing = Deferred.fromCoroutine(slot)
        checkout = self._tools.sources.checkout(self._work.url, order.revision, self._work.slot, self._copy)
        try:
            with working_for(self._asker):  # an origin may take its time, which nobody waits for once this is stopped
                tree = await self._step(checkout)
        finally:
            place = await preparing  # or the slot would be emptied while it is still being made
        self._check()
        self.log.end(f"[source: checked out after {self._tools.clock.seconds() - began:.1f} s]", "checked out")
        await self._rest.over()
        plan = await self._plan(tree)
        await self._run_all(plan, tree, place)
        await self._rest.over()
        self._check()
        self.log.begin("artifact")
        packed, output, name, need = await self._pack(plan, tree, place)
        seconds = self._tools.clock.seconds() - began - self._rest.rested
        self.log.note(f"[artifact: {name}, {packed.size} bytes, SHA-256 {packed.digest}]")
        if need:
            self.log.note(f"[needs: {shown(need)}]")
        self.log.end(f"[{AttemptEnd.SUCCEEDED.value} after {seconds:.1f} s]", AttemptEnd.SUCCEEDED.value)
        last = self.log.last()
        made = packed.digest, packed.content_digest, packed.size, name, seconds, last
        return Done(order.build_id, order.epoch, *made, self._tools.sandbox, self._usage.processor, need), output

    async def _copy(self, path: Path, part: SourcePart = WHOLE, /) -> None:
        """Fetch what the metaserver has of a part. Raises NotFound, Unavailable, BadTicket, StorageUnavailable."""
        if self._tools.copies is None or not self._work.copy_url:
            raise errors.NotFound("there is nobody else to fetch the commit from")
        ticket = await self._work.tickets.for_source()
        self._usage.down += await self._tools.copies.fetch_copy(f"{self._work.copy_url}{part.address()}", ticket, path)

    async def _plan(self, tree: Path) -> Plan:
        order, recipe = self._work.order, self._work.project.recipe
        wanted = Wanted(
            options=dict(order.options),
            platform=dict(order.platform),
            kind=order.kind.value,
            tools=PlatformTools({role: text for role, text in self._work.tools.items() if role != SYSTEM_ROOT}),
            source=tree,
            revision=order.revision,
            cpus=self._tools.cpus,
        )
        whom, where = f"the recipe of {order.project}", at(defined(recipe.plan))
        question: Callable[[], object] = partial(ask, whom, partial(recipe.plan, wanted))
        self._check()
        self._asking = Deferred.fromCoroutine(self._pool.run(question))
        try:
            plan = await self._asking.addTimeout(RECIPE_PATIENCE, self._tools.clock)
        except defer.TimeoutError as error:
            raise errors.RecipeMistake(f"{whom} has not answered within {RECIPE_PATIENCE:g} s{where}") from error
        finally:
            self._asking = None
        if not isinstance(plan, Plan):
            raise errors.RecipeMistake(f"{whom} answered with a {type(plan).__name__}, not with a Plan{where}")
        if self._tools.planned is not None:
            self._tools.planned(plan)
        return plan

    async def _run_all(self, plan: Plan, tree: Path, place: ports.SlotPlace) -> None:
        check_allowed(self._work.order.project, plan, self._tools.downloads, self._tools.networked)
        self._usage.down += await put_downloads(plan, tree, self._tools.downloads, self.log.note, self._check)
        self._check()
        enclosed = await self._tools.commands.enclose(
            self._work.slot, tree, place, self._work.tools.get(SYSTEM_ROOT, "")
        )
        try:
            environment = own_environment(place, self._tools.environment, self._work.tools) | dict(plan.environment)
            if plan.fetch:
                async with network_of(plan, enclosed, self.log.note, self._usage.moved) as more:
                    for command in plan.fetch:
                        await self._run(enclosed, command, plan, tree, {**environment, **more})
            for command in plan.commands:
                await self._run(enclosed, command, plan, tree, environment)
        finally:
            await enclosed.end()  # nothing may change what is packed next

    async def _run(
        self, enclosed: ports.EnclosedCommands, command: Command, plan: Plan, tree: Path, environment: Mapping[str, str]
    ) -> None:
        await self._rest.over()
        self._check()
        limit = self._limit()
        self.log.begin(command.words(), f"[{command.words()}: {shlex.join(command.argv)}]")
        self._command = enclosed.start(
            command.argv,
            tree / command.cwd,
            command.within(environment),
            on_output=self.log.write,
            time_limit=max(0.01, limit.seconds - self._spent),
            silence_limit=self._work.project.silence_limit,
            terminal=command.terminal,
        )
        try:
            ended = await self._command.ended
        finally:
            self._command = None
        self._spent += ended.seconds
        self._usage.add(ended)
        over = enclosed.exceeded(ended)
        detail = limit.words() if ended.cause == "time limit" else ended.detail if over is None else over.words()
        told = f"[{command.words()}: {detail} after {ended.seconds:.1f} s]"
        self.log.end(told, detail, failed=not ended.succeeded)
        self._check()
        if over is not None:
            raise Stopped(over.end, f"{command.words()}: {over.words()}")
        judge_start(command, ended, tree)
        judge(command, ended, plan.machine_faults, self.log.last(_FAULT_TAIL), limit)

    def _limit(self) -> TimeLimit:
        """Return the limit that this build meets first: the project's, or the donor's own."""
        project, donor = self._work.project.time_limit, self._tools.time_limit
        return (
            TimeLimit(donor, donor=True) if donor is not None and donor < project else TimeLimit(project, donor=False)
        )

    async def _pack(self, plan: Plan, tree: Path, place: ports.SlotPlace) -> Pack:
        name = artifact_name(self._work.order, self._work.project.options.artifact_names)
        limit = self._limit()
        output = place.output / name
        # Packing counts as a command does: what is delivered may be as large as it likes, and so take as long.
        timer = self._tools.clock.callLater(
            max(0.01, limit.seconds - self._spent), self.stop, limit.end, f"packing: {limit.words()}"
        )
        try:
            packing = self._tools.workshop.pack(tree, plan.deliverables, output, self._work.artifact_limit, self._halt)
            packed = await self._step(packing)
            files = await self._step(self._tools.workshop.measure(output, self._halt))
            need = check_files(files, self._work.order, self._work.project.options.artifact_names, plan.foreign)
        finally:
            if timer.active():
                timer.cancel()
        return packed, output, name, need

    # --- being stopped ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    async def _step(self, step: Awaitable[T]) -> T:
        """Do something, unless the Attempt was stopped; it may be halted in the middle."""
        if self._stopped is not None:
            if isinstance(step, Coroutine):
                step.close()
            raise self._stopped
        result = await step
        self._check()
        return result

    # --- to the metaserver ------------------------------------------------------------------------------

    async def _append(self, offset: int, data: bytes, marks: Sequence[LogMark]) -> int:
        url, uploads = self._work.order.log_url, self._tools.uploads
        return await self._work.tickets.using(lambda own: uploads.append_log(url, own.log_ticket, offset, data, marks))
