"""The form that asks for builds: it says what would come of it, and sends what the API's ask sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.web.server import Request

from buildtool.errors import BuildToolError, NotFound, Unauthorised, Unavailable, UsageError
from buildtool.model.access.rights import Act
from buildtool.model.options import canonical_json
from buildtool.model.project_options import ProjectOptions
from buildtool.model.search.build_query import TOKENS_LIMIT, BuildQuery
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.pages import Questions
from buildtool.protocol import codec
from buildtool.protocol import messages as m

from ..access import shown_by, visitor_of
from ..answers import query_value, retry_after, status_of, words_of
from ..forms import browser_mark, client_id, read_pairs, say_next, see_other
from ..live.projects import KnownProjects
from ..pages import words
from ..pages.asking import wish as w
from ..pages.asking.form import ask_page, known_platforms
from ..pages.asking.would import EXPLAINED, WouldCard, WouldPart, would_card
from ..pages.views import ErrorPage
from ..section import Section, page
from ..sessions import check_mark

FIELDS = 600
"""Most fields of the form: of each option some values."""

MACHINES = 200
"""Of how many build servers, the connected ones first, it is shown which platforms they make."""

FOLLOWS = 10
"""Of how many values that follow from others it is said so."""

_WOULD = "would"
"""The id of the part that says what would come of it."""

Pairs = Sequence[tuple[str, str]]


class AskSection(Section):
    """The form that asks for builds."""

    @page(Act.SEE_FARM, "/request")
    async def ask(self, request: Request) -> bytes:
        """Show the form, filled in as the address says. Raises NotFound for a project that there is not."""
        return await self._page(request, _pairs_of(request))

    @page(Act.SUBMIT, "/request", method="POST")
    async def asked(self, request: Request) -> bytes:
        """Ask for what the form says and lead to the build, or show what would come of it. Raises DecodeError."""
        pairs = read_pairs(request, FIELDS)
        fields = dict(pairs)
        known = await self.parts.projects.read(shown_by(request))
        project, options = _chosen(known, fields.get(w.PROJECT, ""))
        try:
            wish = w.merged(w.read_wish(project, options, pairs))
            if w.SEND not in fields:
                return see_other(request, self.parts.urls.ask(w.fields_of(wish, options)))
            check_mark(request, self.parts.jar, fields.get(w.MARK, ""))
            told = await self._sent(request, w.understood(wish, options), fields)
        except CancelledError:
            raise  # the visitor left
        except BuildToolError as error:
            request.setResponseCode(status_of(error))
            for name, value in retry_after(error).items():
                request.setHeader(name, value)
            return await self._page(
                request, pairs, f"Nothing was asked for: {words_of(error)}", fields.get(w.EMAIL, "")
            )
        say_next(request, self.parts.jar, _said(told))
        return see_other(request, self._place(told, project))

    # --- what is asked for ------------------------------------------------------------------------------------

    async def _sent(
        self, request: Request, wish: w.UnderstoodWish, fields: Mapping[str, str]
    ) -> Sequence[m.RequestStatus]:
        """Ask for all that was understood, as the API does. Raises BuildToolError."""
        for problem in wish.problems.values():
            raise UsageError(problem)
        email, mark = fields.get(w.EMAIL, "").strip(), fields.get(w.MARK, "")
        submits = []
        for one in wish.asks:
            plain = {name: getattr(one, name) for name in _ASKED}
            key = client_id(mark, canonical_json([codec.encode(one), email]), fields.get(w.ONCE, ""))
            submits.append(m.Submit(client_id=key, email=email, **plain))
        questions, shown = self._questions(), shown_by(request)
        if len(submits) == 1:
            return (await questions.act(shown, submits[0], m.RequestStatus),)
        return (await questions.act(shown, m.SubmitTogether(tuple(submits)), m.RequestStatuses)).items

    def _questions(self) -> Questions:
        if self.parts.upstream.questions is None:
            raise Unavailable("no metaserver is asked by these pages")
        return self.parts.upstream.questions

    def _place(self, told: Sequence[m.RequestStatus], project: str) -> str:
        """Return the page of the build that was asked for, or the list of all of them."""
        builds = sorted({number for one in told if (number := _build_of(one)) is not None})
        urls = self.parts.urls
        if len(builds) == 1:
            return urls.build(builds[0])
        if not builds:
            return urls.ask([(w.PROJECT, project)])
        query = BuildQuery(number=tuple(builds)) if len(builds) <= TOKENS_LIMIT else BuildQuery(project=(project,))
        return urls.builds(str(query))

    # --- the page ---------------------------------------------------------------------------------------------

    async def _page(self, request: Request, pairs: Pairs, problem: str = "", email: str = "") -> bytes:
        """Return the form filled in with these fields. Raises NotFound."""
        by, urls, part = visitor_of(request), self.parts.urls, query_value(request, "part")
        known = await self.parts.projects.read(shown_by(request))
        if not known.options:
            nothing = ErrorPage("Nothing can be asked for", "There is no project whose builds you may ask for here.")
            return self.shown(request, "error", nothing, "ask")
        project, options = _chosen(known, dict(pairs).get(w.PROJECT, ""))
        may_look, may_ask = self._may(request, Act.EXPLAIN), self._may(request, Act.SUBMIT)
        try:
            wish = w.merged(w.read_wish(project, options, pairs))
            said = w.understood(wish, options)
        except UsageError as error:
            request.setResponseCode(400)
            wish, said = w.Wish(project), w.UnderstoodWish(problems={"": problem or str(error)})
        own = by.owner
        would = WouldPart(note="Sign in to be told what would come of it.")
        if said.problems:
            would = WouldPart(note=next(iter(said.problems.values())))
        elif may_look and self.parts.upstream.questions is not None:
            would = await self._would(request, said)
        if not said.problems:
            follows = dict.fromkeys(line for one in said.asks for line in w.follows(one, options))
            would = evolve(
                would,
                count=len(said.asks),
                follows=tuple(follows)[:FOLLOWS],
                command=w.command(wish, options, own or "you@example.org"),
            )
        lines = [] if part == _WOULD else await self.parts.pages.build_servers(limit=MACHINES)
        problems = {**said.problems, **({"": problem} if problem else {})}
        least = known.levels.get(project, SandboxLevel.NONE)
        machines = known_platforms(lines, wish)
        shown = ask_page(wish, options, tuple(known.options), machines, would, urls, problems, least=least)
        if may_ask and self.parts.upstream.questions is not None:
            new_secret = self.parts.tools.new_secret
            mark = browser_mark(request, self.parts.jar, shown_by(request), new_secret)
            shown = evolve(shown, may_ask=True, own=own, email=email, mark=mark, once=new_secret()[:32])
        return self.shown(request, "ask", evolve(shown, note=known.note, sign_in=self._sign_in(wish, options)), "ask")

    async def _would(self, request: Request, said: w.UnderstoodWish) -> WouldPart:
        """Return what the metaserver says would come of it, of the first combinations."""
        questions, shown, cards = self._questions(), shown_by(request), list[WouldCard]()
        for what, one in list(zip(said.words, said.asks, strict=True))[:EXPLAINED]:
            try:
                told = await questions.act(shown, one, m.Explanation)
            except BuildToolError as error:
                text = words_of(error)
                return WouldPart(tuple(cards), note=f"{what}: {text}" if what else text)
            cards.append(would_card(what, told, self.parts.urls))
        left = len(said.asks) - len(cards)
        return WouldPart(tuple(cards), more=f"And {words.count(left, 'more build')}." if left else "")

    def _may(self, request: Request, act: Act) -> bool:
        try:
            self.parts.access.check_role(visitor_of(request), act)
        except Unauthorised:
            return False
        return True

    def _sign_in(self, wish: w.Wish, options: ProjectOptions) -> str:
        """Return where to sign in, and be led back to the form as it is filled in."""
        to = urlencode({"to": self.parts.urls.ask(w.fields_of(wish, options))})
        return f"{self.parts.urls.path('/sign-in')}?{to}"


_ASKED = (
    "project",
    "source",
    "revision",
    "revrange",
    "compile",
    "system",
    "local",
    "force",
    "native",
    "sandbox",
    "nice",
    "supersede",
)


def _chosen(known: KnownProjects, name: str) -> tuple[str, ProjectOptions]:
    """Return the project of that name, the first where none is named. Raises NotFound."""
    name = name or next(iter(known.options), "")
    options = known.options.get(name)
    if options is None:
        raise NotFound(f"there is no project {name!r:.60}")
    return name, options


def _pairs_of(request: Request) -> list[tuple[str, str]]:
    """Return what stands in an address by name. Raises NotFound for what is no text."""
    try:
        return [(name.decode(), text.decode()) for name, texts in (request.args or {}).items() for text in texts]
    except UnicodeDecodeError as error:
        raise NotFound("the address is no text") from error


def _build_of(told: m.RequestStatus) -> int | None:
    return told.artifact.build_id if told.artifact is not None else told.build_id


def _said(told: Sequence[m.RequestStatus]) -> str:
    """Return what was answered, in one line."""
    if len(told) > 1:
        return f"{len(told)} builds were asked for."
    one = told[0]
    reason = f": {one.reason}" if one.reason else ""
    found = "an artifact was there already" if one.answer == "hit" else f"it is {one.state}{reason}"
    cancel = f" Cancel it with: startcompile.py cancel {one.request_id}-{one.token}" if one.state == "waiting" else ""
    return f"Request {one.request_id}: {found}.{cancel}"
