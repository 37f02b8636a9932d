"""The commands about tokens, with which people and scripts act over HTTP: as command lines have them.

Tested by tests/programs/operating/test_token_commands.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildtool.programs.common.subcommands import How, Several, valued
from buildtool.programs.metaserver.operator_commands import Acting

OPTIONS: Mapping[str, How] = {
    "--may": valued("limit a token to this act, such as submit or 'see build'; may be repeated", "ACT", action=Several),
}

ACTS = (
    Acting(
        "token", "print a token that acts for you over HTTP, once", "nightly --expires 30d --may submit",
        "WORDS", ("--expires", "--may"),
    ),
    Acting("tokens", "list your tokens and the browsers in which you are signed in", "--json"),
    Acting("revoke-token", "revoke a token, or sign a browser out, by its id in the list", "0123456789abcdef", "ID"),
)  # fmt: skip
"""What can be asked for about tokens."""
