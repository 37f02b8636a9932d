"""What all forges have in common: calls and replies, tokens, repositories, rate limits, and how it is told who may.

A forge answers a call at once and touches nothing outside, so that it can be asked over a socket (``serving.py``) and
in a simulated world alike. What it is asked for is in ``calls``, with what came of it.
"""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from attrs import define, field, frozen

HOUR = 3_600.0


@frozen
class Call:
    """A request as it came. Names of ``headers`` are in lower case; ``path`` is still quoted and has no query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""
    query: Mapping[str, str] = field(factory=dict)

    @classmethod
    def of(cls, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> Call:
        path, _, query = target.partition("?")
        return cls(method, path, {name.lower(): value for name, value in headers}, body, dict(parse_qsl(query)))

    def said(self) -> dict[str, Any] | None:
        """Return the JSON object in the body, or None where it is no such thing."""
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


@frozen
class Reply:
    """What is answered; ``body`` is sent as JSON unless it is None."""

    code: int
    body: Any = None
    headers: Mapping[str, str] = field(factory=dict)

    @property
    def sent(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body).encode()


@define
class Repository:
    """A repository: its commits, and what was told of each, oldest first.

    ``pushers`` are the users who may write to it, of whose tokens a status is taken.
    """

    name: str
    commits: set[str] = field(factory=set)
    pushers: set[str] = field(factory=lambda: {"farm"})
    statuses: list[dict[str, Any]] = field(factory=list)
    checks: list[dict[str, Any]] = field(factory=list)

    def newest(self, sha: str) -> dict[str, dict[str, Any]]:
        """Return what a commit shows: the newest status of each context."""
        return {one["context"]: one for one in self.statuses if one["sha"] == sha}


@frozen
class TokenHolder:
    """A token that was given out: whose, for which scopes, and whether it is that of an installed app."""

    user: str = "farm"
    scopes: frozenset[str] = frozenset()
    app: bool = False


class Refused(Exception):
    """A call that is not taken, and what is answered to it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


def refuse(when: object, reply: Reply) -> None:
    """Raise Refused when that is so."""
    if when:
        raise Refused(reply)


Act = Callable[[Call, TokenHolder, Mapping[str, str]], Reply]


@frozen
class Route:
    """Which act answers a method and a path, in which ``{name}`` stands for one part."""

    method: str
    path: str
    act: Act

    def parts(self, call: Call) -> dict[str, str] | None:
        if call.method != self.method:
            return None
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        found = re.fullmatch(pattern, call.path)
        return {name: unquote(value) for name, value in found.groupdict().items()} if found else None


@define(eq=False)
class Forge(ABC):
    """A forge with its tokens and repositories.

    ``limit`` is how many calls a token has in an hour. Of ``moods`` the oldest is answered to the next call in place of
    what the forge would say, and is done with then.
    """

    now: Callable[[], float] = time.time
    tokens: dict[str, TokenHolder] = field(factory=dict)
    repositories: dict[str, Repository] = field(factory=dict)
    limit: int = 5_000
    moods: deque[Reply] = field(factory=deque)
    calls: list[tuple[Call, Reply]] = field(factory=list)
    _spent: dict[str, tuple[float, int]] = field(factory=dict, init=False)
    _ids: int = field(default=0, init=False)

    def found(self, name: str) -> Repository:
        """Return a repository. Raises Refused."""
        if name not in self.repositories:
            raise Refused(self.missing())
        return self.repositories[name]

    def add(self, name: str, *commits: str, pushers: Iterable[str] = ("farm",)) -> Repository:
        """Add a repository, called ``owner/name``."""
        found = self.repositories[name] = Repository(name, set(commits), set(pushers))
        return found

    def answer(self, call: Call) -> Reply:
        """Return what is answered to a call."""
        reply = self.moods.popleft() if self.moods else self._answer(call)
        self.calls.append((call, reply))
        return reply

    def _answer(self, call: Call) -> Reply:
        holder = self.tokens.get(self.shown(call))
        if holder is None:
            return self.unknown()
        left, reset = self._take(self.shown(call))
        told = self.limits(max(0, left), reset)
        reply = self.exceeded(reset) if left < 0 else self._act(call, holder)
        return Reply(reply.code, reply.body, {**told, **reply.headers})

    def _act(self, call: Call, holder: TokenHolder) -> Reply:
        for route in self.routes():
            parts = route.parts(call)
            if parts is not None:
                try:
                    return route.act(call, holder, parts)
                except Refused as refused:
                    return refused.reply
        return self.missing()

    def _take(self, token: str) -> tuple[int, float]:
        now = self.now()
        began, spent = self._spent.get(token, (now, 0))
        if now >= began + HOUR:
            began, spent = now, 0
        self._spent[token] = began, spent + 1
        return self.limit - spent - 1, began + HOUR

    def number(self) -> int:
        """Return the next free number."""
        self._ids += 1
        return self._ids

    # --- what each forge says its own way ---

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """Return the calls that it takes."""

    @abstractmethod
    def shown(self, call: Call) -> str:
        """Return the token that a call shows, or ""."""

    @abstractmethod
    def unknown(self) -> Reply:
        """Return what is answered to who shows no token that was given out."""

    @abstractmethod
    def missing(self) -> Reply:
        """Return what is answered where there is nothing, or nothing that this token may see."""

    @abstractmethod
    def limits(self, left: int, reset: float) -> dict[str, str]:
        """Return the headers that say how many calls are left until a time."""

    @abstractmethod
    def exceeded(self, reset: float) -> Reply:
        """Return what is answered once there are no calls left."""
