"""The pages, over the real application: what answers, with which status, headers and HTML."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.errors import NewerDatabase, StorageUnavailable
from buildtool.model.farm.deployment import Deployment, ProjectPlace
from buildtool.model.options import choice, flag, number
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.records import BuildState
from buildtool.web.access import EverythingSeen
from buildtool.web.app import make_urls
from tests import strategies
from tests.support.failures import LoggedFailures
from tests.support.lanes import examples
from tests.web.fake_pages import NOW, FakeLogs, FakePages
from tests.web.farm import LOG, X86, build, farm, logs
from tests.web.visitor import PUBLIC, TRANSFER, Visitor, check_html, links, tags

HTML_PAGES = (
    "/", "/metaserverstatus", "/buildservers", "/buildersinfo", "/builds", "/builds?state=failed&project=lua",
    *(f"/buildservers/{one.name}" for one in farm().servers),
    "/builds?before=4", "/builds?after=4", "/builds?q=platform:ppc+state:failed",
    "/build/1", "/build/2", "/build/3", "/build/4", "/build/6", "/build/7", "/builds/8",
    "/matrix/testproject", "/matrix/lua?q=state:failed",
)  # fmt: skip
OTHER_PAGES = (
    "/logs/3", "/logs/3?attempt=1", "/health", "/favicon.ico", "/robots.txt", "/builds.csv", "/builds.json",
    "/builds.atom?q=state:failed", "/badge/lua.svg",
)  # fmt: skip
NOWHERE = (
    "/nothing", "/buildservers/none", "/buildservers/%ff", "/buildservers/a%20b",
    "/build", "/build/", "/build/0", "/build/99", "/build/-1", "/build/1x", "/build/01", "/build/%31%00",
    "/build/" + "9" * 18, "/build/" + "9" * 19, "/build/" + "9" * 5_000, "/build/%D9%A1", "/build/1/2", "/nothing/",
    "/builds//1", "/builds?before=x", "/builds?before=0", "/builds?before=" + "9" * 30,
    "/builds?project=%ff", "/logs/99", "/logs/6", "/logs/3?attempt=9",
    "/logs/3?attempt=x", "/static/style.css", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/%ff%fe", "/build/%ff",
)  # fmt: skip
NOT_UNDERSTOOD = (
    "/builds?state=unknown", "/builds?project=" + "x" * 101, "/builds?q=colour:red", "/builds?q=%22",
    "/builds?colour=red", "/builds?q=" + "x" * 501, "/builds?q=by:me", "/builds?q=by:ada@example.org",
    "/builds.csv?q=colour:red", "/builds.json?colour=red",
    "/builds.atom?q=since:never", "/go?to=1", "/badge/lua.svg?colour=red",
    "/matrix/lua?q=colour:red", "/matrix/lua?to=1",
)  # fmt: skip


@pytest.fixture
def visitor() -> Visitor:
    return Visitor(farm(), logs())


@pytest.mark.parametrize("path", HTML_PAGES)
@pytest.mark.parametrize("pages", [farm(), FakePages()], ids=["full", "empty"])
def test_every_page_is_valid_html_full_or_empty(path: str, pages: FakePages) -> None:
    seen = Visitor(pages, logs()).visit(path)
    assert seen.status == (
        404 if not pages.builds_made and path.startswith(("/build/", "/builds/", "/buildservers/")) else 200
    )
    assert seen.headers["content-type"] == "text/html; charset=utf-8"
    check_html(seen.text)


@pytest.mark.parametrize("path", NOWHERE)
def test_what_does_not_exist_is_a_404_page(visitor: Visitor, path: str) -> None:
    seen = visitor.visit(path.encode())
    assert seen.status == 404
    check_html(seen.text)
    assert visitor.visit(path.encode(), "HEAD").status == 404


def test_the_farm_s_name_page_and_contact_stand_on_every_page_and_in_errors() -> None:
    said = Deployment("Old <iron>", "https://iron.example/farm", "ann@iron.example")
    place = ProjectPlace("https://lua.example/", "https://lua.example/ask?a=1&b=2")
    visitor = Visitor(farm(), logs(), access=EverythingSeen(["testproject", "lua"], said, place))
    for path in (*HTML_PAGES, "/nothing"):
        text = visitor.visit(path).text
        assert " Old &lt;iron&gt;</title>" in text
        assert {said.title_url, "mailto:ann@iron.example"} <= set(links(text))
    assert "If that does not help, ask" in visitor.visit("/nothing").text
    assert {place.url, place.contact} <= set(links(visitor.visit("/build/1").text))
    assert "<name>Old &lt;iron&gt;</name>" in visitor.visit("/builds.atom").text
    assert "mailto:" not in Visitor(farm(), logs()).visit("/nothing").text


def test_what_goes_on_says_since_when_so_that_it_can_count_on_and_what_is_over_does_not() -> None:
    visitor = Visitor(farm(), logs())
    begun = f'data-since="{NOW - 120 + 1.5:.3f}"'
    for path in ("/", "/builds", "/build/4", "/buildservers"):
        assert begun in visitor.visit(path).text, path
    assert "data-since" not in visitor.visit("/build/1").text
    assert visitor.visit("/builds?state=succeeded").text.count("data-since") == 0


def test_the_command_that_asks_for_the_same_is_text_to_be_selected_where_the_project_still_has_its_options() -> None:
    options = ProjectOptions(
        standard(*(name for name, _ in X86)),
        (flag("checks", default=True), choice("optimise", ["size", "speed"]), number("width", default=80)),
    )
    access = EverythingSeen(["testproject"], options={"testproject": options})
    text = Visitor(farm(), logs(), access=access).visit("/build/1").text
    check_html(text)
    found = re.search(r'<pre class="wrap all" id="command">(.*?)</pre>', text)
    assert found is not None
    assert found[1].startswith("bin/startcompile.py --project=testproject --revision=")
    assert found[1].endswith("--libc-version=2.36 --os=linux --optimise=speed you@example.org")
    (form,) = [link for link in links(text) if link.startswith("/request?")]
    assert form.endswith("&libc_version=2.36&os=linux&optimise=speed")
    assert 'id="command"' not in Visitor(farm(), logs()).visit("/build/1").text


def test_a_header_that_is_no_text_is_not_there() -> None:
    """And no defect: strangers would fill the log with its tracebacks."""
    visitor = Visitor(farm(), logs())
    seen = visitor.visit("/logs/3", headers={"Range": b"bytes=0-\xb9"})  # type: ignore[dict-item]
    assert (seen.status, seen.body) == (200, visitor.visit("/logs/3").body)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X" * 50])
def test_a_wrong_method_is_answered_with_those_that_are_right(visitor: Visitor, method: str) -> None:
    for path in (*HTML_PAGES, *OTHER_PAGES):
        seen = visitor.visit(path, method)
        assert (seen.status, seen.headers["allow"]) == (405, "GET, HEAD")
    check_html(seen.text)
    assert visitor.visit("/nothing", method).status == 404


@pytest.mark.parametrize("path", [*HTML_PAGES, *OTHER_PAGES, "/nothing", "/logs/99"])
def test_head_says_what_get_says_without_the_body(visitor: Visitor, path: str) -> None:
    got, head = visitor.visit(path), visitor.visit(path, "HEAD")
    assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")
    assert int(got.headers["content-length"]) == len(got.body)


@pytest.mark.parametrize("path", [*HTML_PAGES, *OTHER_PAGES, "/nothing", "/%ff"])
def test_every_answer_carries_the_security_headers(visitor: Visitor, path: str) -> None:
    headers = visitor.visit(path.encode()).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["server"] == "buildtool"


def crawl(visitor: Visitor, home: str) -> Iterator[tuple[str, str, int]]:
    """Follow every link from `home`, and yield whence, where to, and the status there."""
    found, queue = {home}, [home]
    while queue:
        page = queue.pop()
        seen = visitor.visit(page)
        if not seen.headers["content-type"].startswith("text/html"):
            continue
        for link in links(seen.text):
            if link.startswith(TRANSFER):
                continue
            path = link.removeprefix(PUBLIC)
            yield page, path, visitor.visit(path).status
            if path not in found:
                found.add(path)
                queue.append(path)


def test_every_link_on_every_page_leads_somewhere() -> None:
    pages = farm()
    pages.builds_made += [build(number, BuildState.CANCELLED, 10) for number in range(10, 80)]
    crawled = list(crawl(Visitor(pages, logs()), "/"))
    assert [step for step in crawled if step[2] not in (200, 303, 410)] == []  # not all logs are kept
    reached = {path for _, path, _ in crawled}
    assert {"/builds", "/buildservers", "/build/3", "/logs/3?attempt=2", "/build/10", "/health"} <= reached


def test_behind_a_proxy_every_link_keeps_the_path_of_the_public_url() -> None:
    """The proxy takes the path away before the request arrives here."""
    visitor = Visitor(farm(), logs(), make_urls("https://example.org/farm", TRANSFER))
    for page in HTML_PAGES:
        for link in links(visitor.visit(page).text):
            assert link == "" or link.startswith(("/farm/", "https://example.org/farm/", f"{TRANSFER}/"))


def test_an_artifact_is_linked_to_the_transfer_port_by_its_digest(visitor: Visitor) -> None:
    digest = "01" * 32
    for page in ("/builds", "/build/1"):
        found = list(links(visitor.visit(page).text))
        assert any(link.startswith(f"{TRANSFER}/artifacts/{digest}/testproject-") for link in found)


def test_the_list_of_builds_is_paged_by_key_from_newest_to_oldest() -> None:
    visitor = Visitor(FakePages(builds_made=[build(number, BuildState.QUEUED, 5) for number in range(1, 131)]))
    path, found = "/builds", []
    for _ in range(3):
        text = visitor.visit(path).text
        hrefs = [str(attributes.get("href")) for tag, attributes in tags(text) if tag == "a"]
        found += [int(href.rpartition("/")[2]) for href in hrefs if href.startswith("/build/")]
        path = next((href for href in hrefs if "before=" in href), "")
    assert found == list(range(130, 0, -1))
    assert path == ""


@pytest.mark.parametrize("path", NOT_UNDERSTOOD)
def test_what_is_not_understood_is_answered_so_in_one_line_and_finds_nothing(visitor: Visitor, path: str) -> None:
    seen = visitor.visit(path)
    assert seen.status == 400
    assert not [link for link in links(seen.text) if link.startswith("/build/")]
    check_html(seen.text)


def test_a_search_shows_what_it_finds_and_stays_in_its_field(visitor: Visitor) -> None:
    for path in ("/builds?state=failed&project=testproject", "/builds?q=project:testproject+state:failed"):
        text = visitor.visit(path).text
        assert [link for link in links(text) if link.startswith("/build/")] == ["/build/3"]
        fields = {attributes.get("name"): attributes.get("value") for tag, attributes in tags(text) if tag == "input"}
        assert fields["q"] == "project:testproject state:failed"
    assert "No build with project:lua state:failed was found." in visitor.visit("/builds?state=failed&project=lua").text


def test_the_field_goes_to_what_is_named(visitor: Visitor) -> None:
    for text, place in (
        ("3", "/build/3"), ("%233", "/build/3"), ("beef", "/builds?q=rev%3Abeef"),
        ("elm", "/buildservers/elm"), ("state:failed", "/builds?q=state%3Afailed"), ("", "/builds"),
        ("//evil.example", "/builds?q=%2F%2Fevil.example"),
    ):  # fmt: skip
        seen = visitor.visit(f"/go?q={text}")
        assert (seen.status, seen.headers["location"]) == (303, place)


def test_accept_chooses_the_form_of_a_list(visitor: Visitor) -> None:
    for accept, form in (
        ("text/html,*/*", "text/html; charset=utf-8"), ("application/json", "application/json"),
        ("text/csv;q=0.9", "text/csv; charset=utf-8"), ("application/atom+xml", "application/atom+xml; charset=utf-8"),
    ):  # fmt: skip
        seen = visitor.visit("/builds", headers={"Accept": accept})
        assert seen.headers["content-type"] == form


def test_an_empty_farm_tells_a_newcomer_what_to_do() -> None:
    visitor = Visitor(FakePages())
    for page in ("/", "/builds"):
        assert "bin/startcompile.py --foreground you@example.org" in visitor.visit(page).text
    assert "bin/buildserver.py" in visitor.visit("/buildservers").text


def test_addresses_of_requesters_are_masked_on_every_page_and_those_of_donors_are_there_to_be_asked(
    visitor: Visitor,
) -> None:
    donor = "Ada &lt;ada@example.org&gt;"
    assert donor in visitor.visit("/buildservers").text
    for page in HTML_PAGES:
        text = visitor.visit(page).text.replace(donor, "")
        for local in ("ada", "grace", "edsger", "barbara", "ken"):
            assert f"{local}@" not in text
    assert "a…@example.org" in visitor.visit("/build/1").text


# --- logs -------------------------------------------------------------------------------------------------


def test_a_log_is_plain_text_of_the_deciding_attempt_or_of_the_one_asked_for(visitor: Visitor) -> None:
    seen = visitor.visit("/logs/3")
    assert seen.headers["content-type"] == "text/plain; charset=utf-8"
    assert seen.body == LOG.encode() * 2
    assert seen.headers["log-finished"] == "yes"
    assert visitor.visit("/logs/3?attempt=1").body == LOG.encode()
    assert visitor.visit("/logs/4").headers["log-finished"] == "no"


def test_a_log_may_hold_any_bytes(visitor: Visitor) -> None:
    assert visitor.visit("/logs/1").body == b"ok \xff\x00\n"


def test_an_attempt_whose_log_is_gone_says_so(visitor: Visitor) -> None:
    seen = visitor.visit("/logs/7")
    assert (seen.status, seen.text) == (
        410,
        "The log of build 7, attempt 3, is not kept any more: it has expired, or was damaged.\n",
    )


@pytest.mark.parametrize(
    ("asked", "status", "body", "said"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=4-99", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"The log has 10 bytes.\n", "bytes */10"),
        ("bytes=-0", 200, b"0123456789", None),
        ("bytes=3-1", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=" + "9" * 19 + "-", 416, b"The log has 10 bytes.\n", "bytes */10"),
    ],
)
def test_a_part_of_a_log_can_be_asked_for(asked: str, status: int, body: bytes, said: str | None) -> None:
    visitor = Visitor(farm(), FakeLogs({(3, 2): b"0123456789"}))
    seen = visitor.visit("/logs/3", headers={"Range": asked})
    assert (seen.status, seen.body, seen.headers.get("content-range")) == (status, body, said)
    whole = visitor.visit("/logs/3", headers={"Range": asked, "If-Range": '"old"'})
    assert (whole.status, whole.body) == (200, b"0123456789")


def test_a_long_log_is_read_in_pieces_of_bounded_size() -> None:
    store = FakeLogs({(3, 2): bytes(range(256)) * 8_000})
    assert Visitor(farm(), store).visit("/logs/3").body == store.logs[3, 2]
    assert store.longest_read == 128 * 1024


def test_a_log_that_is_cleared_away_before_it_is_read_is_a_404() -> None:
    seen = Visitor(farm(), FakeLogs({(3, 2): b"x" * 100}, gone_from=0)).visit("/logs/3", headers={"Range": "bytes=1-"})
    assert (seen.status, seen.headers.get("content-range")) == (404, None)
    check_html(seen.text)


def test_the_head_of_a_log_reads_none_of_it() -> None:
    store = logs()
    assert Visitor(farm(), store).visit("/logs/3", "HEAD").headers["content-length"] == str(2 * len(LOG))
    assert store.longest_read == 0


# --- files, health ----------------------------------------------------------------------------------------


def test_static_files_are_named_by_content_and_kept_for_ever(visitor: Visitor) -> None:
    hrefs = [link for link in links(visitor.visit("/").text) if link.startswith("/static/")]
    assert len(hrefs) == 3
    for href in hrefs:
        seen = visitor.visit(href)
        assert seen.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert seen.headers["content-type"].split(";")[0] in ("text/css", "image/svg+xml", "text/javascript")
    assert "no-cache" in visitor.visit("/").headers["cache-control"]


def test_health_is_200_while_the_database_answers_and_503_while_not() -> None:
    seen = Visitor(farm()).visit("/health")
    assert (seen.status, seen.headers["content-type"]) == (200, "application/json")
    assert json.loads(seen.text)["status"] == "ok"
    away = Visitor(FakePages(broken=StorageUnavailable("/secret/place cannot be used"))).visit("/health")
    assert away.status == 503
    assert json.loads(away.text)["status"] == "unavailable"
    assert "/secret/place" not in away.text


# --- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", HTML_PAGES)
@pytest.mark.parametrize("error", [StorageUnavailable("/secret/db is locked"), NewerDatabase("/secret/db is newer")])
def test_a_database_that_cannot_be_read_is_a_503_page_that_tells_no_path(path: str, error: Exception) -> None:
    seen = Visitor(FakePages(broken=error)).visit(path)
    assert (seen.status, seen.headers["retry-after"]) == (503, "5")
    check_html(seen.text)
    assert "secret" not in seen.text


@pytest.mark.parametrize("path", [*HTML_PAGES, "/logs/3"])
def test_a_defect_is_a_500_page_of_one_line_with_a_number_that_is_in_the_log(
    path: str, expected_failures: LoggedFailures
) -> None:
    seen = Visitor(FakePages(broken=ZeroDivisionError("the secret"))).visit(path)
    assert seen.status == 500
    check_html(seen.text)
    assert "Traceback" not in seen.text
    assert "secret" not in seen.text
    assert "as error " in seen.text
    assert len(expected_failures.flush(ZeroDivisionError)) == 1


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "\xff", "", "evil.example"])
def test_the_host_header_changes_nothing(visitor: Visitor, host: str) -> None:
    seen = visitor.visit("/builds", headers={"Host": host})
    assert seen.status == 200
    assert seen.body == visitor.visit("/builds").body


FORGED = (
    "Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-For", "X-Forwarded-Port",
    "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Http-Method-Override", "Referer", "Origin", "Range",
    "If-Range", "If-None-Match", "Accept-Language", "Cookie",
)  # fmt: skip
INJECTING = (
    "/evil", "/evil%0d%0aSet-Cookie:%20evil=1", "//evil.example/", "/build/1/evil", "/builds?state=evil",
    "/builds?project=evil%0d%0aevil:1", "/logs/3?attempt=evil", "/confirm/evil%0d%0aevil:1",
)  # fmt: skip


@pytest.mark.parametrize("path", ["/", *OTHER_PAGES, *INJECTING])
def test_no_header_of_an_answer_has_a_word_of_the_visitor_and_none_leads_anywhere(visitor: Visitor, path: str) -> None:
    for method, text in (("GET", "evil.example"), ("HEAD", "evil.example\tevil"), ("POST", 'bytes=0-1,"evil')):
        seen = visitor.visit(path, method, headers=dict.fromkeys(FORGED, text))
        assert "evil" not in f"{seen.headers}".lower()
        assert not {"location", "set-cookie", "refresh", "link", "content-location"} & set(seen.headers)
        assert not 300 <= seen.status < 400


# --- hostile values ----------------------------------------------------------------------------------------

NASTY = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'onmouseover='x", "</pre></svg></style>",
    "{{ 7*7 }}", "]]>--><!--", "&lt;&#0;&", "\x00\x0b\x1b[31m\x7f\x85", "\ud800", "\ufdd0\U0001ffff", "\u202egnp.zip",
    "\r\nX-Evil: 1", "javascript:alert(1)", "a" * 5_000, "\u2028", " ", "%2e%2e/", "//evil.example/", "?#",
)  # fmt: skip
nasty = st.lists(st.sampled_from(NASTY) | strategies.free_text, min_size=1, max_size=2).map("".join)


def poisoned(value: Any, text: str) -> Any:
    """Return ``value`` with ``text`` in every place where there is free text."""
    if isinstance(value, str):
        return text
    if isinstance(value, tuple | list):
        items = [poisoned(item, text) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if attrs.has(type(value)):
        names = [field.name for field in attrs.fields(type(value)) if field.init]
        return evolve(value, **{name: poisoned(getattr(value, name), text) for name in names})
    return value


@settings(max_examples=examples(20))  # of seven pages each
@given(nasty)
def test_hostile_text_in_every_field_stays_text_and_the_page_valid(text: str) -> None:
    """Every string of every row is hostile; tags and links are still only those that the templates have."""
    clean = farm()
    hostile = FakePages(
        builds_made=poisoned(clean.builds_made, text),
        attempts=poisoned(clean.attempts, text),
        artifacts=poisoned(clean.artifacts, text),
        requests=poisoned(clean.requests, text),
        servers=[poisoned(clean.servers[0], text)],
        mail_errors={2: text},
    )
    visitor = Visitor(hostile, logs())
    for page in ("/", "/buildservers", "/builds", "/build/1", "/build/2", "/build/3", "/build/4"):
        seen = visitor.visit(page)
        assert seen.status == 200
        check_html(seen.text)
        assert seen.text.replace("\n", "").replace("\t", "").isprintable()
        for tag, attributes in tags(seen.text):
            assert tag not in ("img", "style", "iframe", "object")
            assert tag != "script" or str(attributes["src"]).startswith("/static/")
            assert not any(name.startswith("on") for name in attributes)
        for link in links(seen.text):
            assert link == "" or link.startswith(("/", PUBLIC, f"{TRANSFER}/artifacts/"))
            assert urlsplit(link).netloc in ("", urlsplit(PUBLIC).netloc, urlsplit(TRANSFER).netloc)


@settings(max_examples=examples(50))
@given(st.sampled_from(["q", "project", "state", "before", "x"]), nasty)
def test_hostile_queries_are_answered_with_a_valid_page(name: str, text: str) -> None:
    asked = "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass")[:3_000])
    seen = Visitor(farm()).visit(f"/builds?{name}={asked}")
    assert seen.status in (200, 400, 404)
    check_html(seen.text)


@settings(max_examples=examples(50))
@given(st.binary(max_size=60))
def test_any_path_is_answered_with_a_valid_page_or_a_404(path: bytes) -> None:
    seen = Visitor(farm(), logs()).visit("/" + "".join(f"%{byte:02x}" for byte in path))
    assert seen.status in (200, 400, 404)
