"""The commands about tokens, with which people and scripts act over HTTP.

Tested by tests/programs/operating/test_token_commands.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from buildtool.model.text import moment_words
from buildtool.programs.common.subcommands import How, Several, valued
from buildtool.programs.metaserver.operator_commands import Acting, Answer
from buildtool.protocol.visiting import AskTokens, EndToken, MakeToken, TokenList, TokenMade

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


OPTIONS: Mapping[str, How] = {
    "--may": valued("limit a token to this act, such as submit or 'see build'; may be repeated", "ACT", action=Several),
}

ACTS = (
    Acting(
        "token", "print a token that acts for you over HTTP, once", "nightly --expires 30d --may submit", _wish,
        "WORDS", ("--expires", "--may"),
        Answer(TokenMade, lambda told: (told.token,), lambda told: (f"{told.id}, until {moment_words(told.expires)}",)),
    ),
    Acting(
        "tokens", "list your tokens and the browsers in which you are signed in", "--json", lambda _said: AskTokens(),
        answer=Answer(TokenList, token_lines),
    ),
    Acting(
        "revoke-token", "revoke a token, or sign a browser out, by its id in the list", "0123456789abcdef",
        lambda said: EndToken(said.target), "ID",
    ),
)  # fmt: skip
"""What can be asked for about tokens."""
