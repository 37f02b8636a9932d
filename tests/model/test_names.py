"""Names, ids and digests: a text is one from its first to its last character, or it is none."""

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.model import names

READERS: dict[Callable[[str], bool], str] = {
    names.is_digest: "[0-9a-f]{64}",
    names.is_commit_id: "[0-9a-f]{40}|[0-9a-f]{64}",
    names.is_revision: "[0-9a-f]{40}|[0-9a-f]{64}|r[1-9][0-9]{0,9}",
    names.is_client_id: "[0-9a-f]{32}",
    names.is_row_id: "[1-9][0-9]{0,17}",
    names.is_server_name: "[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
    names.is_artifact_name: r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,195}\.zip",
    names.is_short_word: "[A-Za-z0-9_.+-]{1,30}",
}


@pytest.mark.parametrize("reader", READERS)
@given(data=st.data())
def test_what_has_the_form_is_taken_and_nothing_with_a_character_more_that_has_not(
    reader: Callable[[str], bool], data: st.DataObject
) -> None:
    form = READERS[reader]
    text = data.draw(st.from_regex(form, fullmatch=True, alphabet=st.characters(codec="ascii")))
    assert reader(text)
    for other in (text + "\n", "\n" + text, text + "é", " " + text, text + "/"):
        assert not reader(other)


@pytest.mark.parametrize("reader", READERS)
@given(text=st.one_of(st.text(max_size=70), st.text("0123456789abcdefr", max_size=70)))
@example(text="")
@example(text="0" * 64)
@example(text="r0")
@example(text="..")
def test_a_text_is_taken_exactly_if_it_has_the_form(reader: Callable[[str], bool], text: str) -> None:
    assert reader(text) == (re.fullmatch(READERS[reader], text) is not None)
