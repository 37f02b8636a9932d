"""Visitors of the pages: they make tokens, sign in by them or by a mailed link, act, watch, sign out, and try others'.

They come to the metaserver as the pages' process does, over its own network, with the real reader of sessions.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from attrs import AttrsInstance, define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.control.client import greet
from buildtool.adapters.control.page_questions import MetaserverQuestions
from buildtool.errors import BuildToolError, Unauthorised
from buildtool.model.access.identities import token_digest
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.pages import A, ShownVisitor
from buildtool.protocol.enrolment import CodeMailed
from buildtool.protocol.messages import AskHealth, HealthStatus, Ok
from buildtool.protocol.operator import ActionResult
from buildtool.protocol.pages.visiting import (
    AskSignIn,
    AskTokens,
    AskVisitor,
    EndToken,
    MakeToken,
    SignedIn,
    SignIn,
    SignOut,
    TokenList,
    TokenMade,
    VisitorStatus,
)
from buildtool.web.sessions import SessionReader
from tests.simulation.clock import Life
from tests.simulation.parties import Party

if TYPE_CHECKING:
    from tests.simulation.world import World

STRANGER = Principal(PrincipalRole.VISITOR, address="192.0.2.7")
SELDOM = 300.0
"""Seconds between two things that one of them does, at most."""

WATCHES = 240.0
"""Seconds for which somebody watches a page, at most."""

LYING_AROUND = 6
"""How many secrets are known that were thrown away."""

MAIL_ONLY = ("dee@example.org", "eli@example.org")
"""Who has no key, and signs in by mail alone."""

_LINK = re.compile(r"/sign-in/([a-z2-7-]+)")


@define(eq=False)
class OthersClock:
    """The wall clock of the pages' machine, which nobody sets."""

    world: World

    def wall(self) -> float:
        return self.world.clock_of_others()


@define(eq=False)
class Pages:
    """What a process of the pages asks the metaserver, and whom it believes. Secrets that were shown lie around."""

    world: World
    questions: MetaserverQuestions = field(init=False)
    sessions: SessionReader = field(init=False)
    thrown_away: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        life = Life(self.world.time, "pages")
        endpoint = self.world.front.network.endpoint(life, "pages", "meta")
        self.questions = MetaserverQuestions(endpoint, "meta:1", life)
        self.sessions = SessionReader(self.questions, OthersClock(self.world))


@define(eq=False)
class Visitor:
    """One person with a browser. ``email`` is where links are mailed to, ``party`` their key, if they have one."""

    world: World
    pages: Pages
    email: str
    party: Party | None
    life: Life
    rng: random.Random
    secrets: list[str] = field(factory=list)
    browser: str = ""
    busy: bool = False

    def start(self) -> None:
        """Begin: do something now and then, and see at the end what still holds."""
        self.busy = True
        self.world.keep(Deferred.fromCoroutine(self._live()).addErrback(self._wrong))

    def _wrong(self, failure: Failure) -> None:
        self.world.watch.wrong(f"{self.email} visits, and met a defect: {failure}")

    async def _live(self) -> None:
        while True:
            await self.life.pause(self.rng.uniform(5.0, SELDOM))
            if not self.world.faults.on:
                break
            self.world.faults.count("visit")
            try:
                await self._something()
            except BuildToolError as error:
                self.world.trace.say(self.email, f"is not served: {error.code}")
        await self._look_at_all()
        self.busy = False

    def _something(self) -> Awaitable[None]:
        ways: Sequence[Callable[[], Awaitable[None]]] = (
            self._make_by_key, self._make, self._sign_in, self._sign_in_by_mail, self._sign_in_by_mail, self._act,
            self._act, self._watch, self._watch, self._end_one, self._end_all, self._sign_out, self._hurry,
            self._others, self._others, self._is_thrown_out, self._another_key,
        )  # fmt: skip
        return self.rng.choice(ways)()

    # --- tokens and sessions ------------------------------------------------------------------------------------

    def _wish(self) -> MakeToken:
        acts = self.rng.choice(((), (), ("ping", "hold tokens"), ("ping",)))
        return MakeToken("a script", self.rng.choice((30.0, 600.0, 86_400.0)), acts)

    async def _make_by_key(self) -> None:
        """Make a token as who has a key."""
        if self.party is None:
            return
        await self.party.ready(self.life)
        session = await greet(self.party.endpoint(self.life), "meta:1", self.party.role.value, self.life)
        try:
            self._had((await session.ask(self._wish(), TokenMade)).token)
        finally:
            session.close()

    async def _make(self) -> None:
        """Make a token with another one, or in a session."""
        if secret := self._one():
            self._had((await self._asked(secret, self._wish(), TokenMade)).token)

    async def _sign_in(self) -> None:
        if text := self._one("bt_"):
            await self._signed_in(SignIn(text, STRANGER.address, False, "", "", "a browser"))

    async def _sign_in_by_mail(self) -> None:
        """Ask for a link, and follow it soon or late, once or twice, in this browser or in another."""
        self.browser = f"{self.rng.getrandbits(128):032x}"
        wish = AskSignIn("", STRANGER.address, False, self.email, self.browser)
        await self.pages.questions.tell(wish, CodeMailed)
        await self.life.pause(self.rng.choice((20.0, 200.0, 200.0, 2_000.0, 4_000.0)) * (0.5 + self.rng.random()))
        code = self._mailed(self.email)
        if not code:
            return
        browser = self.browser if self.rng.random() < 0.9 else "f" * 32
        message = SignIn("", STRANGER.address, False, code, browser, "a browser")
        if self.rng.random() < 0.5:
            self._beside(self._signed_in(message))
        await self._signed_in(message)
        if self.rng.random() < 0.5:  # the same link once more, by somebody who asked for one too
            await self.pages.questions.tell(wish, CodeMailed)
            await self._signed_in(message)

    def _mailed(self, email: str) -> str:
        for letter in reversed(self.world.mail.boxes[email]):
            if found := _LINK.search(letter.body):
                return found[1]
        return ""

    async def _signed_in(self, message: SignIn) -> None:
        self._had((await self.pages.questions.tell(message, SignedIn)).session)
        self.world.trace.say(self.email, "has signed in")

    def _had(self, text: str) -> None:
        self.secrets.append(text)
        del self.secrets[:-12]

    def _one(self, begins: str = "") -> str:
        """Return a secret that may hold or not, "" for none."""
        found = [one for one in self.secrets if one.startswith(begins)]
        return self.rng.choice(found) if found else ""

    # --- what they do with them -----------------------------------------------------------------------------------

    async def _asked(self, secret: str, message: AttrsInstance, answer: type[A]) -> A:
        return await self.pages.questions.act(ShownVisitor(STRANGER, secret), message, answer)

    async def _act(self) -> None:
        secret = self._one()
        if self.rng.random() < 0.5:
            await self._asked(secret, AskHealth(), HealthStatus)
        else:
            await self._asked(secret, AskTokens(), TokenList)

    async def _end_one(self) -> None:
        if secret := self._one():
            await self._ending(secret, self._asked(secret, EndToken(token_digest(secret)[:16]), ActionResult))

    async def _end_all(self) -> None:
        if self.rng.random() < 0.3 and (secret := self._one()):
            await self._ending(secret, self._asked(secret, EndToken(), ActionResult))

    async def _sign_out(self) -> None:
        if secret := self._one("bs_"):
            await self._ending(secret, self.pages.questions.tell(SignOut(secret, STRANGER.address, False), Ok))

    async def _ending(self, secret: str, act: Awaitable[object]) -> None:
        """End something, and try it once more, whether or not it is known to have ended."""
        try:
            await act
        finally:
            self.pages.thrown_away = [*self.pages.thrown_away, secret][-LYING_AROUND:]
            self._beside(self._asked(secret, AskHealth(), HealthStatus))

    async def _hurry(self) -> None:
        """Do several things in one moment: end a token while it is used to have others."""
        secret = self._one("bt_")
        if not secret:
            return
        sign_in = SignIn(secret, STRANGER.address, False, "", "", "a browser")
        acts: list[Awaitable[object]] = [
            self._make(),
            self._asked(secret, MakeToken("another", 600.0), TokenMade),
            self._asked(secret, EndToken(token_digest(secret)[:16]), ActionResult),
            self._signed_in(sign_in),
        ]
        self.rng.shuffle(acts)
        for act in acts:
            self._beside(act)

    async def _is_thrown_out(self) -> None:
        """The operator ends what this one has, who comes back by mail."""
        if self.party is None and self.rng.random() < 0.5:
            self.world.office.revoke(self.email)

    async def _another_key(self) -> None:
        """Lose the key, and have another one under the same name: what was made with the first ends with it."""
        if self.party is None or self.rng.random() < 0.5:
            return
        self.party.line = ""
        await self.party.forget(self.life)
        await self.party.ready(self.life)
        session = await greet(self.party.endpoint(self.life), "meta:1", self.party.role.value, self.life)
        session.close()
        for secret in self.secrets:
            self._beside(self._asked(secret, AskHealth(), HealthStatus))

    async def _watch(self) -> None:
        """Have a page open that looks again and again who shows a secret; rights may be taken away meanwhile."""
        secret = self._one()
        until = self.life.seconds() + self.rng.uniform(10.0, WATCHES)
        if secret and self.rng.random() < 0.5:
            self._beside(self._end_soon(secret))
        while secret and self.life.seconds() < until:
            since = self.life.seconds()
            try:
                by = await self.pages.sessions.read(STRANGER, secret)
            except Unauthorised:
                return
            self.world.visits.believed(token_digest(secret), by.name, since)
            await self.life.pause(self.rng.uniform(0.5, 9.0))

    async def _end_soon(self, secret: str) -> None:
        await self.life.pause(self.rng.uniform(1.0, 60.0))
        await self._ending(secret, self._asked(secret, EndToken(token_digest(secret)[:16]), ActionResult))

    # --- what is others' ------------------------------------------------------------------------------------------

    async def _others(self) -> None:
        """Try what others threw away, what was mailed to others, or what nobody was ever given."""
        rng = self.rng
        secret = rng.choice((*self.pages.thrown_away, "bt_guessed", f"bs_{'0' * 32}.{'0' * 32}"))
        code = self._mailed(rng.choice(self.world.visitors).email) or "abcd-efgh-ijkl-mnop"
        browser = f"{rng.getrandbits(128):032x}"
        tries: Sequence[Callable[[], Awaitable[object]]] = (
            lambda: self._asked(secret, AskHealth(), HealthStatus),
            lambda: self._asked(secret, MakeToken("mine", 600.0), TokenMade),
            lambda: self._signed_in(SignIn(secret, STRANGER.address, False, "", "", "another")),
            lambda: self._signed_in(SignIn("", STRANGER.address, False, code, browser, "another")),
        )
        await rng.choice(tries)()

    def _beside(self, act: Awaitable[object]) -> None:
        """Let something happen beside what else happens; that it is refused is its own business."""

        async def done() -> None:
            try:
                await act
            except BuildToolError as error:
                self.world.trace.say(self.email, f"is not served either: {error.code}")

        self.world.keep(Deferred.fromCoroutine(done()).addErrback(self._wrong))

    # --- at rest --------------------------------------------------------------------------------------------------

    async def _look_at_all(self) -> None:
        """Look which of the own secrets hold, when nothing goes wrong any more."""
        for secret in dict.fromkeys(self.secrets):
            while True:
                asked_of = self.world.lives
                try:
                    await self.pages.questions.tell(AskVisitor(secret, STRANGER.address, False), VisitorStatus)
                except Unauthorised as error:
                    if asked_of == self.world.lives:
                        self.world.visits.refused(secret, self.email, str(error))
                except BuildToolError:
                    await self.life.pause(15.0)
                    continue
                break


def visitors(world: World) -> list[Visitor]:
    """Return the visitors of a world in which keys are needed: some of those that have one, and others."""
    rng = random.Random(f"{world.seed} visitors")
    parties = {one.email: one.party for one in world.requesters if one.name != "unknown"}
    found = [*parties.items(), *((email, None) for email in MAIL_ONLY)]
    return [Visitor(world, world.pages, email, party, Life(world.time, email), rng) for email, party in found]
