"""The requesters of a run: each asks until answered, goes on in a manner of their own, and fetches what came of it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from attrs import define, field
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from buildtool.adapters.control.client import Session
from buildtool.adapters.http.transfer_client import TransferClient
from buildtool.errors import (
    BuildToolError,
    CertificateExpired,
    Overloaded,
    RepositoryUnreachable,
    StorageUnavailable,
    Unavailable,
)
from buildtool.model.platforms import Value
from buildtool.ports.common import Executor
from buildtool.protocol.messages import (
    AskStatus,
    Cancel,
    Follow,
    RequestStatus,
    RequestStatuses,
    Submit,
    SubmitTogether,
)
from tests.chaos import judgement
from tests.chaos.keys import Person
from tests.chaos.script import Asked, Manner
from tests.chaos.sources import BROKEN, about

PASSING = (Unavailable, StorageUnavailable, RepositoryUnreachable, Overloaded, CertificateExpired)
"""Errors that are over some time: whoever gets one tries again. Certificates live for seconds here."""

_PAUSE, _LONGEST = 0.4, 2.0

T = TypeVar("T")


@define(eq=False)
class Post:
    """The mail that came, by address, for those who wait for theirs. Only in the reactor's thread."""

    _waiting: dict[str, Deferred[None]] = field(factory=dict)
    _mails: dict[str, dict[str, str]] = field(factory=dict)

    def came(self, address: str, message_id: str, outcome: str) -> None:
        """A mail has come."""
        self._mails.setdefault(address, {})[message_id] = outcome
        waiter = self._waiting.pop(address, None)
        if waiter is not None:
            waiter.callback(None)

    def of(self, address: str) -> dict[str, str]:
        """Return the outcomes that were told to an address, by Message-ID."""
        return self._mails.get(address, {})

    async def first(self, address: str) -> None:
        """Return when the first mail to ``address`` is there."""
        if address not in self._mails:
            waiter = self._waiting[address] = Deferred()
            await waiter


@define
class Around:
    """What all requesters of a run have around them: the sources, the post, a place for artifacts."""

    reactor: ReactorBase
    commits: list[str]
    local: dict[str, Value]
    post: Post
    executor: Executor
    directory: Path
    seed: int


@define(eq=False)
class Requester:
    """One requester. ``doing`` says what they are at, for when they do not come to an end."""

    asked: Asked
    around: Around
    person: Person
    told: judgement.Told = field(factory=judgement.Told)
    doing: str = "not yet begun"
    tries: int = 0

    async def live(self) -> None:
        """Ask, hear, fetch; what went wrong for good is noted in ``told``."""
        try:
            await self._live()
        except BuildToolError as error:
            self.told.wrong.append(f"it {self.doing}: {type(error).__name__}: {error}")
        self.doing = "has ended"

    async def _live(self) -> None:
        asked, email = self.asked, self.asked.email
        await self._rest(asked.at)
        told = await self._over(f"asks for {self._words()}", self._submit)
        over = all(one.answer in judgement.IN_ANSWER for one in told)
        self.told.answered(told[0].request_id, [one.state for one in told], over=over)
        if not over:
            match asked.manner:
                case Manner.CANCEL:
                    await self._rest(asked.hurry)
                    told = [await self._over("cancels", partial(self._cancel, told[0]))]
                case Manner.FOLLOW:
                    told = [await self._over("follows", partial(self._follow, told[0]))]
                case Manner.LEAVE:
                    await self._leave(told[0])
            if "cancellation" not in self.told.ends:
                self.doing = f"waits for the mail about request {told[0].request_id}"
                await self.around.post.first(email)
                told = [await self._over("asks how it stands", partial(self._status, one)) for one in told]
        for one, wish in zip(told, asked.wishes(), strict=True):
            self._judge(one, wish)
            if one.state == "satisfied":
                await self._again("fetches", partial(self._fetch, one, wish))
        self.told.fetched = True

    def close_the_book(self) -> None:
        """Note the mail that came, when no more will come."""
        for message_id, outcome in self.around.post.of(self.asked.email).items():
            self.told.mailed(message_id, outcome)

    # --- one try each -----------------------------------------------------------------------------------

    async def _submit(self, client: Session) -> list[RequestStatus]:
        messages = tuple(self._message(number, *wish) for number, wish in enumerate(self.asked.wishes()))
        if len(messages) == 1:
            return [await client.ask(messages[0], RequestStatus)]
        return list((await client.ask(SubmitTogether(messages), RequestStatuses)).items)

    def _message(self, which: int, variant: int, revision: int) -> Submit:
        asked, around = self.asked, self.around
        return Submit(
            client_id=hashlib.sha256(f"{around.seed}/{asked.number}/{which}".encode()).hexdigest()[:32],
            project="chaos",
            email=asked.email,
            source="",
            revision=f"r{revision}" if asked.tag else around.commits[revision],
            revrange="1" if asked.nearby else "",
            compile={"variant": variant},
            system={},
            local=around.local,
            force=asked.force,
        )

    async def _cancel(self, said: RequestStatus, client: Session) -> RequestStatus:
        now = await client.ask(Cancel(said.request_id, said.token), RequestStatus)
        self.told.cancelled(now.state)
        return now

    async def _status(self, said: RequestStatus, client: Session) -> RequestStatus:
        now = await client.ask(AskStatus(said.request_id, said.token), RequestStatus)
        self.told.stands(now.state)
        if now.state == judgement.WAITING:
            self.told.wrong.append(f"was mailed {self.around.post.of(self.asked.email)} while the request waits")
        return now

    async def _follow(self, said: RequestStatus, client: Session) -> RequestStatus:
        over: Deferred[RequestStatus | None] = Deferred()

        def hear(now: RequestStatus | None) -> None:
            if not over.called and (now is None or now.state != judgement.WAITING):
                over.callback(now)

        hear(await client.follow(Follow(said.request_id, said.token), hear))
        client.closed().addBoth(lambda _: hear(None))
        now = await over
        if now is None:
            raise Unavailable("the connection was lost while following")
        self.told.stands(now.state)
        return now

    async def _leave(self, said: RequestStatus) -> None:
        """Follow for a while, and hang up without a word."""
        self.doing = "follows for a while"
        try:
            client = await self.person.connected()
            await client.follow(Follow(said.request_id, said.token), lambda now: self.told.stands(now.state))
            await self._rest(self.asked.hurry)
            client.close()
        except PASSING:
            return

    async def _fetch(self, said: RequestStatus, wish: tuple[int, int]) -> None:
        found = said.artifact
        if found is None:
            self.told.wrong.append("is satisfied by no artifact")
            return
        path = self.around.directory / f"{self.asked.number}.zip"
        transfers = TransferClient(self.around.reactor, self.around.executor, farm=self.person.transfers)
        try:
            await transfers.fetch(found.url, str(path), found.size, found.digest, lambda _: None)
        finally:
            await transfers.close()
        if hashlib.sha256(path.read_bytes()).hexdigest() != found.digest:
            self.told.wrong.append(f"got bytes that differ from their digest {found.digest}")
        with zipfile.ZipFile(path) as packed:
            words = packed.read("about").decode()
        if words not in self._acceptable(*wish):
            self.told.wrong.append(f"asked for {about(*wish).strip()} and got {words.strip()!r}")
        path.unlink()

    # --- what is right ----------------------------------------------------------------------------------

    def _judge(self, said: RequestStatus, wish: tuple[int, int]) -> None:
        """Note an end that there should not be: the one broken variant always fails, no other ever does."""
        if said.state == ("satisfied" if wish[0] == BROKEN else "failed"):
            self.told.wrong.append(f"asked for {about(*wish).strip()}, and it {said.state}: {said.reason}")

    def _acceptable(self, variant: int, revision: int) -> set[str]:
        last, near = len(self.around.commits) - 1, 1 if self.asked.nearby else 0
        return {about(variant, one) for one in range(max(0, revision - near), min(last, revision + near) + 1)}

    def _words(self) -> str:
        return " and ".join(about(*wish).strip() for wish in self.asked.wishes())

    # --- trying again -----------------------------------------------------------------------------------

    async def _over(self, doing: str, act: Callable[[Session], Awaitable[T]]) -> T:
        """Do something over a connection, each time a new one, until it is done."""

        async def once() -> T:
            client = await self.person.connected()
            try:
                return await act(client)
            finally:
                client.close()

        return await self._again(doing, once)

    async def _again(self, doing: str, act: Callable[[], Awaitable[T]]) -> T:
        pause = _PAUSE
        while True:
            self.doing = doing
            try:
                return await act()
            except PASSING as error:
                self.doing = f"{doing} after {error}"
                self.tries += 1
            await self._rest(pause)
            pause = min(2 * pause, _LONGEST)

    async def _rest(self, seconds: float) -> None:
        await deferLater(self.around.reactor, seconds)
