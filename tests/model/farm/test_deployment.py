"""What a farm says of itself is one line, and leads nowhere but to pages and mail boxes."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.farm.deployment import (
    UNNAMED,
    Deployment,
    ProjectPlace,
    contact_url,
    valid_contact,
    valid_link,
    valid_revision_url,
    valid_title,
)

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


@given(TEXTS, st.sampled_from(["{revision}", "{number}"]), TEXTS, st.text(max_size=10))
def test_where_a_revision_is_shown_is_a_page_of_the_machine_that_was_named(
    head: str, mark: str, tail: str, revision: str
) -> None:
    for text in (f"https://a.example/{head}{mark}{tail}", f"{head}{mark}{tail}"):
        found, refused = refusal_or(valid_revision_url, text)
        assert found or refused
        link = ProjectPlace(revision_url=found).revision(revision + "\ud800")
        if found.startswith("https://a.example/"):
            assert urlsplit(link)[:2] == ("https", "a.example")
        assert not set(link) & set('"<>\\ \n')


def test_a_revision_is_shown_by_its_id_or_by_its_number() -> None:
    place = ProjectPlace(revision_url="https://svn.example/p?rev={number}&id={revision}")
    assert place.revision("r12") == "https://svn.example/p?rev=12&id=r12"
    assert ProjectPlace().revision("r12") == ""


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
