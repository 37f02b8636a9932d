"""What the commands about tokens ask for, and how the answers are told.

Tested by tests/programs/operating/test_token_commands.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from attrs import AttrsInstance

from buildtool.model.text import moment_words
from buildtool.programs.operating.answers import Answer
from buildtool.protocol.pages.visiting import AskTokens, EndToken, MakeToken, TokenList, TokenMade

LIFE = 90 * 86_400.0
"""Seconds for which a token holds, unless it is said."""


def _wish(said: argparse.Namespace) -> MakeToken:
    return MakeToken(said.target, LIFE if said.expires is None else said.expires, tuple(said.may or ()))


def token_lines(told: TokenList) -> list[str]:
    """Return the tokens and sessions of their holder, a line each, for people."""
    if not told.found:
        return ["you have no token: `token WORDS` makes one"]
    rows = [
        (one.id, one.kind, one.label, one.name, one.role, f"until {moment_words(one.expires)}", ", ".join(one.acts))
        for one in told.found
    ]
    widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
    found = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*found, "there are more"] if told.more else found


MAKERS: Mapping[str, Callable[[argparse.Namespace], AttrsInstance]] = {
    "token": _wish,
    "tokens": lambda _said: AskTokens(),
    "revoke-token": lambda said: EndToken(said.target),
}
"""What each command asks for, made of what was said."""

ANSWERS: Mapping[str, Answer[Any]] = {
    "token": Answer(
        TokenMade, lambda told: (told.token,), lambda told: (f"{told.id}, until {moment_words(told.expires)}",)
    ),
    "tokens": Answer(TokenList, token_lines),
}
"""What those are answered with that get more than the words of an ActionResult."""
