"""What is said of tokens, and what is printed of them."""

from argparse import Namespace

import pytest

from buildtool.programs.operating.acts import OperatorAct
from buildtool.programs.operating.token_acts import LIFE, MAKERS, token_lines
from buildtool.programs.operating.token_commands import ACTS
from buildtool.protocol.pages.visiting import AskTokens, EndToken, ListedToken, MakeToken, TokenList, TokenMade
from tests.programs.metaserver.test_operator_commands import HOSTILE, filled

MADE, LISTED, ENDED = (OperatorAct(one.name, AskTokens()) for one in ACTS)


@pytest.mark.parametrize("acting", [MADE, LISTED, ENDED], ids=lambda acting: acting.name)
def test_no_text_in_an_answer_reaches_a_terminal_or_begins_a_line_of_its_own(acting: OperatorAct) -> None:
    told = acting.told(filled(acting.answer.kind, HOSTILE), as_json=False)
    assert all(line.isprintable() for line in told.split("\n")), ascii(told)


def test_a_token_is_printed_alone_and_what_it_is_called_beside_it() -> None:
    told = TokenMade("bt_secret", "0123456789abcdef", 1_790_000_000.0)
    assert MADE.told(told, as_json=False) == "bt_secret"
    (beside,) = MADE.answer.beside(told)
    assert beside.startswith("0123456789abcdef, until 2026-")
    assert "bt_secret" not in beside


def test_tokens_are_listed_in_columns_and_none_says_how_to_make_one() -> None:
    row = ListedToken("ab" * 8, "token", "nightly", "ann", "requester", ("submit",), 1.0, 2.0)
    assert token_lines(TokenList((row,), more=True))[-1] == "there are more"
    assert "submit" in token_lines(TokenList((row,)))[0]
    assert "makes one" in token_lines(TokenList(()))[0]


def test_what_is_typed_is_what_is_asked_for() -> None:
    typed = Namespace(target="nightly", expires=7 * 86_400.0, may=["submit", "cancel"])
    assert MAKERS[MADE.name](typed) == MakeToken("nightly", 7 * 86_400.0, ("submit", "cancel"))
    bare = Namespace(target="nightly", expires=None, may=None)
    assert MAKERS[MADE.name](bare) == MakeToken("nightly", LIFE)
    assert (MAKERS[LISTED.name](bare), MAKERS[ENDED.name](bare)) == (AskTokens(), EndToken("nightly"))
