"""The triggers of all projects: who is due looks at its repository, and what that comes to is asked for and kept.

It is asked for first and remembered afterwards. A metaserver that ends between the two asks again for the same, by the
same ids, and is told what it was told before.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import BuildToolError, StorageUnavailable, UnknownRef
from buildtool.metaserver.access.admittance import Admittance
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.demands import source_url
from buildtool.metaserver.hooking.owed import OwedLooks
from buildtool.metaserver.triggering.asking import TriggerAsker
from buildtool.model.principal import Principal
from buildtool.model.text import one_line
from buildtool.model.triggers.looking import (
    AT_ONCE,
    CommitWanted,
    Memory,
    begun,
    changes,
    due,
    put_off,
    remembered,
    righted,
)
from buildtool.model.triggers.schedule import Unscheduled
from buildtool.model.triggers.trigger import Trigger, short_ref
from buildtool.ports.common import Clock
from buildtool.ports.hooks import HookStore
from buildtool.ports.metaserver import Handlers
from buildtool.ports.triggers import RefReader, TriggerKey, TriggerStore
from buildtool.protocol.messages import RequestStatus, RequestStatuses, SubmitTogether
from buildtool.protocol.operator import ActionResult
from buildtool.protocol.projects.triggers import LISTED, AskTriggers, HookStatus, LookNow, TriggersFound, TriggerStatus

__all__ = ["Triggers"]

log = Logger()

Ask = Callable[[Principal, SubmitTogether], Awaitable[RequestStatuses]]
"""Accepts several Requests at once, as the service for requesters does."""

SOONEST, LATEST = 0.05, 60.0
"""Seconds between two rounds, which see who is due: at least, and at most, since the clock may be set."""

LOOKING = 1.0
"""Most seconds between two rounds while a repository is looked at, whose next look may be due at its end."""

NAMED = 3
"""At most so many refs are named in what came of a look."""

SAID_LIMIT = 300
"""The longest text of what came of a look, in characters."""


@frozen
class _Looking:
    """A trigger that looks: what it is, and what it remembers."""

    key: TriggerKey
    trigger: Trigger
    memory: Memory


@frozen
class _Asked:
    """The result of asking for one commit: what its ref is remembered as (None: as before), and what failed."""

    requests: Sequence[RequestStatus]
    settled: str | None
    failure: str = ""


@define(eq=False)
class Triggers:
    """The triggers of the configuration that holds now. ``secret`` makes ids that no requester can make.

    Repositories are looked at side by side, so that one that hangs holds up no other; each once at a time.
    """

    ask: Ask
    permissions: Permissions
    admittance: Admittance
    refs: RefReader
    store: TriggerStore
    clock: Clock
    secret: bytes
    hooks: HookStore
    hasten: Callable[[], None] = lambda: None
    """Called when a look has ended, after which another may be due."""
    delivered: Callable[[Sequence[str]], tuple[HookStatus, ...]] = lambda _projects: ()
    """Returns what was delivered to projects by their names."""
    _owed: OwedLooks = field(factory=OwedLooks, init=False)
    _memories: dict[TriggerKey, Memory] = field(factory=dict, init=False)
    _begun: set[TriggerKey] = field(factory=set, init=False)
    _hinted: set[TriggerKey] = field(factory=set, init=False)
    _looks: dict[str, Deferred[None]] = field(factory=dict, init=False)

    async def start(self) -> None:
        """Take up what triggers remember. Raises StorageUnavailable.

        Those that wait for deliveries look once, since some may have come while no metaserver ran.
        """
        self._memories.update(await self.store.memories())
        projects = self.permissions.settings.projects
        waiting = [(of, one) for of in projects for one in of.triggers if isinstance(one.schedule, Unscheduled)]
        self._hinted.update((of.name, one.name) for of, one in waiting)

    async def stop(self) -> None:
        """Return when no look is under way any more. What version control does has been ended before."""
        for one in tuple(self._looks.values()):
            await one

    @property
    def handlers(self) -> Handlers:
        """What may be asked."""
        return {AskTriggers: self.told, LookNow: self.look}

    async def told(self, by: Principal, message: AskTriggers) -> TriggersFound:
        """Return the triggers of the projects that a caller sees, and what came of them."""
        now, settings = self.clock.wall(), self.permissions.settings
        known = sorted(self._all(now), key=lambda one: one.key)
        seen = [one for one in known if settings.sees(by, one.key[0]) and "/".join(one.key) > message.after]
        found = tuple(self._status(one, now) for one in seen[:LISTED])
        projects = [one.name for one in settings.projects if settings.sees(by, one.name)]
        return TriggersFound(found, len(seen) > LISTED, () if message.after else self.delivered(projects))

    def _status(self, one: _Looking, now: float) -> TriggerStatus:
        trigger, memory = one.trigger, one.memory
        asked = memory.asked or None
        when, failing = str(trigger.schedule), memory.failures > 0
        due_at = self._due(one, now)
        return TriggerStatus(
            *one.key, when, trigger.patterns, len(trigger.variants), len(trigger.to), asked,
            due_at if math.isfinite(due_at) else None, memory.said, failing,
        )  # fmt: skip

    async def round_(self, _task: PeriodicTask) -> float:
        """Start the looks that are due; return after how many seconds the next are."""
        now = self.clock.wall()
        by_url: dict[str, list[_Looking]] = {}
        next_due = now + LATEST
        known = self._all(now)
        await self._settle({one.key for one in known})
        for one in known:
            url, when = self._url(one), self._due(one, now)
            if url in self._looks:
                continue  # it says when it has ended
            if when <= now:
                by_url.setdefault(url, []).append(one)
            next_due = min(next_due, when)
        for url, together in by_url.items():
            self._begin(url, together)
        await self._note_begun()
        if self._looks:
            next_due = min(next_due, now + LOOKING)
        elif by_url:
            next_due = now
        return max(SOONEST, next_due - now)

    def _all(self, now: float) -> list[_Looking]:
        found = []
        for project in self.permissions.settings.projects:
            for trigger in project.triggers:
                key = (project.name, trigger.name)
                memory = self._memories.get(key)
                if memory is None:
                    memory = begun(trigger, now)
                    self._begun.add(key)
                self._memories[key] = memory = righted(trigger, memory, now)
                found.append(_Looking(key, trigger, memory))
        return found

    async def _note_begun(self) -> None:
        """Write down since when schedules are there, so that the first time of one is made up for too."""
        for key in tuple(self._begun):
            memory = self._memories[key]
            if not memory.fresh:
                try:
                    await self.store.remember(key, memory)
                except StorageUnavailable:
                    return  # the next round does it
            self._begun.discard(key)

    def _due(self, one: _Looking, now: float) -> float:
        return due(one.trigger, one.memory, now, hinted=one.key in self._hinted)

    async def look(self, by: Principal, message: LookNow) -> ActionResult:
        """Start looks for what was pushed or tagged; schedules wait for their time.

        Raises UnknownProject, Unauthorised, LimitReached.
        """
        self.admittance.explanation(by)
        project = self.permissions.project(by, message.project)
        looking = {(project.name, one.name) for one in project.triggers if not one.past}
        if not looking:
            return ActionResult(
                (f"{project.name} has no triggers of pushes or tags: nothing is looked at",), changed=False
            )
        self._hinted |= looking
        self.hasten()
        return ActionResult((f"the triggers of {project.name} look now",), count=len(looking))

    def hint(self, name: str, number: int) -> None:
        """Start the looks of a project after a delivery, which is open until they have ended well."""
        project = next((one for one in self.permissions.settings.projects if one.name == name), None)
        if project is not None:
            looking = [one.name for one in project.triggers if not one.past]
            self._owed.hint(name, looking, number)
            self._hinted.update((name, one) for one in looking)
            self.hasten()

    async def _settle(self, known: Collection[TriggerKey]) -> None:
        """Write down after which deliveries looks were made. Where that cannot be written, the next round does it."""
        for project, number in self._owed.settle(known).items():
            try:
                await self.hooks.looked(project, number)
            except StorageUnavailable:
                return
            self._owed.settled(project, number)

    def _url(self, one: _Looking) -> str:
        """Return where a trigger looks, or, where its project cannot say, what is no URL and the trigger's own."""
        try:
            return source_url(self.permissions.settings.project(one.key[0]), one.trigger.source)
        except BuildToolError:
            return "\0".join(one.key)

    def _begin(self, url: str, together: list[_Looking]) -> None:
        look = Deferred.fromCoroutine(self._look(url, together))
        if look.called:
            return

        def ended(_result: object) -> None:
            del self._looks[url]
            if not self._looks:  # each round goes through all triggers: not one for each of many looks
                self.hasten()

        self._looks[url] = look
        look.addCallback(ended)

    async def _look(self, url: str, together: list[_Looking]) -> None:
        self._hinted.difference_update(one.key for one in together)
        owed = self._owed.begin(one.key for one in together)
        try:
            for one in together:  # where a project's configuration cannot say where its sources are, it says so here
                source_url(self.permissions.settings.project(one.key[0]), one.trigger.source)
            found = await self.refs.tips(url)
        except Exception as error:  # noqa: BLE001 - a defect is logged, and the look put off as any that fails
            why = self._why(error, together[0])
            for one in together:
                await self._keep(one, put_off(one.memory, why, self.clock.wall()))
            return
        for one in together:
            await self._ask_for(one, url, found)
            if not self._memories[one.key].failures and one.key not in self._hinted:
                self._owed.end(owed, one.key)

    async def _ask_for(self, one: _Looking, url: str, found: Mapping[str, str]) -> None:
        """Ask for what a look came to, and remember it."""
        settled: dict[str, str] = {}
        asked: dict[str, Sequence[RequestStatus]] = {}
        failure = ""
        wanted = changes(one.trigger, one.memory, found)
        for change in wanted:
            result = await self._ask_one(one, url, change)
            failure = result.failure
            if result.settled is not None:
                settled[change.ref] = result.settled
            if failure:
                break
            if result.requests:
                asked[change.ref] = result.requests
        now, said = self.clock.wall(), _asked_words(asked)
        if asked:
            log.info("trigger {name} of {project}: {said}", project=one.key[0], name=one.key[1], said=said)
        memory = remembered(one.trigger, one.memory, found, settled, now, said)
        if failure:
            # Until all that was wanted is asked for, ids stay what they are: of two addresses one may have been told.
            before = one.memory
            kept = evolve(memory, looked=before.looked, asked=before.asked, failures=before.failures)
            memory = put_off(kept, failure, now)
        elif len(wanted) == AT_ONCE:
            self._hinted.add(one.key)  # there is more than one look may ask for
        await self._keep(one, memory)

    async def _ask_one(self, one: _Looking, url: str, change: CommitWanted) -> _Asked:
        """Ask for all of one commit, for each address."""
        asker = TriggerAsker(one.key[0], one.trigger, self.secret, one.memory.asked)
        told: list[RequestStatus] = []
        try:
            for message in asker.messages(change):
                told += (await self.ask(asker.principal, message)).items
        except UnknownRef:
            # It is gone by now, which the next look sees, or it never was anything to build.
            return _Asked((), change.commit if await self._still(url, change) else None)
        except Exception as error:  # noqa: BLE001 - a defect is logged, and ends no look of others
            # Where one address was told of it, the ref is asked for next time whatever it is then.
            return _Asked(told, "" if told else None, self._why(error, one))
        revisions = {one.revision for one in told}  # which may be newer than what was listed
        # Where it moved between two addresses, it is asked for again, whatever it is then.
        return _Asked(told, revisions.pop() if len(revisions) == 1 else "")

    async def _still(self, url: str, change: CommitWanted) -> bool:
        """Return whether a ref that could not be resolved is there as it was listed."""
        try:
            return (await self.refs.tips(url)).get(change.ref) == change.commit
        except BuildToolError:
            return False

    def _why(self, error: Exception, one: _Looking) -> str:
        """Return why a look failed, for people; a defect is logged."""
        if isinstance(error, BuildToolError):
            return _said(str(error))
        log.failure("the look of trigger {name} of {project} failed", project=one.key[0], name=one.key[1])
        return "what it wants could not be found out or asked for: the metaserver's log says why"

    async def _keep(self, one: _Looking, memory: Memory) -> None:
        """Remember what came of a look. Where that cannot be written, the look is made again."""
        if memory.failures and memory.said != one.memory.said:
            log.warn("trigger {name} of {project}: {said}", project=one.key[0], name=one.key[1], said=memory.said)
        if evolve(memory, looked=one.memory.looked) != one.memory or one.trigger.past or one.memory.fresh:
            try:
                await self.store.remember(one.key, memory)
            except Exception as error:  # noqa: BLE001 - as above
                memory = put_off(one.memory, self._why(error, one), self.clock.wall())
        self._memories[one.key] = memory


def _said(text: str) -> str:
    return one_line(text, SAID_LIMIT)


def _asked_words(asked: Mapping[str, Sequence[RequestStatus]]) -> str:
    """Return what was asked for, in a line for people."""
    if not asked:
        return ""
    some = [f"{short_ref(ref)} at {told[0].revision[:12]}" for ref, told in list(asked.items())[:NAMED]]
    if len(asked) > NAMED:
        some.append(f"{len(asked) - NAMED} more")
    requests = [status.request_id for told in asked.values() for status in told]
    numbers = f"request {requests[0]}" if len(requests) == 1 else f"requests {min(requests)} to {max(requests)}"
    return _said(f"asked for {', '.join(some)}: {numbers}")
