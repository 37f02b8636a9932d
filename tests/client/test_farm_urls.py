"""Where the pages of a farm are, as people write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.client.farm_urls import read_farm_url
from buildtool.errors import UsageError


@pytest.mark.parametrize(
    ("said", "api", "where"),
    [
        ("https://farm.example.org", "https://farm.example.org/api/v1", "farm.example.org:443"),
        ("http://farm.example.org/", "http://farm.example.org/api/v1", "farm.example.org:80"),
        ("https://farm.example.org:8443/farm/", "https://farm.example.org:8443/farm/api/v1", "farm.example.org:8443"),
        ("https://farm.example.org/farm/api/v1", "https://farm.example.org/farm/api/v1", "farm.example.org:443"),
        ("http://[::1]:8080", "http://[::1]:8080/api/v1", "[::1]:8080"),
    ],
)
def test_an_address_of_pages_or_of_their_api_leads_to_the_api(said: str, api: str, where: str) -> None:
    found = read_farm_url(said)
    assert (found.api, found.address.where) == (api, where)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "is no address"), ("farm.example.org", "https://"), ("ftp://farm.example.org", "https://"),
        ("https://", "https://"), ("https://ann:pw@farm.example.org", "no name or password"),
        ("https://farm.example.org/?a=b", "leave out"), ("https://farm.example.org/#x", "leave out"),
        ("https://farm.example.org:99999", "is no address"), ("https://fa rm", "is no address"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused_in_a_line_that_says_what_would_be(said: str, words: str) -> None:
    with pytest.raises(UsageError, match="--http") as caught:
        read_farm_url(said)
    assert words in str(caught.value)
    assert "pw" not in str(caught.value)


@given(st.text(max_size=60))
def test_no_text_is_a_defect_and_what_is_taken_can_be_sent(text: str) -> None:
    try:
        found = read_farm_url(text)
    except UsageError:
        return
    assert found.api.isascii()
    assert found.api.isprintable()
