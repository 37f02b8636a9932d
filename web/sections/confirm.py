"""The pages that mails lead to: one confirms an address, the other ends mails.

Whoever reads them is known by nothing but the secret in the address, and what only follows links changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.web.server import Request

from buildtool.errors import BuildToolError, EncodeError
from buildtool.model.access.rights import Act
from buildtool.protocol.pages.subscriptions import AskSubscription, EndSubscription, SubscriptionStatus

from ..access import shown_by, visitor_of
from ..answers import HTML, answer, retry_after, status_of
from ..pages.views import ConfirmPage
from ..section import Section, page


class MailedSection(Section):
    """The pages that mails lead to."""

    @page(Act.CONFIRM, "/confirm/<code>")
    async def ask_to_confirm(self, request: Request, code: str) -> bytes:
        """Show the button that confirms a mail address: what follows links by itself must not confirm it."""
        text = "This confirms that you read mail at the address."
        return self._unkept(request, ConfirmPage("Is this your address?", text, button="Yes, confirm it"))

    @page(Act.CONFIRM, "/confirm/<code>", method="POST")
    async def confirm(self, request: Request, code: str) -> bytes:
        """Confirm the mail address that a code was mailed to."""

        async def confirmed() -> ConfirmPage | None:
            address, asked = visitor_of(request).address, self.parts.upstream.questions
            email = await asked.confirm(code, address) if asked is not None else None
            if email is None:
                return None
            return ConfirmPage("Thank you", f"{email} is confirmed: what was asked for there goes on.")

        refusal = ConfirmPage("Nothing was confirmed", "This is no code that was mailed from here.")
        return await self._answered(request, confirmed, refusal, "log in with the code")

    @page(Act.CONFIRM, "/unsubscribe/<token>")
    async def ask_to_unsubscribe(self, request: Request, token: str) -> bytes:
        """Show the button that ends mails like the one with this link, or the one that has them come again."""
        return await self._subscription(request, AskSubscription(token))

    @page(Act.CONFIRM, "/unsubscribe/<token>", method="POST")
    async def unsubscribe(self, request: Request, token: str) -> bytes:
        """End mails like the one with this link, as mail programs do by one click (RFC 8058), whatever they send."""
        return await self._subscription(request, EndSubscription(token))

    @page(Act.CONFIRM, "/subscribe/<token>", method="POST")
    async def subscribe(self, request: Request, token: str) -> bytes:
        """Resume mails like the one with this link."""
        return await self._subscription(request, EndSubscription(token, again=True))

    async def _subscription(self, request: Request, message: AskSubscription | EndSubscription) -> bytes:
        async def told() -> ConfirmPage | None:
            asked = self.parts.upstream.questions
            if asked is None:
                return None
            return self._shown_subscription(message, await asked.act(shown_by(request), message, SubscriptionStatus))

        refusal = ConfirmPage("Nothing was changed", "This is no link of a mail that was sent from here.")
        return await self._answered(request, told, refusal, "write to who runs the farm")

    def _shown_subscription(self, message: AskSubscription | EndSubscription, told: SubscriptionStatus) -> ConfirmPage:
        about, path = ", and ".join(told.about), self.parts.urls.path
        if told.ended:
            done = isinstance(message, EndSubscription)
            title = "You have unsubscribed" if done else "These mails have ended"
            text = f"No more mail goes to {told.email} about {about}."
            return ConfirmPage(title, text, "Have them again", path(f"/subscribe/{message.token}"))
        if isinstance(message, EndSubscription):
            text = f"Mail goes to {told.email} again about {about}."
            return ConfirmPage("You have these mails again", text, "End them", path(f"/unsubscribe/{message.token}"))
        text = f"No more mail goes to {told.email} then about {about}."
        return ConfirmPage("Do you want no more of these mails?", text, "End these mails")

    async def _answered(
        self, request: Request, asked: Callable[[], Awaitable[ConfirmPage | None]], refusal: ConfirmPage, instead: str
    ) -> bytes:
        """Return the page of what was ``asked``; ``refusal`` where its secret cannot even be sent on."""
        text = f"The metaserver does not answer: try again later, or {instead}."
        shown: ConfirmPage | None = None
        try:
            shown = await asked()
        except EncodeError:
            request.setResponseCode(403)
            shown = refusal
        except BuildToolError as error:
            request.setResponseCode(status_of(error))
            for name, value in retry_after(error).items():
                request.setHeader(name, value)
            shown = ConfirmPage(refusal.title, str(error))
        if shown is None:
            request.setResponseCode(503)
        return self._unkept(request, shown or ConfirmPage("Not now", text))

    def _unkept(self, request: Request, page: ConfirmPage) -> bytes:
        """Return a page that is kept nowhere, since its address is a secret."""
        text = self.parts.templates["confirm"].render(page=page, section="", now=None)
        return answer(request, text.encode(), HTML, "no-store")
