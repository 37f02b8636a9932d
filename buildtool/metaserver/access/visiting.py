"""What visitors of the pages and of the API may have done: the metaserver itself finds out who they are.

The pages have no rights of their own, and cannot give themselves any: who a visitor is follows from the secret that was
shown, and what they may from the table of rights. Tested by tests/metaserver/access/test_visiting.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import AttrsInstance, define, field

from buildtool.concurrency.asker import Asker, asker, working_for
from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import BuildToolError, Unauthorised, UsageError
from buildtool.metaserver.access.tokens import TokenService
from buildtool.model.access.visitors import visitor
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.metaserver import Handlers
from buildtool.ports.pages import A, ShownVisitor
from buildtool.protocol.enrolment import AddressShown, CodeMailed, ShowCode, ShowCodeFor
from buildtool.protocol.messages import AskBuild, AskHealth, Explanation, HealthStatus, Ok
from buildtool.protocol.pages import visiting as messages

__all__ = ["LocalQuestions", "VisitorService"]

PAGES = "pages"
"""Against whose share of time that counts which visitors of this machine ask."""

BELIEVED = 10.0
"""Seconds for which the pages may believe who a visitor is without asking again."""


def unlimited(_by: Principal) -> tuple[messages.LimitLeft, ...]:
    """Return no limit of a caller."""
    return ()


@define(eq=False)
class VisitorService:
    """A service for the pages: what they ask is asked by the visitor that they name, who shows that it is them.

    ``people`` are the handlers of people and ``keys`` those about keys, behind the table of rights. ``left`` returns
    what a caller has left of what is limited. ``hooks`` take deliveries, which prove themselves.
    """

    configuration: CurrentConfiguration
    people: Handlers
    keys: Handlers
    tokens: TokenService
    left: Callable[[Principal], tuple[messages.LimitLeft, ...]] = unlimited
    hooks: Handlers = field(factory=dict)

    @property
    def handlers(self) -> Handlers:
        """What the pages may ask."""
        return {
            messages.ActFor: self.act,
            messages.AskVisitor: self.who,
            messages.AskSignIn: self.ask_sign_in,
            messages.SignIn: self.sign_in,
            messages.SignOut: self.sign_out,
            messages.AskBuildFor: self.build_for,
            messages.AskHealthFor: self.health_for,
            ShowCodeFor: self.confirm_for,
            **self.hooks,
        }

    async def act(self, _by: Principal, message: messages.ActFor) -> Any:  # noqa: ANN401 - any message
        """Perform what a visitor asks for. Raises Unauthorised, and whatever that act raises."""
        by = self.visitor(message)
        if message.asserted and not message.token:
            identity = self.configuration.settings.front.identity
            by = identity.principal(identity.said([message.asserted]), by)
        return await self.done(by, message.act)

    async def done(self, by: Principal, act: AttrsInstance) -> Any:  # noqa: ANN401 - any message
        """Perform what a visitor asks for, who is known already. Raises Unauthorised, and whatever that act raises."""
        pages, asks = asker(), Asker(by.address or PAGES)
        stays = pages.when_gone(asks.leave)
        try:
            with working_for(asks):
                return await self._done(by, act)
        finally:
            stays()

    async def _done(self, by: Principal, act: AttrsInstance) -> Any:  # noqa: ANN401 - any message
        if isinstance(act, ShowCode):
            handler = self.keys.get(ShowCode)
            if handler is None:
                raise Unauthorised("no address needs to be confirmed here: whoever can connect is believed")
            return await handler(Principal(PrincipalRole.JOINING, address=by.address), act)
        handler = self.people.get(type(act))
        if handler is None:
            raise UsageError("this metaserver does not do that: it knows nobody by a key (see the setting trusted)")
        return await handler(by, act)

    # --- what pages of protocol 3.0 ask, and ``AskHealthFor`` where nobody in particular asks -----------------

    async def build_for(self, _by: Principal, message: messages.AskBuildFor) -> Explanation:
        """Return how an open Build stands. Raises NotFound, Unauthorised."""
        told: Explanation = await self.done(self.stranger(message), AskBuild(message.build_id))
        return told

    async def health_for(self, _by: Principal, message: messages.AskHealthFor) -> HealthStatus:
        """Return whether the metaserver can do its work. Raises Unauthorised."""
        told: HealthStatus = await self.done(self.stranger(message), AskHealth())
        return told

    async def confirm_for(self, _by: Principal, message: ShowCodeFor) -> AddressShown:
        """Confirm the mail address that a code was mailed to. Raises Unauthorised, LimitReached."""
        told: AddressShown = await self.done(visitor(message.address, trusted=False), ShowCode(message.code))
        return told

    # --- who a visitor is -----------------------------------------------------------------------------------

    async def who(self, _by: Principal, message: messages.AskVisitor) -> messages.VisitorStatus:
        """Return who a visitor is. Raises Unauthorised."""
        return self.status(self.visitor(message))

    def status(self, by: Principal) -> messages.VisitorStatus:
        """Return what the pages are told of a visitor."""
        shown = self.tokens.book.of.get(by.token)
        until = self.tokens.clock.wall() + BELIEVED
        return messages.VisitorStatus(
            by.role.value, by.name, by.owner, by.limits.projects, by.limits.platforms, by.limits.acts,
            min(until, shown.expires) if shown is not None else until, self.left(by),
        )  # fmt: skip

    async def ask_sign_in(self, _by: Principal, message: messages.AskSignIn) -> CodeMailed:
        """Send a code by mail that signs a browser in. Raises UsageError, Unauthorised, LimitReached."""
        return await self.tokens.ask_sign_in(self.stranger(message), message)

    async def sign_in(self, _by: Principal, message: messages.SignIn) -> messages.SignedIn:
        """Start a session of a visitor. Raises Unauthorised, LimitReached, StorageUnavailable."""
        return await self.tokens.sign_in(self.stranger(message), message)

    async def sign_out(self, _by: Principal, message: messages.SignOut) -> Ok:
        """End the session that a visitor shows. Raises StorageUnavailable."""
        return await self.tokens.sign_out(self.stranger(message), message)

    def stranger(self, message: Any) -> Principal:  # noqa: ANN401 - any message that names a visitor
        """Return who a visitor is as long as nothing is shown; who is trusted, the setting says."""
        trusts = message.trusted and not self.configuration.settings.needs_keys
        return visitor(message.address, trusted=trusts)

    def visitor(self, message: Any) -> Principal:  # noqa: ANN401 - any message that names a visitor
        """Return who a visitor is by what they showed. Raises Unauthorised where that does not hold."""
        nobody = self.stranger(message)
        return self.tokens.bearer(message.token, nobody) if message.token else nobody


@define
class LocalQuestions:
    """The ``ports.Questions`` of pages that run inside the metaserver, and their ``web.health.HealthSource``.

    A visitor without a token is who their connection proved, which is known here, or who a proxy says.
    """

    service: VisitorService

    async def act(self, shown: ShownVisitor, message: AttrsInstance, answer: type[A]) -> A:
        told = await self.service.done(self._by(shown), message)
        if not isinstance(told, answer):
            raise UsageError(f"{type(message).__name__} is answered with another kind of message")
        return told

    async def tell(self, message: AttrsInstance, answer: type[A]) -> A:
        handler = self.service.handlers.get(type(message))
        if handler is None:
            raise UsageError("this metaserver does not do that")
        told = await handler(Principal(PrincipalRole.PAGES), message)
        if not isinstance(told, answer):
            raise UsageError(f"{type(message).__name__} is answered with another kind of message")
        return told

    async def confirm(self, code: str, network: str) -> str | None:
        by = ShownVisitor(Principal(PrincipalRole.VISITOR, address=network))
        return (await self.act(by, ShowCode(code), AddressShown)).email

    async def why(self, build_id: int, visitor: ShownVisitor) -> Explanation | None:
        try:
            return await self.act(visitor, AskBuild(build_id), Explanation)
        except BuildToolError:
            return None

    async def health(self, visitor: ShownVisitor) -> HealthStatus | None:
        """Return the health of the metaserver, None where a visitor may not ask for it."""
        try:
            return await self.act(visitor, AskHealth(), HealthStatus)
        except Unauthorised:
            return None

    def _by(self, shown: ShownVisitor) -> Principal:
        return self.service.tokens.bearer(shown.secret, shown.by) if shown.secret else shown.by
