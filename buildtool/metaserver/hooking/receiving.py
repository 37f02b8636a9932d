"""Takes deliveries of forges: whose word each is, what it says, and whether it came before; then a look is hinted at.

The pages pass on what came and know no secret. It is written down before it is answered, and told to the triggers only
then: of what was answered well a look is owed, which a metaserver makes that is started anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.settings import Settings
from buildtool.errors import BuildToolError, DecodeError
from buildtool.metaserver.demands import source_url
from buildtool.model.hooks.delivery import HookDelivery, mark_of
from buildtool.model.hooks.events import HookEvent, Pinged, Unheeded, words_of_event
from buildtool.model.hooks.signing import HOOK_LIMIT, HookRefusal, RefusedHook, event_of, forge_of, id_of, proved
from buildtool.model.metrics import table
from buildtool.model.metrics.counts import Counts
from buildtool.model.principal import Principal
from buildtool.model.text import one_line, size_words
from buildtool.ports.common import Clock
from buildtool.ports.hooks import HookStore
from buildtool.ports.metaserver import Handlers
from buildtool.protocol.hooks.messages import DeliverHook, HookAnswered, unpacked_body
from buildtool.protocol.hooks.payload import Payload, event_in, payload_of, repositories_in, repository_key
from buildtool.protocol.projects.triggers import HookStatus, RefusalCount

__all__ = ["HookReceiver"]

log = Logger()

STATUSES: Mapping[HookRefusal, int] = {
    HookRefusal.FORGED: 401,
    HookRefusal.UNSIGNED: 401,
    HookRefusal.PLAIN: 401,
    HookRefusal.MALFORMED: 400,
    HookRefusal.OVERSIZED: 413,
    HookRefusal.NOT_HERE: 404,
}
"""The status that each refusal is answered with."""

_OK, _TAKEN = 200, 202
_SAID = 300

WARNED = 60.0
"""Fewest seconds between two lines of the log about refusals of one project: who holds no secret writes them."""


@frozen
class _Refusals:
    """The deliveries of a project that were refused, since the metaserver started: how many, and the last."""

    counted: Counter[HookRefusal] = field(factory=Counter)
    last: str = ""
    at: float = 0.0
    warned: str = ""
    warned_at: float = -WARNED


@define(eq=False)
class HookReceiver:
    """A service for the pages: takes what forges deliver. ``hinted`` is told the project and number of each, once."""

    configuration: CurrentConfiguration
    store: HookStore
    clock: Clock
    counts: Counts
    hinted: Callable[[str, int], None]
    _newest: dict[str, HookDelivery] = field(factory=dict, init=False)
    _refused: dict[str, _Refusals] = field(factory=dict, init=False)

    async def start(self) -> None:
        """Take up what was delivered last, and hint at what no look was made after. Raises StorageUnavailable."""
        self._newest.update(await self.store.newest())
        for project, number in (await self.store.open()).items():
            self.hinted(project, number)

    @property
    def handlers(self) -> Handlers:
        """What the pages may ask."""
        return {DeliverHook: self.deliver}

    async def deliver(self, _by: Principal, message: DeliverHook) -> HookAnswered:
        """Take a delivery, and return how it is answered. Raises StorageUnavailable where it cannot be written down."""
        try:
            too_large = message.size > HOOK_LIMIT or not message.body
            body = b"" if too_large else unpacked_body(message.body)
            found = self._proved(message, body)
            if isinstance(found, RefusedHook):
                return self._refuse(message.project, found)
            project, told = found
            headers = message.headers
            told = payload_of(body, headers.get("content-type", "")) if told is None else told
            event = event_in(forge_of(headers), event_of(headers), told)
        except DecodeError as error:
            why = RefusedHook(HookRefusal.MALFORMED, f"the body cannot be read: {error}")
            return self._refuse(message.project, why)
        return await self._take(project, message, body, event)

    async def _take(self, project: str, message: DeliverHook, body: bytes, event: HookEvent) -> HookAnswered:
        """Write down what was proved and read, and hint at it."""
        if isinstance(event, Pinged):
            return self._answer(project, "ping", _OK, f"deliveries to {project} work: this one is signed by its secret")
        if isinstance(event, Unheeded):
            return self._answer(project, "ignored", _OK, f"{words_of_event(event)}: leave it out at the forge")
        headers, said = message.headers, one_line(words_of_event(event), _SAID)
        taken = HookDelivery(
            project, mark_of(headers, body), forge_of(headers), id_of(headers), said, self.clock.wall()
        )  # fmt: skip
        number = await self.store.take(taken)
        if not number:
            return self._answer(project, "repeated", _TAKEN, "this was delivered before, and nothing is new")
        self._newest[project] = taken
        self.hinted(project, number)
        log.info("hook of {project}: {said}", project=project, said=said)
        return self._answer(project, "taken", _TAKEN, f"{project} looks at its repository: {said}")

    def _proved(self, message: DeliverHook, body: bytes) -> tuple[str, Payload | None] | RefusedHook:
        """Return the project whose delivery it is, proved by one of its secrets, with what it says where that was read.

        One that takes no deliveries is answered as one whose secret another is: who may not see it learns nothing.
        Raises DecodeError.
        """
        settings = self.configuration.settings
        known = settings.hook_secrets
        if not known.by_project:
            return RefusedHook(
                HookRefusal.NOT_HERE, "no project takes deliveries here: the operator names files in hook_secrets"
            )
        if message.size > HOOK_LIMIT or (message.size and not body):
            most = size_words(HOOK_LIMIT)
            return RefusedHook(HookRefusal.OVERSIZED, f"the delivery is too large: at most {most} are taken")
        names = [message.project] if message.project else list(known.by_project)
        refused: RefusedHook | None = None
        good = []
        for name in names:
            refused = proved(message.headers, body, known.of(name), by_tls=message.by_tls)
            if refused is None:
                good.append(name)
        if len(good) == 1:
            return good[0], None
        if not good and refused is not None:
            return refused
        told = payload_of(body, message.headers.get("content-type", ""))
        of = [name for name in good if repository_of(settings, name) in repositories_in(told)]
        if len(of) == 1:
            return of[0], told
        return RefusedHook(
            HookRefusal.NOT_HERE,
            f"{len(good)} projects have this secret, and {len(of) or 'none'} of them this repository: "
            "deliver to /hook/PROJECT",
        )

    def _answer(self, project: str, outcome: str, status: int, words: str) -> HookAnswered:
        self.counts.add(table.HOOKS, project, outcome)
        return HookAnswered(status, words)

    def _refuse(self, project: str, refused: RefusedHook) -> HookAnswered:
        known = project if self.configuration.settings.hook_secrets.of(project) else ""
        before = self._refused.get(known, _Refusals())
        before.counted[refused.why] += 1
        now = self.clock.wall()
        now_told = evolve(before, last=refused.words, at=now)
        if before.warned != refused.words and abs(now - before.warned_at) >= WARNED:
            log.warn("a delivery to {project} is refused: {why}", project=known or "no project", why=refused.words)
            now_told = evolve(now_told, warned=refused.words, warned_at=now)
        self._refused[known] = now_told
        return self._answer(known or table.OTHER, refused.why.value, STATUSES[refused.why], refused.words)

    def status(self, projects: Sequence[str]) -> tuple[HookStatus, ...]:
        """Return what was delivered to those of these projects that take deliveries, and what was refused."""
        return tuple(self._status(one) for one in projects if self.configuration.settings.hook_secrets.of(one))

    def _status(self, project: str) -> HookStatus:
        last, refused = self._newest.get(project), self._refused.get(project, _Refusals())
        counted = tuple(RefusalCount(why.value, count) for why, count in sorted(refused.counted.items(), key=str))
        return HookStatus(
            project, None if last is None else last.at, "" if last is None else f"{last.forge.value}: {last.said}",
            counted, refused.at or None, refused.last,
        )  # fmt: skip


def repository_of(settings: Settings, project: str) -> str:
    """Return the repository of a project as ``repository_key`` writes it, "" where its configuration cannot say."""
    try:
        return repository_key(source_url(settings.project(project), ""))
    except BuildToolError:
        return ""
