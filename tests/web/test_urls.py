"""The one place where URLs are built."""

from urllib.parse import parse_qs, unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from buildtool.web.urls import Urls, server_anchor

text = st.text(max_size=30)
well_formed = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def test_a_path_of_the_public_url_stands_before_every_link() -> None:
    """Pages behind a proxy at /farm/ link to /farm/builds; the whole URL has the path once."""
    urls = Urls("https://example.org/farm/", "https://example.org:23433/", {"style.css": "style.1.css"})
    assert urls.status() == "/farm/"
    assert urls.builds(before=7, state="failed") == "/farm/builds?q=state%3Afailed&before=7"
    assert urls.builds("project:lua", after=7, form="csv") == "/farm/builds.csv?q=project%3Alua&after=7"
    assert urls.static("style.css") == "/farm/static/style.1.css"
    assert urls.absolute(urls.build(3)) == "https://example.org/farm/build/3"
    assert urls.absolute(urls.status()) == "https://example.org/farm/"
    assert urls.artifact("ab", "x.zip") == "https://example.org:23433/artifacts/ab/x.zip"


@given(well_formed)
def test_an_artifact_s_name_is_one_segment_whatever_it_holds(name: str) -> None:
    path = urlsplit(Urls("http://a", "http://b").artifact("00", name)).path
    *_, last = path.split("/")
    assert path.count("/") == 3
    assert unquote(last) == name


@given(well_formed, st.none() | st.integers(1))
def test_a_search_comes_back_as_it_was_asked(line: str, before: int | None) -> None:
    query = parse_qs(urlsplit(Urls("http://a", "http://b").builds(line, before=before)).query)
    assert query.get("q", [""]) == [line]
    assert query.get("before", ["None"]) == [str(before)]


@given(text, text)
def test_two_servers_never_share_a_place_on_the_page(one: str, other: str) -> None:
    assert (server_anchor(one) == server_anchor(other)) == (one == other)
    assert server_anchor(one).isascii()
    assert not set(server_anchor(one)) & set(" \t\n\f\r#\"'<>&%")
