"""Logs over the real application: their index, what is found in them, and the page to read them."""

import json
from html import unescape
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

import buildtool.web
from buildtool.model.logs.marks import LogMark, MarkKind
from tests.web.fake_pages import FakeLogs
from tests.web.farm import farm, logs
from tests.web.visitor import Visitor, check_html

LINES = b"".join(b"line %d\n" % number for number in range(1, 251))
HOSTILE = (
    b'<script>alert(1)</script>\n"><img src=x onerror=alert(2)>\n\x1b]8;;javascript:alert(3)\x07link\x1b]8;;\x07\n'
)


def visitor(log: bytes, *, growing: bool = False) -> Visitor:
    return Visitor(farm(), FakeLogs({(3, 2): log}, {(3, 2)} if growing else set()))


@pytest.mark.parametrize("path", ["/build/3/log", "/build/3/log?attempt=1", "/build/3/log?q=lua", "/build/4/log"])
def test_its_page_is_valid_html(path: str) -> None:
    seen = Visitor(farm(), logs()).visit(path)
    assert seen.status == 200
    check_html(seen.text)


def test_the_page_of_a_build_that_failed_shows_its_first_error_and_one_that_succeeded_no_log() -> None:
    at = Visitor(farm(), FakeLogs({(3, 2): LINES + b"x.c:1: error: no\n" + LINES, (1, 1): LINES}))
    text = at.visit("/build/3").text
    check_html(text)
    assert 'class="ln e" id="L251"' in text
    assert "End of the log" not in text
    assert "log.js" not in at.visit("/build/1").text
    assert "End of the log" in Visitor(farm(), FakeLogs()).visit("/build/3").text


def test_without_script_a_log_is_read_page_by_page_around_its_first_error() -> None:
    at = visitor(LINES + b"x.c:1: error: no\n" + LINES)
    text = at.visit("/build/3/log").text
    assert 'id="L231"' in text
    assert 'class="ln e" id="L251"' in text
    assert 'id="L230"' not in text
    assert '"/build/3/log?attempt=2&amp;from=131"' in text
    text = at.visit("/build/3/log?attempt=2&from=131").text
    assert 'id="L131"' in text
    assert 'id="L231"' not in text


def test_without_script_it_is_searched_by_a_form() -> None:
    text = visitor(LINES).visit("/build/3/log?q=LINE+17").text
    assert "11 lines found." in text
    assert "from=150#L170" in unescape(text)
    assert 'class="ln t" id="L17"' in text
    check_html(text)


@pytest.mark.parametrize("path", ["/build/3/log", "/build/3/log?q=%3Cscript%3E", "/build/3/log?q=%22%3E%3Cb%3E"])
def test_what_a_log_says_is_never_markup(path: str) -> None:
    text = visitor(HOSTILE).visit(path).text
    check_html(text)
    assert text.count("<script") == text.count('<script src="/static/') == 2
    for part in ("<img", "<b>", "javascript:", "onerror=alert(2)>\n", "style="):
        assert part not in text.partition("<main")[2]


def test_the_script_writes_text_and_never_markup() -> None:
    """Lines, names of phases and what is searched for come from outside."""
    script = (Path(next(iter(buildtool.web.__path__))) / "static" / "log.js").read_text()
    for part in ("innerHTML", "outerHTML", "insertAdjacent", "eval(", "document.write", "Function(", "setTimeout("):
        assert part not in script.replace("setTimeout(poll", "").replace("setTimeout(find", "")


def test_the_index_says_where_lines_errors_and_phases_are() -> None:
    log = LINES + b"warning: x\nerror: y\n"
    pages = FakeLogs({(3, 2): log})
    pages.marks[3, 2] = [
        LogMark(0, 0, MarkKind.BEGIN, 0.0, "build"),
        LogMark(1, len(log), MarkKind.FAILED, 2.5, "exited with code 2"),
    ]
    seen = Visitor(farm(), pages).visit("/logs/3/index")
    assert seen.headers["content-type"] == "application/json"
    told = json.loads(seen.body)
    assert (told["length"], told["indexed"], told["lines"], told["finished"]) == (len(log), len(log), 252, True)
    assert told["errors"] == [[252, len(LINES) + 11]]
    assert told["warnings"] == [[251, len(LINES)]]
    assert told["phases"] == [
        {
            "type": "PhaseSummary",
            "name": "build", "line": 1, "start": 0, "end": len(log), "began": 0.0, "ended": 2.5,
            "how": "exited with code 2", "failed": True,
        }
    ]  # fmt: skip


def test_an_index_that_is_known_is_not_sent_again_and_of_one_that_grew_only_what_is_new() -> None:
    first = visitor(LINES + b"error: one\nhalf", growing=True)
    seen = first.visit("/logs/3/index")
    told = json.loads(seen.body)
    again = first.visit("/logs/3/index", headers={"If-None-Match": seen.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert told["next"] == len(LINES) + 11
    grown = visitor(LINES + b"error: one\nhalf an error: two\n").visit(
        f"/logs/3/index?from={told['next']}", headers={"If-None-Match": seen.headers["etag"]}
    )
    assert grown.status == 200
    assert json.loads(grown.body)["errors"] == [[252, told["next"]]]


def test_a_search_tells_lines_and_whether_it_is_complete() -> None:
    at = visitor(LINES)
    told = json.loads(at.visit("/logs/3/search?q=LINE+25").body)
    assert told.pop("type") == "LogSearchSummary"
    assert told == {"lines": [25, 250], "count": 2, "complete": True, "upto": 250}
    assert json.loads(at.visit("/logs/3/search?q=LINE+25&case=1").body)["count"] == 0


@pytest.mark.parametrize("query", ["", "?q=", "?q=a%0Ab", "?q=" + "x" * 201])
def test_what_cannot_be_searched_for_is_refused(query: str) -> None:
    seen = visitor(LINES).visit(f"/logs/3/search{query}")
    assert (seen.status, seen.headers["content-type"]) == (400, "text/plain; charset=utf-8")


def test_a_search_ends_when_its_visitor_leaves() -> None:
    cancelled: list[str] = []
    pages = FakeLogs({(3, 2): LINES}, searching=Deferred(lambda _: cancelled.append("it")))
    at = Visitor(farm(), pages)
    at.leave("/logs/3/search?q=x")
    assert cancelled == ["it"]


@pytest.mark.parametrize("path", ["/logs/3", "/build/3/log"])
def test_a_log_that_went_is_said_to_have_expired_and_one_that_has_not_come_is_not(path: str) -> None:
    at = Visitor(farm(), FakeLogs())
    assert "The log of build 3, attempt 2, is not kept any more: it has expired, or was damaged." in at.visit(path).text
    assert "No log of build 4, attempt 1, has arrived." in at.visit(path.replace("3", "4")).text
    assert at.visit("/logs/3").status == 410
    assert at.visit("/logs/3/index").status == 404


def test_a_log_that_expired_says_when_and_by_which_rule() -> None:
    pages = farm()
    pages.logs_gone[3] = "expired on 2026-11-20 (rule: logs older than 30 days)"
    at = Visitor(pages, FakeLogs())
    said = "The log of build 3, attempt 2, expired on 2026-11-20 (rule: logs older than 30 days)."
    assert said in at.visit("/build/3/log").text
    for path in ("/logs/3", "/logs/3/index", "/logs/3/search?q=x"):
        seen = at.visit(path)
        assert (seen.status, said in seen.text) == (410, True)
    there = Visitor(pages, FakeLogs({(3, 2): b"words\n"}))  # it is being read, so it has not gone yet
    assert (there.visit("/logs/3").text, there.visit("/logs/3/index").status) == ("words\n", 200)
