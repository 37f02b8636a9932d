"""Signing in, by a token or a mailed link, and out; the tokens of who has; and, for operators, what was done."""

from __future__ import annotations

from attrs import AttrsInstance, frozen
from twisted.internet.defer import CancelledError
from twisted.web.server import Request

from buildtool.errors import BuildToolError, Unavailable
from buildtool.model.access.rights import Act
from buildtool.ports.pages import A, EventLine
from buildtool.protocol.enrolment import CodeMailed
from buildtool.protocol.messages import Ok
from buildtool.protocol.operator import ActionResult
from buildtool.protocol.pages.visiting import (
    AskSignIn,
    AskTokens,
    EndToken,
    ListedToken,
    MakeToken,
    SignedIn,
    SignIn,
    SignOut,
    TokenList,
    TokenMade,
)

from ..access import shown_by, visitor_of
from ..answers import HTML, answer, number, query_value
from ..forms import browser_mark, read_form, say_next, see_other
from ..live.hub import LiveHub
from ..pages.common import moment
from ..pages.views import Moment
from ..section import Section, page
from ..sessions import check_mark, within_site

DAY = 86_400
LIVES = {"7": "a week", "30": "30 days", "90": "90 days", "365": "a year"}
EVENTS = 100


@frozen
class TokenRow:
    """A token or session in the list of who holds it."""

    one: ListedToken
    until: Moment


@frozen
class SignInPage:
    """The page of who signs in or has: by what, where they go then, what they hold, and a token just ``made``."""

    title: str
    to: str
    mark: str
    code: str = ""
    trouble: str = ""
    note: str = ""
    who: str = ""
    role: str = ""
    tokens: tuple[TokenRow, ...] = ()
    made: str = ""


@frozen
class AuditRow:
    """One thing that happened, as its page shows it."""

    line: EventLine
    at: Moment


@frozen
class AuditPage:
    """The page of what happened, the newest first, and where older things are."""

    rows: tuple[AuditRow, ...]
    older: str


class SignInSection(Section):
    """The pages of signing in and out."""

    @page(Act.SIGN_IN, "/sign-in")
    async def ask(self, request: Request) -> bytes:
        """Show how to sign in, or who has and what they hold."""
        return await self._page(request, to=within_site(query_value(request, "to"), self.parts.urls))

    @page(Act.SIGN_IN, "/sign-in", method="POST")
    async def by_token(self, request: Request) -> bytes:
        """Start a session by a token."""
        return await self._signed(request, "token", "")

    @page(Act.SIGN_IN, "/sign-in/mail", method="POST")
    async def want_mail(self, request: Request) -> bytes:
        """Send a link by mail that signs this browser in."""
        trouble = note = ""
        try:
            fields = read_form(request)
            check_mark(request, self.parts.jar, fields.get("mark", ""))
            by, browser = visitor_of(request), self.parts.jar.value(request, "browser")
            wish = AskSignIn("", by.address, by.trusted, fields.get("email", ""), browser)
            told = await self._told(wish, CodeMailed)
            note = f"A link was mailed to {told.email}. Open it in this browser, within half an hour."
        except BuildToolError as error:
            trouble = str(error)
        return await self._page(request, trouble=trouble, note=note)

    @page(Act.SIGN_IN, "/sign-in/<code>")
    async def ask_by_code(self, request: Request, code: str) -> bytes:
        """Show the button that signs in: what follows links by itself must not."""
        return await self._page(request, code=code)

    @page(Act.SIGN_IN, "/sign-in/<code>", method="POST")
    async def by_code(self, request: Request, code: str) -> bytes:
        """Start a session by the code of a mail."""
        return await self._signed(request, "", code)

    @page(Act.SIGN_IN, "/sign-out", method="POST")
    async def sign_out(self, request: Request) -> bytes:
        """End the session of this browser, or with ``everywhere`` all sessions and tokens."""
        jar, shown = self.parts.jar, shown_by(request)
        words = "You are signed out."
        try:
            fields = read_form(request)
            check_mark(request, jar, fields.get("mark", ""))
            if fields.get("everywhere") and self.parts.upstream.questions is not None:
                told = await self.parts.upstream.questions.act(shown, EndToken(), ActionResult)
                words = f"You are signed out everywhere: {told.count} tokens and sessions are ended."
            await self._told(SignOut(shown.secret, shown.by.address, shown.by.trusted), Ok)
            jar.set(request, "session", "", 0)
        except BuildToolError as error:
            words = f"You are still signed in: {error}"
        say_next(request, jar, words)
        return see_other(request, self.parts.urls.status())

    @page(Act.HOLD_TOKENS, "/tokens", method="POST")
    async def make_token(self, request: Request) -> bytes:
        """Make a token, and show it this once."""
        try:
            fields = read_form(request)
            check_mark(request, self.parts.jar, fields.get("mark", ""))
            days = fields.get("days", "")
            lasts = float(number(days, "day") * DAY) if days in LIVES else 90.0 * DAY
            if self.parts.upstream.questions is None:
                return await self._page(request, trouble="no metaserver is asked by these pages")
            wish = MakeToken(fields.get("label", ""), lasts, tuple(fields.get("acts", "").replace(",", " ").split()))
            made = await self.parts.upstream.questions.act(shown_by(request), wish, TokenMade)
        except BuildToolError as error:
            return await self._page(request, trouble=str(error))
        return await self._page(request, made=made.token)

    @page(Act.SEE_AUDIT, "/audit")
    async def audit(self, request: Request) -> bytes:
        """Show what happened, the newest first."""
        said, now = query_value(request, "before"), self.parts.clock.wall()
        last = (await self.parts.pages.overview(now)).last_event
        before = min(number(said, "event"), last + 1) if said else last + 1
        first = max(0, before - 1 - EVENTS)
        lines = [one for one in await self.parts.pages.events(first, EVENTS) if one.seq < before]
        rows = tuple(AuditRow(one, moment(one.at, now)) for one in reversed(lines))
        older = f"{self.parts.urls.prefix}/audit?before={first + 1}" if first else ""
        return self.shown(request, "audit", AuditPage(rows, older))

    # --- steps ----------------------------------------------------------------------------------------------

    async def _signed(self, request: Request, by: str, code: str) -> bytes:
        """Start a session, or show what is in the way."""
        jar = self.parts.jar
        try:
            fields = read_form(request)
            check_mark(request, jar, fields.get("mark", ""))
            visitor, browser = visitor_of(request), jar.value(request, "browser")
            label = request.getHeader("user-agent") or "a browser"
            token = fields.get("token", "").strip() if by else ""
            wish = SignIn(token, visitor.address, visitor.trusted, code, browser, label)
            told = await self._told(wish, SignedIn)
        except CancelledError:
            raise
        except BuildToolError as error:
            return await self._page(request, trouble=str(error), code=code)
        left = max(1, int(told.expires - self.parts.clock.wall()))
        jar.set(request, "session", told.session, left)
        jar.set(request, "browser", "", 0)  # what was known of this browser before gives nothing from now on
        say_next(request, jar, f"You are signed in as {told.name} ({told.role}).")
        return see_other(request, within_site(fields.get("to", ""), self.parts.urls))

    async def _told(self, message: AttrsInstance, answer: type[A]) -> A:
        if self.parts.upstream.questions is None:
            raise Unavailable("no metaserver is asked by these pages")
        return await self.parts.upstream.questions.tell(message, answer)

    async def _page(
        self, request: Request, *, to: str = "", code: str = "", trouble: str = "", note: str = "", made: str = ""
    ) -> bytes:
        shown, now = shown_by(request), self.parts.clock.wall()
        mark = browser_mark(request, self.parts.jar, shown, self.parts.tools.new_secret)
        rows: tuple[TokenRow, ...] = ()
        if shown.secret and self.parts.upstream.questions is not None:
            try:
                told = await self.parts.upstream.questions.act(shown, AskTokens(), TokenList)
                rows = tuple(TokenRow(one, moment(one.expires, now)) for one in told.found)
            except BuildToolError as error:
                trouble = trouble or str(error)
        if trouble:
            request.setResponseCode(403)
        shows = SignInPage(
            "You" if shown.secret else "Sign in", to or self.parts.urls.status(), mark, code, trouble, note,
            shown.by.name if shown.secret else "", shown.by.role.value, rows, made,
        )  # fmt: skip
        text = self.parts.templates["sign_in"].render(
            page=shows,
            section="",
            now=None,
            forms=self.forms(request, ""),
            said="",
            seq=request.getComponent(LiveHub, 0),
            live=request.method != b"POST",
        )
        return answer(request, text.encode(), HTML, "no-store")
