"""Ask for a build, follow it, fetch and verify what came of it; and go on where a connection was lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import TypeVar

import attrs
from attrs import define, field, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buildtool.concurrency.backoff import Backoff
from buildtool.errors import BadUpload, BuildToolError, NotFound, Unauthorised, Unavailable, UsageError
from buildtool.model.lifecycle import RequestState
from buildtool.model.matching.acceptance import refusal
from buildtool.model.names import ARTIFACT_NAME_WORDS, is_artifact_name, is_digest
from buildtool.model.project_options import Followed
from buildtool.model.trust.evidence import ANYTHING, Evidence, EvidencePolicy
from buildtool.ports.requester import Console, Destination, Downloads, MetaserverClient, Tone
from buildtool.protocol.hello import AskRequests
from buildtool.protocol.messages import (
    AskExplain,
    AskStatus,
    AskWhy,
    Cancel,
    Explanation,
    FoundArtifact,
    RequestStatus,
    RequestStatuses,
    Submit,
    SubmitTogether,
)
from buildtool.requester.follow import ChangeLines, FollowedRequest, LogShower
from buildtool.requester.listing import NONE_HERE, listed, only_from_here
from buildtool.requester.matrix import RequestWatch, answered_together, news, table
from buildtool.requester.outcome import ExitCode, RequestResult, exit_of_state
from buildtool.requester.text import (
    addressee,
    answered,
    clean,
    ended,
    explained,
    how_to_go_on,
    raised,
    standing,
    waits,
    where_to_look,
)

TRIES = 6
"""How often a submission or a download is tried in all, when connections are lost."""

PATIENCE = 3_600.0
"""Seconds without any connection after which somebody who follows gives up; the request goes on without them."""

_RETRY = Backoff(0.5, 15.0)


T = TypeVar("T", bound=attrs.AttrsInstance)


@frozen
class RequestPlan:
    """A plan: send ``submit``, wait for the end if ``foreground``, fetch the artifact if ``download``."""

    submit: Submit
    foreground: bool = False
    download: bool = True


@define(eq=False)
class Requester:
    """A run of the program. ``connect`` makes connections; ``program`` is how the command is called in hints.

    ``wall`` returns wall time. ``told`` is the status of the Request as far as is known, for an interruption; None
    until it was accepted.
    """

    connect: Callable[[], Awaitable[MetaserverClient]]
    downloads: Downloads
    console: Console
    place: Destination
    timers: IReactorTime
    wall: Callable[[], float]
    program: str = "bin/startcompile.py"
    owner: str = ""
    _followed: FollowedRequest | None = field(default=None, init=False)
    _client: MetaserverClient | None = field(default=None, init=False)

    @property
    def told(self) -> RequestStatus | None:
        return self._followed.told if self._followed is not None else None

    async def ask(self, plan: RequestPlan) -> RequestResult:
        """Ask, and wait and fetch as wished. Raises BuildToolError when nothing was accepted."""
        try:
            began = self.timers.seconds()
            told = await self._sent(plan.submit, RequestStatus)
            milliseconds = (self.timers.seconds() - began) * 1_000
            changes = ChangeLines(self.console, self.timers)
            self._followed = FollowedRequest.fresh(told, self.console, changes, self.wall)
            self._say([*answered(told, milliseconds), *raised(plan.submit, told)])
            if waits(told):
                self._say(how_to_go_on(told, plan.submit.email or self.owner, self.program))
                if plan.foreground:
                    told = await self._follow(self._followed)
                    changes.sum_up()
            if told.answer not in ("hit", "known-failure") and not waits(told):
                _tell_end(self.console, told)
            return await self._fetched(told, milliseconds, download=plan.download)
        finally:
            self._disconnect()

    async def ask_together(self, plans: Sequence[RequestPlan]) -> list[RequestResult]:
        """Ask for several builds at once, wait and fetch as wished. Raises BuildToolError when none is taken."""
        submits = [plan.submit for plan in plans]
        try:
            began = self.timers.seconds()
            answered_all = await self._sent(SubmitTogether(tuple(submits)), RequestStatuses)
            milliseconds = (self.timers.seconds() - began) * 1_000
            changes = ChangeLines(self.console, self.timers)
            watch = RequestWatch(
                list(answered_all.items), lambda told: changes.moved(told, news(told)), self.console.say
            )
            self._say(answered_together(submits, watch.told, milliseconds, self.program))
            if watch.goes_on():
                self.console.say(f"mail will go to {addressee(submits[0].email or self.owner)} when all have ended")
            if plans[0].foreground:
                await self._hear_all(watch)
                changes.sum_up()
            results = [
                await self._fetched(told, milliseconds, download=plan.download)
                for told, plan in zip(watch.told, plans, strict=True)
            ]
            self._say(table(submits, results))
            return results
        finally:
            self._disconnect()

    async def follow(
        self, message: AskStatus, *, wait: bool, download: bool, policy: EvidencePolicy = ANYTHING
    ) -> RequestResult:
        """Take up a Request that was made before: say how it stands, wait for its end, and fetch what came of it.

        What is not known to meet ``policy`` is not fetched. Without ``wait`` one that has not ended is left alone.
        Raises BuildToolError.
        """
        try:
            began = self.timers.seconds()
            told = await (await self._connected()).ask(message, RequestStatus)
            milliseconds = (self.timers.seconds() - began) * 1_000
            changes = ChangeLines(self.console, self.timers)
            self._followed = FollowedRequest(told, self.console, changes, self.wall)
            if waits(told):
                self._say([standing(told), *where_to_look(told, self.program)])
                if not wait:
                    return RequestResult(ExitCode.WAITING, told, milliseconds)
                told = await self._follow(self._followed)
                changes.sum_up()
            _tell_end(self.console, told)
            return await self._fetched(told, milliseconds, download=download, policy=policy)
        finally:
            self._disconnect()

    async def log(self, message: AskStatus, *, failed_step: bool) -> RequestResult:
        """Show the log of a Request's build as far as there is one, or the step that failed. Raises BuildToolError."""
        told, milliseconds = await self.asked(message, RequestStatus)
        url, start, end = told.log_url, 0, None
        if not url:
            raise NotFound(f"request {told.request_id} has no log: nothing was built for it")
        if failed_step:
            step = next((one for one in await self.downloads.phases(url) if one.failed), None)
            if step is None:
                raise NotFound(f"no step of build {told.build_id} failed, as far as its log tells (--failed-step)")
            start, end = step.start, step.end
        while end is None or start < end:
            data, _ = await self.downloads.log(url, start, 0.0)
            if not data:
                break
            self.console.log(data if end is None else data[: end - start])
            start += len(data)
        return RequestResult(ExitCode.OK, told, milliseconds)

    async def requests(self, message: AskRequests, own: Sequence[AskStatus] = ()) -> list[RequestResult]:
        """Show the newest Requests of the own key; where none is shown, those of ``own``, the newest first.

        Raises BuildToolError.
        """
        began = self.timers.seconds()
        try:
            told, _ = await self.asked(message, RequestStatuses)
            items: Sequence[RequestStatus] = told.items
        except UsageError as error:  # who it is that asks, nobody knows
            if not own:
                raise UsageError(f"{clean(str(error))}; {NONE_HERE}") from error
            try:
                items = await _each(await self._connected(), own[: message.most])
            finally:
                self._disconnect()
            self._say([only_from_here(len(items), len(own[: message.most]))])
        milliseconds = (self.timers.seconds() - began) * 1_000
        self._say(listed(items, self.wall()))
        return [RequestResult(ExitCode.OK, one, milliseconds) for one in items]

    async def page(self, message: AskStatus, shown: Callable[[str], None]) -> RequestResult:
        """Print where the page of a Request's build is, and have it ``shown``. Raises BuildToolError."""
        told, milliseconds = await self.asked(message, RequestStatus)
        if not told.page_url:
            raise NotFound(f"request {told.request_id} has no build yet, so there is no page of one")
        self.console.say(clean(told.page_url))
        shown(told.page_url)
        return RequestResult(ExitCode.OK, told, milliseconds)

    async def cancel(self, message: Cancel) -> RequestResult:
        """End a Request. Raises BuildToolError."""
        told, milliseconds = await self.asked(message, RequestStatus)
        self._say(ended(told))
        cancelled = told.state == RequestState.CANCELLED.value
        return RequestResult(ExitCode.OK if cancelled else exit_of_state(told), told, milliseconds)

    async def explain(self, message: AskExplain, follows: Sequence[Followed] = ()) -> RequestResult:
        """Ask what would be answered, without submitting anything; what ``follows`` from its options is said too.

        Raises BuildToolError.
        """
        said, milliseconds = await self.asked(message, Explanation)
        self._say(explained(said, follows))
        return RequestResult(ExitCode.OK, milliseconds=milliseconds, explanation=said)

    async def why(self, message: AskWhy) -> RequestResult:
        """Ask why a Request waits. Raises BuildToolError."""
        said, milliseconds = await self.asked(message, Explanation)
        self._say(explained(said))
        return RequestResult(ExitCode.OK, milliseconds=milliseconds, explanation=said)

    # --- connections ------------------------------------------------------------------------------------

    async def _connected(self) -> MetaserverClient:
        if self._client is None:
            self._client = await self.connect()
        return self._client

    async def asked(self, message: attrs.AttrsInstance, expected: type[T]) -> tuple[T, float]:
        """Ask once, and return the answer and in how many milliseconds it was there. Raises BuildToolError."""
        began = self.timers.seconds()
        try:
            answer = await (await self._connected()).ask(message, expected)
        finally:
            self._disconnect()
        return answer, (self.timers.seconds() - began) * 1_000

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _sent(self, message: attrs.AttrsInstance, expected: type[T]) -> T:
        """Send a submission, and send it again where the answer was lost: it is the same request every time."""
        tries, tried, sent = _RETRY.begin(), 0, False
        while True:
            tried += 1
            try:
                client = await self._connected()
                sent = True
                return await client.ask(message, expected)
            except Unavailable as error:
                self._disconnect()
                if not sent or tried == TRIES:
                    raise
                delay = tries.next_delay()
                self.console.say(f"{clean(str(error))}; the same request is sent again in {delay:g} s")
            await deferLater(self.timers, delay)

    # --- following --------------------------------------------------------------------------------------

    async def _follow(self, followed: FollowedRequest) -> RequestStatus:
        """Wait for the end of the Request and return it. Raises Unavailable after ``PATIENCE``."""
        shower = LogShower(followed, self.downloads, self.console, self.timers)
        showing = shower.start()
        followed.show()
        try:
            await self._hear_all(followed)
            await shower.finish(showing)
        finally:
            showing.addErrback(lambda failure: failure.trap(CancelledError) and None)
            showing.cancel()
        return followed.told

    async def _hear_all(self, watched: FollowedRequest | RequestWatch) -> None:
        """Follow what waits until all of it has ended, over as many connections as it takes."""
        tries, lost_at, away = _RETRY.begin(), self.timers.seconds(), False
        while watched.goes_on():
            try:
                client = await self._connected()
                reason = await watched.hear_over(client, self.timers.seconds() - lost_at if away else None)
                lost_at, away = self.timers.seconds(), True
                tries.reset()
            except Unavailable as error:
                reason = str(error)
            self._disconnect()
            if not watched.goes_on():
                return
            if self.timers.seconds() - lost_at > PATIENCE:
                raise Unavailable(f"{clean(reason)}; the request goes on: look at the pages")
            away, delay = True, tries.next_delay()
            self.console.say(f"the metaserver is away ({clean(reason)}); trying again in {delay:g} s")
            await deferLater(self.timers, delay)

    # --- fetching ---------------------------------------------------------------------------------------

    async def _fetched(
        self, told: RequestStatus, milliseconds: float, *, download: bool, policy: EvidencePolicy = ANYTHING
    ) -> RequestResult:
        found, code = told.artifact, exit_of_state(told)
        if told.state != RequestState.SATISFIED.value:
            return RequestResult(code, told, milliseconds)
        if found is None:
            gone = NotFound("the artifact is no longer kept: ask again")
            return RequestResult(ExitCode.DOWNLOAD, told, milliseconds, error=gone)
        if unmet := refusal([Evidence(found.sandbox)], policy):
            return RequestResult(ExitCode.DOWNLOAD, told, milliseconds, error=NotFound(unmet))
        return await self.brought(found, told.project, RequestResult(code, told, milliseconds), download=download)

    async def brought(
        self, found: FoundArtifact, project: str, there: RequestResult, *, download: bool
    ) -> RequestResult:
        """Return a result with what came of fetching an artifact of a project, if that is wished."""
        if not download:
            self.console.say(f"it is at {clean(found.url)}")
            return there
        try:
            return attrs.evolve(there, path=await self._fetch(found, project))
        except BuildToolError as error:
            return attrs.evolve(there, exit=ExitCode.DOWNLOAD, error=error)

    async def _fetch(self, found: FoundArtifact, project: str) -> str:
        """Return the path of a project's artifact, fetched and verified. Raises what fetching raises, and BadUpload.

        A build server chose its name: where that is the file's, only what is called like the project's is replaced.
        """
        if not is_artifact_name(found.name):
            named = f"the metaserver names the artifact {clean(found.name)[:80]!r}"
            raise BadUpload(f"{named}, which is no name of one ({ARTIFACT_NAME_WORDS}): tell its operator")
        if not is_digest(found.digest):
            raise BadUpload(f"the metaserver tells no SHA-256 of the artifact, but {clean(found.digest)!r}")
        path = await self.place.choose(found.name)
        if await self.place.holds(path, found.size, found.digest):
            self.console.say(f"{path} is there already, with the right digest")
            return path

        replaced = await self.place.occupied(path)
        own = found.name.startswith(f"{project.lstrip('-')}-") or PurePath(path).name != found.name
        if replaced and not own:
            raise BadUpload(f"{path} is there, and {found.name} is no name that {project} has: say --output FILE")

        def progress(received: int) -> None:
            self.console.downloading(found.name, received, found.size)

        tries = _RETRY.begin()
        for tried in range(1, TRIES + 1):
            try:
                await self.downloads.fetch(found.url, path, found.size, found.digest, progress)
                break
            except Unavailable as error:
                if tried == TRIES:
                    raise
                delay = tries.next_delay()
                self.console.say(f"{clean(str(error))}; trying again in {delay:g} s")
            await deferLater(self.timers, delay)
        instead = ", in place of what was there" if replaced else ""
        self.console.say(f"wrote {path}{instead}, its digest verified")
        return path

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            self.console.say(line)


def _tell_end(console: Console, told: RequestStatus) -> None:
    first, *more = ended(told)
    console.say(first, Tone.GOOD if told.state == RequestState.SATISFIED.value else Tone.BAD)
    for line in more:
        console.say(line)


async def _each(client: MetaserverClient, messages: Sequence[AskStatus]) -> list[RequestStatus]:
    """Return how each of some Requests stands that is still kept. Raises Unavailable."""
    found = []
    for one in messages:
        with suppress(NotFound, Unauthorised):
            found.append(await client.ask(one, RequestStatus))
    return found
