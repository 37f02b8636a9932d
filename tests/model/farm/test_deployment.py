"""What a farm says of itself is one line, and leads nowhere but to pages and mail boxes."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.farm.deployment import UNNAMED, Deployment, contact_url, valid_contact, valid_link, valid_title

PARTS = ("http://", "https://", "javascript:", "a.example", "/", "?", "#", "@", ":", "%20", '"', "<", " ")
TEXTS = st.text(max_size=20) | st.lists(st.sampled_from(PARTS), max_size=8).map("".join)


def refusal_or(read: Callable[[object, str], str], text: str) -> tuple[str, str]:
    """Return what a text is read as, and the line that refuses it; one of them is empty."""
    try:
        return read(text, "it ="), ""
    except UsageError as error:
        return "", str(error)


@given(TEXTS)
def test_whatever_is_taken_can_be_a_link_and_is_read_again_as_it_is(text: str) -> None:
    for read in (valid_link, valid_contact):
        found, refused = refusal_or(read, text)
        assert refused.startswith("it = ") or not refused
        assert "\n" not in refused
        assert refusal_or(read, found) == (found, "")
        link = contact_url(found)
        assert urlsplit(link).scheme in ("http", "https", "mailto") or not found
        assert not set(link) & set('"<>\\ \n')


@given(st.text(max_size=80))
def test_a_title_is_a_line_that_is_read_again_as_it_is(text: str) -> None:
    try:
        found = valid_title(text, "title =")
    except UsageError:
        return
    assert found.isprintable()
    assert valid_title(found, "title =") == found


@pytest.mark.parametrize("said", [None, 7, b"x", ["x"]])
def test_what_is_no_text_is_refused(said: object) -> None:
    for read in (valid_link, valid_contact, valid_title):
        with pytest.raises(UsageError, match="is not usable"):
            read(said, "it =")


def test_a_mail_ends_with_the_farm_s_name_and_who_is_asked() -> None:
    assert UNNAMED.lines == ("buildtool",)
    said = Deployment("Old iron", "https://iron.example/farm", "ann@iron.example")
    assert said.lines == ("Old iron: https://iron.example/farm", "Questions: ann@iron.example")
