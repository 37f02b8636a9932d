"""What buttons on pages do: each is a form that is sent here, and answered by the page that it was on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, get_type_hints

import attrs
from attrs import AttrsInstance, frozen
from twisted.internet.defer import CancelledError
from twisted.web.server import Request

from buildtool.errors import BuildToolError, NotFound, Unavailable, UsageError
from buildtool.model.access.rights import Act
from buildtool.model.farm.weights import NICE_MOST
from buildtool.protocol import codec
from buildtool.protocol import enrolment as e
from buildtool.protocol import messages as m
from buildtool.protocol import operator as o
from buildtool.protocol.acts import ACT_OF
from buildtool.protocol.pages import visiting as v

from ..access import may_see, shown_by, visitor_of
from ..answers import number, words_of
from ..forms import client_id, read_form, say_next, see_other
from ..section import Route, Section
from ..sessions import check_mark, within_site


@frozen
class FormAct:
    """An act of a form: the message that is asked, which its fields make, and the kind of answer."""

    message: type[AttrsInstance]
    answer: type[AttrsInstance] = o.ActionResult

    @property
    def act(self) -> Act:
        """The act that it is in the table of rights."""
        return ACT_OF[self.message]


ACTS: Mapping[str, FormAct] = {
    "cancel": FormAct(m.Cancel, m.RequestStatus),
    "raise": FormAct(o.RaiseRequest),
    "lower": FormAct(o.LowerRequest),
    "ask-again": FormAct(m.Submit, m.RequestStatus),
    "rebuild": FormAct(o.RebuildBuild),
    "abort": FormAct(o.AbortBuild),
    "forget-failure": FormAct(o.ForgetFailure),
    "purge": FormAct(o.PurgeArtifact),
    "pause": FormAct(o.PauseServer),
    "drain": FormAct(o.DrainServer),
    "resume": FormAct(o.ResumeServer),
    "forget": FormAct(o.ForgetServer),
    "purge-built-by": FormAct(o.PurgeBuiltBy),
    "drain-farm": FormAct(o.Drain),
    "revoke": FormAct(e.RevokeOne),
    "end-token": FormAct(v.EndToken),
}
"""What forms may ask for, by the name in their address."""


class ActsSection(Section):
    """The acts of forms."""

    @classmethod
    def routes(cls) -> Iterator[tuple[Route, str]]:
        """Return a route for each act, which only those reach who may do it."""
        for name, one in ACTS.items():
            yield Route(f"/acts/{name}", "POST", one.act), f"act_{name}"

    def __getattr__(self, name: str) -> Callable[[Request], Awaitable[bytes]]:
        """Return what answers the form of an act."""
        kind, _, act = name.partition("_")
        if kind != "act" or act not in ACTS:
            raise AttributeError(name)

        async def done(request: Request) -> bytes:
            return await self._done(act, request)

        return done

    async def _done(self, name: str, request: Request) -> bytes:
        self.parts.access.check_role(visitor_of(request), ACTS[name].act)
        jar, back = self.parts.jar, self.parts.urls.status()
        try:
            fields = read_form(request)
            back = within_site(fields.get("back", ""), self.parts.urls)
            check_mark(request, jar, fields.get("mark", ""))
            words = await self._asked(name, request, fields)
        except CancelledError:
            raise  # the visitor left
        except BuildToolError as error:
            words = f"Nothing was changed: {words_of(error)}"
        say_next(request, jar, words)
        return see_other(request, back)

    async def _asked(self, name: str, request: Request, fields: Mapping[str, str]) -> str:
        """Ask for an act, and return what came of it in one line. Raises BuildToolError."""
        act, questions = ACTS[name], self.parts.upstream.questions
        if questions is None:
            raise Unavailable("no metaserver is asked by these pages")
        message = await self._again(request, fields) if name == "ask-again" else _message(name, act, request, fields)
        told = await questions.act(shown_by(request), message, act.answer)
        return _words(told)

    async def _again(self, request: Request, fields: Mapping[str, str]) -> m.Submit:
        """Return what asks for the same as a build makes. Raises NotFound."""
        build_id = number(fields.get("build_id", ""), "build")
        found = await self.parts.pages.build(build_id)
        if found is None or not may_see(self.parts.access, visitor_of(request), found.build.spec):
            raise NotFound(f"there is no build {build_id}")
        spec, shown = found.build.spec, shown_by(request)
        key = client_id(shown.secret or shown.by.name, f"again.{build_id}", fields.get("once", ""))
        return m.Submit(
            key, spec.project, fields.get("email", ""), spec.source, spec.revision, "", dict(spec.options),
            dict(spec.platform), {}, native=spec.native, sandbox=spec.policy.sandbox,
        )  # fmt: skip


def _message(name: str, act: FormAct, request: Request, fields: Mapping[str, str]) -> AttrsInstance:
    """Return the message that the fields of a form make. Raises DecodeError, NotFound."""
    hints = get_type_hints(act.message)
    plain: dict[str, Any] = {"type": act.message.__name__}
    for one in attrs.fields(act.message):
        text = fields.get(one.name)
        if one.name == "client_id":
            subject = fields.get("build_id", "")
            shown = shown_by(request)
            plain[one.name] = client_id(shown.secret or shown.by.name, f"{name}.{subject}", fields.get("once", ""))
        elif one.name == "rounds" and text is not None:
            plain[one.name] = _rounds(text)
        elif hints[one.name] is int and text is not None:
            plain[one.name] = number(text, one.name.removesuffix("_id"))
        elif hints[one.name] is bool and text is not None:
            plain[one.name] = text == "yes"
        elif text is not None:
            plain[one.name] = text
        elif one.default is attrs.NOTHING and hints[one.name] is str:
            plain[one.name] = ""
    return codec.decode(act.message, plain)


def _rounds(text: str) -> int:
    """Return by how many rounds a request is moved. Raises UsageError."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(NICE_MOST)) and int(text) <= NICE_MOST):
        raise UsageError(f"a request is moved by 0 to {NICE_MOST} rounds")
    return int(text)


def _words(told: AttrsInstance) -> str:
    match told:
        case o.ActionResult():
            said = "; ".join(told.words)
        case m.RequestStatus():
            where = f", for build {told.build_id}" if told.build_id is not None else ""
            said = f"request {told.request_id} is {told.state}{where}"
        case _:
            said = "it is done"
    return f"{said[:1].upper()}{said[1:]}."
