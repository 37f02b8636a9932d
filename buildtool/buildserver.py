"""The build server's shell: takes orders or declines them, keeps its slots, and tells how each Attempt ended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from buildtool.attempt import Run, Tools, Work, brief
from buildtool.domain.model import AttemptEnd, Offer
from buildtool.errors import BuildToolError, Declined, StorageUnavailable, Unavailable
from buildtool.ports import Executor, MetaserverLink
from buildtool.project import Checked, Project
from buildtool.protocol import AbortOrder, Accepted, Done, Ended, Ok, Order, RenewTickets, Tickets, Welcome

# A full id of git, or of Subversion.
_COMMIT = re.compile(r"(?:[0-9a-f]{40}(?:[0-9a-f]{24})?|r[1-9][0-9]{0,9})\Z")
_TELL_FIRST, _TELL_MOST = 0.5, 15.0

Key = tuple[int, int]
"""Build and epoch."""


@frozen
class Offered:
    """What this build server takes: its projects by name, its platforms, how many builds at once."""

    projects: Mapping[str, Project]
    offers: Sequence[Offer]
    max_builds: int


@define
class _Open:
    """An Attempt that was taken and not yet told to have ended. ``run`` is None until it is accepted."""

    order: Order
    slot: int
    session: int
    run: Run | None = None
    told: bool = False
    aborted: str = ""


class BuildServer:
    """Implements ``ports.Orders``. Call it in the reactor's thread."""

    _log = Logger()

    def __init__(self, offered: Offered, tools: Tools, link: MetaserverLink, pool: Executor) -> None:
        """``pool`` is where client checkers run, since they may look at the disk."""
        self._offered = offered
        self._tools = tools
        self._link = link
        self._pool = pool
        self._free = list(range(offered.max_builds))
        self._open: dict[Key, _Open] = {}
        self._welcome: Welcome | None = None
        self._stopping = ""
        self._waiting: list[Deferred[None]] = []

    @property
    def running(self) -> int:
        """How many Attempts have a slot."""
        return self._offered.max_builds - len(self._free)

    # --- what the metaserver asks -----------------------------------------------------------------------

    async def build(self, order: Order) -> Accepted:
        """Take an Attempt, which then goes on by itself. Raises Declined with the reason for not taking it."""
        try:
            return await self._take(order)
        except Declined as error:
            words = {"build": order.build_id, "epoch": order.epoch, "project": order.project, "why": str(error)}
            self._log.info("build {build}.{epoch} of {project} declined: {why}", **words)
            raise

    async def _take(self, order: Order) -> Accepted:
        accepted = Accepted(order.build_id, order.epoch)
        key = (order.build_id, order.epoch)
        welcome = self._welcome
        if welcome is None:
            raise Declined("there is no session yet")
        if key in self._open:
            if self._open[key].session == welcome.session:
                return accepted  # the order was sent twice
            raise Declined("an earlier session's run of this build is still being stopped")
        if self._stopping:
            raise Declined(self._stopping)
        project, offer, url = self._understood(order)
        if not self._free:
            raise Declined(f"busy: {self.running} of {self._offered.max_builds} builds are running")
        held = _Open(order, self._free.pop(0), welcome.session)
        self._open[key] = held
        try:
            await self._ask_checkers(project, order)
            self._check_wanted(held)  # much may have happened while the checkers looked around
        except BaseException:
            self._release(held)
            self._forget(key)
            raise
        work = Work(
            order=order,
            project=project,
            url=url,
            tools=dict(offer.tools),
            slot=held.slot,
            artifact_limit=min(project.artifact_limit, welcome.artifact_limit),
            log_limit=min(project.log_limit, welcome.log_limit),
            renew=partial(self._renew, order),
        )
        held.run = Run(work, self._tools)
        self._log.info("build {build}.{epoch} of {project} begins", build=key[0], epoch=key[1], project=order.project)
        # The answer goes out first: the metaserver hears that the build was taken before anything else of it.
        self._later(held.run, key, held)
        return accepted

    async def abort(self, order: AbortOrder) -> Ok:
        """Stop an Attempt; its end is told when its processes are gone."""
        held = self._open.get((order.build_id, order.epoch))
        if held is None:
            return Ok(stale=True)
        held.aborted = brief(order.reason) or "aborted"
        self._log.info("build {build} is stopped: {why}", build=order.build_id, why=held.aborted)
        if held.run is not None:
            held.run.stop(AttemptEnd.ABORTED, held.aborted)
        return Ok()

    def connected(self, welcome: Welcome) -> None:
        """A Session is open."""
        self._welcome = welcome

    def disconnected(self, reason: str) -> None:
        """The Session ended: what was running is stopped and dropped, since nobody waits for it any more."""
        self._welcome = None
        for held in self._open.values():
            held.told = True
            if held.run is not None:
                held.run.stop(AttemptEnd.LOST, reason)
                held.run.log.abandon()

    # --- its owner --------------------------------------------------------------------------------------

    async def hand_back(self, reason: str) -> None:
        """Take no more orders, stop what runs, tell it as returned, and return when all of it is gone and told."""
        self._stopping = reason
        for held in self._open.values():
            if held.run is not None:
                held.run.stop(AttemptEnd.RETURNED, reason)
        while self._open:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter

    # --- inside -----------------------------------------------------------------------------------------

    def _understood(self, order: Order) -> tuple[Project, Offer, str]:
        """Return what this machine's own configuration says about an order. Raises Declined."""
        project = self._offered.projects.get(order.project)
        if project is None:
            known = ", ".join(sorted(self._offered.projects)) or "none"
            raise Declined(f"not configured for project {order.project!r}, only for {known}")
        if project.recipe.version != order.recipe_version:
            has = f"has recipe {project.recipe.version} of {order.project}"
            raise Declined(f"{has}, needs {order.recipe_version}: update config.py")
        wanted = (order.platform, order.kind)
        offer = next((one for one in self._offered.offers if (one.platform, one.kind) == wanted), None)
        if offer is None:
            raise Declined("does not offer this platform any more")
        if not _COMMIT.match(order.revision):
            raise Declined(f"{order.revision[:80]!r} is not the full id of a commit or revision")
        try:
            values = project.options.compile_values(dict(order.options))
            url = project.path_to_url(order.source)
        except (BuildToolError, LookupError) as error:
            raise Declined(brief(str(error.args[0] if error.args else error))) from error
        except Exception as error:
            self._log.failure("path_to_url of {project} raised", project=order.project)
            raise Declined(f"path_to_url of {order.project} raised {type(error).__name__} here") from error
        if values != order.options:
            differs = f"describes the options of {order.project} differently"
            raise Declined(f"{differs}: update config.py or buildtool itself")
        return project, offer, url

    def _check_wanted(self, held: _Open) -> None:
        if self._stopping or held.aborted:
            raise Declined(self._stopping or held.aborted)
        if self._welcome is None or self._welcome.session != held.session:
            raise Declined("the session has ended")

    async def _ask_checkers(self, project: Project, order: Order) -> None:
        """Raise Declined with what a client checker of the project says."""
        if not project.client_checkers:
            return
        machine = await self._tools.workshop.machine()
        checked = Checked(
            project=order.project,
            revision=order.revision,
            options=dict(order.options),
            platform=dict(order.platform),
            machine=machine,
            running=self.running - 1,
        )
        for checker in project.client_checkers:
            name = getattr(checker, "__name__", "a client checker")
            try:
                reason = await self._pool.run(partial(checker, checked))
            except Exception as error:
                self._log.failure("{checker} of {project} raised", checker=name, project=project.name)
                raise Declined(f"{name} of {project.name} raised {type(error).__name__} here") from error
            if reason is not None:
                raise Declined(brief(str(reason)) or f"{name} of {project.name} says no")

    def _later(self, run: Run, key: Key, held: _Open) -> None:
        """Start the Attempt in the reactor's next turn."""
        started = deferLater(self._tools.clock, 0, lambda: Deferred.fromCoroutine(self._see_through(run, key, held)))
        started.addErrback(lambda failure: self._log.failure("a defect in build {build}", failure, build=key[0]))

    async def _see_through(self, run: Run, key: Key, held: _Open) -> None:
        try:
            end = await run.run()
        finally:
            # Free before it is told: the next order may arrive together with the answer.
            self._release(held)
        try:
            words = end.end.value if isinstance(end, Ended) else AttemptEnd.SUCCEEDED.value
            why = f": {end.reason}" if isinstance(end, Ended) else ""
            self._log.info("build {build}.{epoch} {words}{why}", build=key[0], epoch=key[1], words=words, why=why)
            await self._tell(end, held)
        finally:
            self._forget(key)

    async def _tell(self, end: Done | Ended, held: _Open) -> None:
        """Say how an Attempt ended, as long as the Session is open in which it was ordered."""
        delay = _TELL_FIRST
        while not held.told:
            try:
                await (self._link.done(end) if isinstance(end, Done) else self._link.ended(end))
            except Unavailable:
                return  # the Session is gone, and the Attempt with it
            except StorageUnavailable as error:
                self._log.warn("the metaserver cannot store build {build}: {why}", build=end.build_id, why=str(error))
                await deferLater(self._tools.clock, delay, lambda: None)
                delay = min(2 * delay, _TELL_MOST)
            except BuildToolError as error:
                self._log.warn("the end of build {build} is not taken: {why}", build=end.build_id, why=str(error))
                if isinstance(end, Ended):
                    return
                why = brief(f"the artifact was not taken: {error}")
                end = Ended(end.build_id, end.epoch, AttemptEnd.BROKEN, why, end.log_tail)
            else:
                return

    async def _renew(self, order: Order) -> Tickets:
        return await self._link.renew(RenewTickets(order.build_id, order.epoch))

    def _release(self, held: _Open) -> None:
        self._free.append(held.slot)
        self._free.sort()

    def _forget(self, key: Key) -> None:
        del self._open[key]
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)
