"""A witness of whose things are: says for itself whether somebody may do an act to what it is about.

It knows what was committed (``Ledger``), whose keys are (``Trust``), and which tokens were told to whom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from attrs import define, field

from buildtool.model.access.identities import KeyState
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.records import Request, RequestState
from buildtool.protocol.messages import (
    AskStatus,
    AskWhy,
    Cancel,
    RequestStatus,
    RequestStatuses,
    Submit,
    SubmitTogether,
)
from buildtool.protocol.operator import (
    CancelSeveral,
    DrainServer,
    LowerRequest,
    PauseServer,
    RebuildBuild,
    ResumeServer,
)
from tests.simulation.clock import Life
from tests.simulation.invariants import Watch
from tests.simulation.trust import Trust

SEES_ALL = frozenset({PrincipalRole.OBSERVER, PrincipalRole.OPERATOR})
"""Who may see the requests of everybody."""


@define(eq=False)
class Ownership:
    """Whose requests, builds and machines are, and what was wrong about who did what to them."""

    watch: Watch
    trust: Trust
    _tokens: dict[int, str] = field(factory=dict)

    def begins(self, by: Principal, message: attrs.AttrsInstance, of: Life) -> Act:
        """An act that was allowed begins, in a life of the metaserver; return it, for what comes of it."""
        act = Act(self, by, message, theirs=self.theirs(by, message))
        if act.theirs and isinstance(message, Cancel):
            self.watch.cancelling(message.request_id)
        if isinstance(message, CancelSeveral):
            for row in self.watch.requests.values():
                if row.state is RequestState.WAITING and _is(by, row.email) and _meant(message, row):
                    self.watch.cancelling(row.id)
        if act.theirs and isinstance(message, (PauseServer, DrainServer, ResumeServer)):
            act.paused = (of, "" if isinstance(message, ResumeServer) else message.reason)
            self.watch.pausing(message.server, act.paused)
        return act

    def theirs(self, by: Principal, message: attrs.AttrsInstance) -> bool:
        """Return whether what an act is about is the caller's own, as far as that matters to it."""
        match message:
            case Cancel() | LowerRequest() | AskStatus() | AskWhy():
                row = self.watch.requests.get(message.request_id)
                proven = bool(message.token) and message.token == self._tokens.get(message.request_id)
                sees = by.role in SEES_ALL and not isinstance(message, (Cancel, LowerRequest))
                sees = sees or (by.role is PrincipalRole.OPERATOR and isinstance(message, LowerRequest))
                return proven or sees or (row is not None and _is(by, row.email))
            case Submit() | SubmitTogether():
                items = message.items if isinstance(message, SubmitTogether) else (message,)
                return by.trusted or all(_is(by, item.email or by.owner) for item in items)
            case PauseServer() | DrainServer() | ResumeServer():
                return any(_is(by, owner) for owner in self._owners(message.server))
            case RebuildBuild():
                servers = {one.server for key, one in self.watch.attempts.items() if key[0] == message.build_id}
                owners = [owner for server in servers for owner in self._owners(server)]
                return any(_is(by, owner) for owner in owners) and message.email in ("", by.owner)
            case _:
                return True

    def _owners(self, server: str) -> Iterator[str]:
        for one in self.trust.keys.values():
            if (one.role, one.name) == (PrincipalRole.BUILD_SERVER, server) and one.state is not KeyState.SHOWN:
                yield one.owner

    def told(self, by: Principal, message: attrs.AttrsInstance, answer: Any, *, theirs: bool) -> None:
        """Somebody is about to be told how Requests stand, with the tokens by which they are theirs."""
        items = answer.items if isinstance(answer, RequestStatuses) else (answer,)
        for one in items:
            if not one.token:
                continue
            if isinstance(message, (Submit, SubmitTogether)):
                self._tokens[one.request_id] = one.token
            row = self.watch.requests.get(one.request_id)
            known = getattr(message, "token", "") == one.token
            if theirs and (known or by.trusted or row is None or _is(by, row.email)):
                continue
            self.watch.wrong(f"{by.role.value} {by.name} was told the token of request {one.request_id}, not theirs")


@define(eq=False)
class Act:
    """An act under way, and whether it was the caller's own business when it began."""

    of: Ownership
    by: Principal
    message: Any
    theirs: bool
    paused: tuple[Life, str] | None = None

    def done(self, answer: Any) -> None:
        """The act was done; whoever asked is told next. Whose the thing is may have become known meanwhile."""
        by, message = self.by, self.message
        theirs = self.theirs or self.of.theirs(by, message)
        if not theirs:
            about = ", ".join(f"{name} {value!r}" for name, value in _about(message).items())
            self.of.watch.wrong(f"{by.role.value} {by.name} did {type(message).__name__} ({about}), not theirs")
        if self.paused is not None:
            self.of.watch.is_paused(message.server, self.paused)
        if isinstance(answer, (RequestStatus, RequestStatuses)):
            self.of.told(by, message, answer, theirs=theirs)


def _about(message: attrs.AttrsInstance) -> Mapping[str, object]:
    names = ("request_id", "server", "build_id", "email")
    return {name: getattr(message, name) for name in names if hasattr(message, name)}


def _meant(message: CancelSeveral, row: Request) -> bool:
    return row.id <= message.until and (not message.people or row.email in message.people)


def _is(by: Principal, email: str) -> bool:
    return bool(email) and by.role is PrincipalRole.REQUESTER and by.owner == email
