"""Many builds or requests are ended at once: all of a project, a platform or a person that the caller may end.

What is meant is decided by ``scheduling/cancelling.py``, and whether the caller may end it by the table of rights, for
each of them. Each is an event of its own, so that no decision and no transaction grows with their number.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, gatherResults

from buildtool.errors import BuildToolError, InternalError, StorageUnavailable, UsageError
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.farm_status import shortened
from buildtool.model.access.rights import Act, Subject, known_platform, platform_names
from buildtool.model.addresses import valid_address
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Build, BuildSpec, BuildState, Request
from buildtool.ports.metaserver import Handlers
from buildtool.protocol.operator import AbortSeveral, CancelSeveral, SeveralEnded
from buildtool.scheduling import answers, events
from buildtool.scheduling.cancelling import Selection

T = TypeVar("T", Build, Request)

AT_ONCE = 100
"""How many are given to the broker at a time."""

MOST = 1_000
"""How many one call ends: who asks calls again for the others, so that no answer is waited for long."""


@frozen
class _Found:
    """What is meant: the ids of what the caller may end, and how many others are left alone."""

    ids: tuple[int, ...]
    left: int
    words: str = ""


@define(eq=False)
class SeveralService:
    """A service that ends many things at once. Every method raises BuildToolError for what cannot be done."""

    broker: Broker
    permissions: Permissions
    most: int = field(default=MOST)

    @property
    def handlers(self) -> Handlers:
        """What may be asked for."""
        return {AbortSeveral: self.abort, CancelSeveral: self.cancel}

    async def abort(self, by: Principal, message: AbortSeveral) -> SeveralEnded:
        """End open Builds. Raises UsageError, UnknownProject, StorageUnavailable."""
        found = await self._builds(by, self._selection(by, message))
        if message.only_count:
            return _counted(found)
        reason = _reason("aborted", by, message.reason)
        told = sum(len(self.broker.state.waiters(one)) for one in found.ids[: self.most])
        count = await self._end(found.ids, lambda one: events.BuildAborted(one, reason, by.name))
        ended = f"{_number(count, 'build is', 'builds are')} aborted"
        words = f"{ended}; {_number(told, 'request is', 'requests are')} told"
        return self._ended(found, count, words, message.said)

    async def cancel(self, by: Principal, message: CancelSeveral) -> SeveralEnded:
        """End Requests that wait; who they are of is mailed unless that is the caller.

        Raises UsageError, UnknownProject, StorageUnavailable.
        """
        found = await self._requests(by, self._selection(by, message))
        if message.only_count:
            return _counted(found)
        reason, requests = _reason("cancelled", by, message.reason), self.broker.state.requests

        def event(one: int) -> events.Event:
            request = requests.get(one)
            if request is None or request.email in (by.owner, by.name):
                return events.CancelRequested(one)
            return events.CancelRequested(one, reason, by.name or by.role.value)

        count = await self._end(found.ids, event)
        return self._ended(found, count, f"{_number(count, 'request is', 'requests are')} cancelled", message.said)

    # --- what is meant --------------------------------------------------------------------------------------

    def _selection(self, by: Principal, message: AbortSeveral | CancelSeveral) -> Selection:
        """Return what is meant. Raises UsageError for nothing in particular, UnknownProject."""
        if not (message.projects or message.platforms or message.people):
            raise UsageError("say of which project, platform or person: all of everybody is not ended at once")
        known = {one.spec.project for one in self.broker.state.builds.values()}
        for name in message.projects:
            if name not in known or not self.permissions.sees(by, name):
                self.permissions.settings.project(name, by)
        there = {name for one in self.broker.state.builds.values() for name in platform_names(one.spec.platform)}
        platforms = frozenset(known_platform(one, there) for one in message.platforms)
        people = frozenset(valid_address(one).lower() for one in message.people)
        return Selection(frozenset(message.projects), platforms, people, message.until)

    async def _builds(self, by: Principal, chosen: Selection) -> _Found:
        state = self.broker.state
        acts, ids, left, waiting = (Act.ABORT, Act.ABORT_SEVERAL), [], 0, 0
        async for build in self._each(state.builds):
            if not chosen.has_build(state, build) or not self._knows(by, chosen, build.spec):
                continue
            attempt = state.running_attempt(build) if build.state is BuildState.RUNNING else None
            owners = self.permissions.machines((attempt.server,) if attempt is not None else ())
            if self._may(by, acts, build.spec, owners):
                ids.append(build.id)
                waiting += len(state.waiters(build.id))
            else:
                left += 1
        said = f"{_number(len(ids), 'build is', 'builds are')} open that you may abort"
        told = f"; {_number(waiting, 'request waits', 'requests wait')} for {'it' if len(ids) == 1 else 'them'}"
        return _Found(tuple(sorted(ids)), left, said + (told if ids else ""))

    async def _requests(self, by: Principal, chosen: Selection) -> _Found:
        acts, ids, left = (Act.CANCEL, Act.CANCEL_SEVERAL), [], 0
        async for request in self._each(self.broker.state.requests):
            spec = request.demand.spec
            if not chosen.has_request(request) or not self._knows(by, chosen, spec, request.email):
                continue
            if self._may(by, acts, spec, frozenset({request.email} if request.email else ())):
                ids.append(request.id)
            else:
                left += 1
        return _Found(
            tuple(sorted(ids)), left, f"{_number(len(ids), 'request waits', 'requests wait')} that you may cancel"
        )

    async def _each(self, records: Mapping[int, T]) -> AsyncIterator[T]:
        """Yield the records that are there now, as long as they are; the reactor turns meanwhile."""
        turn = self.broker.turn.anew()
        for number in list(records):
            record = records.get(number)
            if record is not None:
                yield record
            await turn.breathe()

    def _knows(self, by: Principal, chosen: Selection, spec: BuildSpec, email: str = "") -> bool:
        """Return whether a caller may know that there is such a thing; who asks for what is for some only."""
        if not self.permissions.allows(by, Act.SEE_BUILD, spec):
            return False
        theirs = chosen.people <= {by.owner.lower()}  # as where nobody is named
        return theirs or self.permissions.allows(by, Act.SEE_REQUEST, spec, owner=email)

    def _may(self, by: Principal, acts: tuple[Act, ...], spec: BuildSpec, owners: frozenset[str]) -> bool:
        subject = Subject(owners, spec.project, platform_names(spec.platform))
        rights = self.permissions.settings.rights
        return all(rights.allows(by, act, subject) for act in acts)

    # --- ending it ------------------------------------------------------------------------------------------

    async def _end(self, ids: Sequence[int], event: Callable[[int], events.Event]) -> int:
        """End things, some at a time, and return how many had not ended yet. Raises StorageUnavailable."""
        count = 0
        for start in range(0, min(len(ids), self.most), AT_ONCE):
            asked = [self._changed(event(one)) for one in ids[start : min(start + AT_ONCE, self.most)]]
            ended = await gatherResults([Deferred.fromCoroutine(one) for one in asked], consumeErrors=True)
            failed = next((one for one in ended if isinstance(one, BuildToolError)), None)
            count += sum(one is True for one in ended)
            if failed is not None:
                raise StorageUnavailable(f"{failed}; {count} of {len(ids)} had ended before: say the same again")
        return count

    async def _changed(self, event: events.Event) -> bool | BuildToolError:
        try:
            answer = await self.broker.send(event)
        except BuildToolError as error:
            return error
        match answer:
            case answers.Acknowledged():
                return not answer.stale
            case answers.Cancelled():
                return answer.request is not None
            case _:
                raise InternalError("the metaserver answered the end of something with something else")

    def _ended(self, found: _Found, count: int, words: str, said: int) -> SeveralEnded:
        more = len(found.ids) > self.most
        gone = max(0, said - count) if not more else 0
        lines = [words]
        if gone:
            lines.append(f"{_number(gone, 'other', 'others')} had ended meanwhile")
        return SeveralEnded(tuple(lines + _left(found)), count, found.left, found.ids[-1] if found.ids else 0, more)


def _counted(found: _Found) -> SeveralEnded:
    last = found.ids[-1] if found.ids else 0
    return SeveralEnded((found.words, *_left(found)), len(found.ids), found.left, last)


def _left(found: _Found) -> list[str]:
    what, them = _number(found.left, "other is", "others are"), "it" if found.left == 1 else "them"
    return [f"{what} left alone: you have no right to end {them}"] if found.left else []


def _reason(ended: str, by: Principal, reason: str) -> str:
    """Return why something ended, for pages and mails: not who did it, which the events tell."""
    who = "the operator" if by.role is PrincipalRole.OPERATOR else f"somebody who may, as {by.role.value}"
    return f"{ended} by {who}{f': {shortened(reason)}' if reason else ''}"


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
