"""The page that confirms a mail address."""

from __future__ import annotations

from twisted.web.server import Request

from buildtool.errors import BuildToolError, EncodeError
from buildtool.model.access.rights import Act

from ..access import visitor_of
from ..answers import HTML, answer, retry_after, status_of
from ..pages.views import ConfirmPage
from ..section import Section, page


class ConfirmSection(Section):
    """The page that confirms a mail address."""

    @page(Act.CONFIRM, "/confirm/<code>")
    async def ask_to_confirm(self, request: Request, code: str) -> bytes:
        """Show the button that confirms a mail address: what follows links by itself must not confirm it."""
        shown = ConfirmPage("Is this your address?", "This confirms that you read mail at the address.", button=True)
        return self._unkept(request, shown)

    @page(Act.CONFIRM, "/confirm/<code>", method="POST")
    async def confirm(self, request: Request, code: str) -> bytes:
        """Confirm the mail address that a code was mailed to."""
        shown = ConfirmPage("Not now", "The metaserver does not answer: try again later, or log in with the code.")
        try:
            address, asked = visitor_of(request).address, self.parts.upstream.questions
            email = await asked.confirm(code, address) if asked is not None else None
        except EncodeError:
            request.setResponseCode(403)
            shown = ConfirmPage("Nothing was confirmed", "This is no code that was mailed from here.")
        except BuildToolError as error:
            request.setResponseCode(status_of(error))
            for name, value in retry_after(error).items():
                request.setHeader(name, value)
            shown = ConfirmPage("Nothing was confirmed", str(error))
        else:
            if email is not None:
                shown = ConfirmPage("Thank you", f"{email} is confirmed: what was asked for there goes on.")
            else:
                request.setResponseCode(503)
        return self._unkept(request, shown)

    def _unkept(self, request: Request, page: ConfirmPage) -> bytes:
        """Return a page that is kept nowhere, since its address is a secret."""
        text = self.parts.templates["confirm"].render(page=page, section="", now=None)
        return answer(request, text.encode(), HTML, "no-store")
