"""Where a recipe is tried: attempts as a build server makes them, of a working tree, whose log goes to who watches.

Covered by tests/programs/trying/test_trying.py.
"""

from __future__ import annotations

import codecs
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from attrs import define, evolve, field, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import CancelledError, Deferred

from buildtool.adapters.host.build_slots import BuildSlots
from buildtool.adapters.host.hidden_tools import HiddenTools
from buildtool.adapters.host.processors import usable_processors
from buildtool.adapters.host.recipe_commands import BuildBounds, RecipeCommands
from buildtool.adapters.http.client import HttpClient, HttpTimeouts
from buildtool.adapters.http.declared_downloads import DownloadCache
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.process_group import mark_for
from buildtool.adapters.processes.runner import Processes
from buildtool.adapters.processes.sandbox.proving import ProvenSandbox
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.storage.archive.comparing import differences
from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.vcs.working_tree import TreeFacts, WorkingTree
from buildtool.buildserver.attempt import AttemptRun, AttemptTools, AttemptWork, FinishedBuild
from buildtool.buildserver.order_check import ProjectQuestions
from buildtool.buildserver.ticket_holder import TicketHolder
from buildtool.errors import Declined, MachineFault, Unavailable
from buildtool.model.logs.marks import LogMark
from buildtool.model.options import Canonical
from buildtool.model.platforms import Value
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Offer
from buildtool.model.text import block
from buildtool.ports.buildserver import T
from buildtool.programs.common.program import StopRequest
from buildtool.project.definition import Project
from buildtool.project.recipe import Plan
from buildtool.project.trial import MemberDifference, TriedRun
from buildtool.protocol.messages import Done, Order, Tickets

THREADS = 4
GRACE = 5.0
"""Seconds in which threads have to end what they do when the program ends."""

SLOTS = (0, 1_000)
"""The slots of the two runs: their directories have names of different lengths."""


@frozen
class TrialRequest:
    """The wanted trial: a project's options, for one offer of this machine, with the sources in ``source``.

    ``place`` is where it is built and emptied again, ``keep`` where artifacts are kept; ``time_limit`` is in seconds.
    ``bounds`` are what a build may use, ``without`` are programs that it does not find; what recipes declare is
    kept in ``downloads``. ``networked`` are the projects whose fetching commands may use the network. ``roots`` are
    the files of other systems, by their names; ``seed`` puts into a home what tools begin with.
    """

    project: Project
    options: Canonical
    offer: Offer
    source: Path
    place: Path
    keep: Path
    machine: dict[str, Value]
    prove: Callable[[Keepers | None], ProvenSandbox]
    bounds: BuildBounds
    without: HiddenTools
    downloads: Path
    networked: frozenset[str] = frozenset()
    time_limit: float | None = None
    roots: Mapping[str, Path] = field(factory=dict)
    seed: Callable[[Mapping[str, str], Path, Callable[[], None]], object] | None = None


@define
class LineOutput:
    """A log on its way to a terminal, line by line, whatever the pieces in which it comes."""

    show: Callable[[str], None]
    _decoder: codecs.IncrementalDecoder = field(factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    _rest: str = ""

    def write(self, data: bytes) -> None:
        """Show the lines that are whole by now."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        if lines:
            text = "\n".join(lines)
            self.show(block(text, len(text)))

    def end(self) -> None:
        """Show what came after the last end of a line."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if rest:
            self.show(block(rest, len(rest)))


@define
class NoMetaserver:
    """The ``ports.Uploads`` and ``ports.MetaserverLink`` where there is no metaserver: logs go to ``output``.

    All lengths are in bytes.
    """

    output: LineOutput
    length: int = 0

    async def append_log(self, url: str, ticket: str, offset: int, data: bytes, marks: Sequence[LogMark] = ()) -> int:
        """Show a piece of the log, which begins at byte ``offset``; return the log's length in bytes."""
        self.output.write(data)
        self.length = offset + len(data)
        return self.length

    async def upload(self, url: str, ticket: str, path: str, digest: str, size: int) -> None:
        """Raise Unavailable, whatever the bytes."""
        raise Unavailable("nothing is uploaded from a trial")

    async def tell(self, message: object, expected: type[T]) -> T:
        """Raise Unavailable."""
        raise Unavailable("a trial has no metaserver")


class Bench:
    """A place where one recipe is tried, several times; ``close`` removes it. Use it in the reactor's thread.

    ``sandbox`` is what commands run in.
    """

    def __init__(self, wanted: TrialRequest, reactor: ReactorBase, stop: StopRequest) -> None:
        """Prove the sandbox, which blocks for a tenth of a second."""
        self._wanted = wanted
        self._stop = stop
        self._closing = ExitStack()
        self._pool = Threads(reactor, THREADS, "trial")
        self._closing.callback(self._pool.stop, GRACE)
        self._sources = WorkingTree(wanted.source, wanted.place / "sources", self._pool)
        self._closing.callback(self._sources.close)
        slots = wanted.place / "slots"
        keepers = Keepers.where_possible(mark_for(slots))
        if keepers is not None:
            self._closing.callback(keepers.close)
        self.sandbox = wanted.prove(keepers)
        self._fetcher = HttpClient(reactor, HttpTimeouts())
        self._processes = Processes(reactor, keepers)
        self._slots = BuildSlots(slots, self._pool, wanted.machine, wanted.seed)
        self._reactor = reactor

    async def facts(self) -> TreeFacts:
        """Return what git says of the sources. Raises MachineFault."""
        return await self._sources.facts()

    async def declined(self, facts: TreeFacts) -> str:
        """Return why a build server would not take this now, "" if it would; mistakes of the project are told too."""
        silent = NoMetaserver(LineOutput(lambda _line: None))
        questions = ProjectQuestions(self._tools(silent), self._pool)
        try:
            _, mistake = await questions.ask(self._wanted.project, self._order(facts), lambda: 0)
        except Declined as error:
            return str(error)
        return "" if mistake is None else str(mistake)

    async def run(
        self, number: int, facts: TreeFacts, show: Callable[[str], None], planned: Callable[[Plan], None] | None = None
    ) -> TriedRun:
        """Return how run ``number`` (0 or 1) went; ``show`` takes its log, ``planned`` the plan.

        Raises MachineFault for an artifact that cannot be kept.
        """
        wanted, server = self._wanted, NoMetaserver(LineOutput(show))
        order = self._order(facts)
        work = AttemptWork(
            order=order,
            project=wanted.project,
            url="",
            tools=dict(wanted.offer.tools),
            slot=SLOTS[number],
            artifact_limit=wanted.project.artifact_limit,
            log_limit=wanted.project.log_limit,
            tickets=TicketHolder(order.build_id, order.epoch, server, Tickets("", "")),
        )
        run = AttemptRun(work, evolve(self._tools(server), planned=planned), self._pool)
        asked = Deferred.fromCoroutine(self._stop.asked())
        asked.addCallback(lambda reason: run.stop(AttemptEnd.ABORTED, reason))
        asked.addErrback(lambda failure: failure.trap(CancelledError))
        try:
            finished = await run.run()
            await finished.log.flush()
            server.output.end()
            return await self._pool.run(partial(self._kept, finished, number))
        finally:
            asked.cancel()
            await run.clear()

    async def compared(self, first: TriedRun, second: TriedRun) -> tuple[MemberDifference, ...]:
        """Return what differs in the artifacts of both runs. Raises MachineFault."""
        places = tuple(os.fsencode(self._wanted.place / "sources" / f"tree-{slot:d}") for slot in SLOTS)
        try:
            return await self._pool.run(
                partial(differences, Path(first.path), Path(second.path), (places[0], places[1]))
            )
        except (OSError, zipfile.BadZipFile) as error:
            raise MachineFault(f"the artifacts cannot be compared: {error}") from error

    async def close(self) -> None:
        """End everything and remove the place. Raises MachineFault."""
        await self._processes.stop_all("the trial ends")
        await self._fetcher.close()
        try:
            await self._pool.run(partial(remove_tree, self._wanted.place))
        except OSError as error:
            raise MachineFault(f"cannot remove {self._wanted.place}: {error.strerror or error}") from error
        finally:
            self._closing.close()

    # --- inside -----------------------------------------------------------------------------------------------

    def _order(self, facts: TreeFacts) -> Order:
        wanted = self._wanted
        return Order(
            build_id=1, epoch=1, project=wanted.project.name, source="", revision=facts.commit,
            recipe_version=wanted.project.recipe.version, options=wanted.options, platform=wanted.offer.platform,
            kind=wanted.offer.kind, log_ticket="", artifact_ticket="", log_url="",
        )  # fmt: skip

    def _tools(self, server: NoMetaserver) -> AttemptTools:
        return AttemptTools(
            sources=self._sources,
            commands=RecipeCommands(
                self._processes,
                self._pool,
                self._reactor,
                self.sandbox.sandboxes,
                self._wanted.bounds,
                roots=self._wanted.roots,
            ),
            workshop=self._slots,
            uploads=server,
            clock=self._reactor,
            environment={"PATH": self._wanted.without.path_for(sandboxed=self.sandbox.sandboxes is not None)},
            server="this machine",
            cpus=max(1, usable_processors()),
            time_limit=self._wanted.time_limit,
            downloads=DownloadCache(self._wanted.downloads, self._fetcher, self._pool),
            networked=self._wanted.networked,
            sandbox=self.sandbox.level,
        )

    def _kept(self, finished: FinishedBuild, number: int) -> TriedRun:
        """Return how a run ended, its artifact moved to where it is kept. Blocks."""
        end = finished.end
        if not isinstance(end, Done) or finished.artifact is None:
            how = AttemptEnd.BROKEN.value if isinstance(end, Done) else end.end.value
            return TriedRun(how, "" if isinstance(end, Done) else end.reason, log_tail=end.log_tail)
        keep = self._wanted.keep
        path = keep / (end.name if number == 0 else f"again-{end.name}")
        try:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.move(finished.artifact, path)
            with zipfile.ZipFile(path) as archive:
                members = tuple(
                    (f"{info.external_attr >> 16 & 0o7777:04o}", info.file_size, info.filename)
                    for info in archive.infolist()
                )
        except OSError as error:
            raise MachineFault(f"cannot keep {path}: {error.strerror or error}") from error
        return TriedRun(
            AttemptEnd.SUCCEEDED.value, "", end.name, str(path), end.size, end.digest, end.seconds, members,
            end.log_tail,
        )  # fmt: skip
