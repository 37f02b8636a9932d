"""Which login goes with a URL: never one to another host, and never in place of one that is there."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.access.origin_logins import OriginLogins, check_login, check_prefix

HOSTS = st.sampled_from(["git.example.org", "git.example.org.evil.example", "git.example", "a", "git.example.org:8443"])
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "x.git", "%41", ".."]), max_size=3).map("/".join)
LOGINS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12).filter(
    lambda text: text[0] != ":"
)


@given(HOSTS, PATHS, HOSTS, PATHS, LOGINS)
def test_a_login_goes_to_its_host_and_path_only_and_comes_out_as_it_was(
    one: str, below: str, other: str, path: str, login: str
) -> None:
    prefix, url = f"https://{one}/{below}", f"https://{other}/{path}"
    check_prefix(prefix)
    made = OriginLogins(((prefix, login),)).url(url)
    if made == url:
        return
    found = urlsplit(made)
    assert one == other
    assert (path + "/").startswith(below.rstrip("/") + "/" if below else "")
    assert found.netloc.rpartition("@")[2] == other
    said = login.partition(":")
    assert (unquote(found.username or ""), unquote(found.password or "")) == (said[0], said[2])


def test_the_longest_beginning_counts_and_a_login_in_the_url_itself_stays() -> None:
    logins = OriginLogins((("https://h/", "all:1"), ("https://h/b", "b:2")))
    assert logins.url("https://h/a.git") == "https://all:1@h/a.git"
    assert logins.url("https://h/b/c.git") == "https://b:2@h/b/c.git"
    assert logins.url("https://h/bc.git") == "https://all:1@h/bc.git"
    for same in ("https://joe:3@h/a.git", "ssh://h/a", "http://h/a", "/srv/a", "https://H/a"):
        assert logins.url(same) == same
    assert "1" not in repr(logins)
    assert OriginLogins((("https://h/", "to:ken"),)).url("https://h/") == "https://to:ken@h/"


@pytest.mark.parametrize("rest", ["../b.git", "x/../../b.git", "%2e%2E/b.git", "x\\..\\..\\b.git", ".."])
def test_a_path_that_leads_out_of_what_a_login_is_for_has_none(rest: str) -> None:
    logins = OriginLogins((("https://h/a/", "a:1"), ("https://h/a/x", "x:2")))
    assert logins.url(f"https://h/a/{rest}") == f"https://h/a/{rest}"
    assert logins.url("https://h/a/x..y/..z.git") == "https://a:1@h/a/x..y/..z.git"


@given(HOSTS, PATHS, HOSTS, PATHS, LOGINS)
def test_a_submodule_shares_the_login_of_its_parent_only_where_both_are_under_one_entry(
    one: str, below: str, other: str, path: str, login: str
) -> None:
    """Whoever may commit to the parent chooses the submodule, and so which repository is read with the login."""
    logins = OriginLogins(((f"https://{one}/{below}", login), (f"https://{one}/{below}/own", login)))
    parent, url = f"https://{one}/{below}/app", f"https://{other}/{path}"
    if logins.shares(parent, url):
        assert logins.url(parent) != parent
        assert one == other
        assert (path + "/").startswith(below.rstrip("/") + "/" if below else "")
        assert ".." not in path[len(below) :].split("/")
    assert not logins.shares(url, url) or logins.url(url) != url


def test_a_submodule_of_another_entry_or_whose_url_says_more_than_a_repository_shares_nothing() -> None:
    logins = OriginLogins((("https://h/", "all:1"), ("https://h/b/", "b:2")))
    assert logins.shares("https://h/a.git", "https://h/c/x.git")
    assert logins.shares("https://h/b/a.git", "https://h/b/x.git")
    assert logins.shares("https://h/a%20b.git", "https://h/x.git"), "the operator's own URL is as it is"
    for parent, url in (
        ("https://h/a.git", "https://h/b/x.git"), ("https://h/b/a.git", "https://h/x.git"), ("/srv/a", "/srv/b"),
        ("https://h/a.git", "https://h/x?y=z"), ("https://h/a.git", "https://h/x#y"), ("https://h/a.git", "https://h/%78"),
        ("https://h/a.git", "https://h/x\\y"), ("https://h/a.git", "https://joe:3@h/x"), ("https://h/a.git", "https://i/x"),
    ):  # fmt: skip
        assert not logins.shares(parent, url), url


@pytest.mark.parametrize("prefix", ["", "git.example.org/", "https://git.example.org", "https://u@h/", "ssh://h/", "x"])
def test_what_begins_no_url_of_a_whole_host_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="with a whole host"):
        check_prefix(prefix)


@pytest.mark.parametrize("login", ["", ":x", " a:b", "a\tb"])
def test_what_is_no_login_is_refused_without_being_repeated(login: str) -> None:
    with pytest.raises(UsageError) as told:
        check_login(login)
    assert not login.strip() or login not in str(told.value)
