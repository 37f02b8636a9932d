"""The access log: one line an answer, whatever was sent, that programs for such logs can read, and without secrets."""

import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from attrs import evolve, frozen
from hypothesis import given

from buildtool.adapters.runtime.access_log import AGAIN, AccessLog
from buildtool.web.answers import shown_path
from buildtool.web.app import SECTIONS
from buildtool.web.monitoring.access_log import VisitLine

VISIT = VisitLine(
    "192.0.2.7", "anna@example.org", 1_790_086_400.5, b"GET", b"/builds?q=project:lua", b"HTTP/1.1", 200, 5120,
    b"https://farm.example/", b"Mozilla/5.0 (X11)",
)  # fmt: skip
COMBINED = re.compile(
    r'[0-9a-f.:]+ - \S+ \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "[^"]*" \d{3} (?:\d+|-) "[^"]*" "[^"]*"\n'
)


def test_a_line_says_who_asked_for_what_and_how_it_went() -> None:
    assert VISIT.line() == (
        '192.0.2.7 - anna@example.org [22/Sep/2026:14:13:20 +0000] "GET /builds?q=project:lua HTTP/1.1" 200 5120 '
        '"https://farm.example/" "Mozilla/5.0 (X11)"\n'
    )
    stranger = evolve(VISIT, who="", length=0, referer=b"", agent=b"", status=304).line()
    assert " - - [" in stranger
    assert stranger.endswith(' 304 - "-" "-"\n')


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60), st.text(max_size=20))
def test_nothing_that_was_sent_begins_a_line_or_ends_a_field(
    method: bytes, target: bytes, agent: bytes, who: str
) -> None:
    line = evolve(VISIT, method=method, target=target, agent=agent, referer=agent, who=who).line()
    assert COMBINED.fullmatch(line)
    assert line.isascii()


def test_codes_that_were_mailed_are_in_no_line() -> None:
    for path in (b"/confirm/aaaa-bbbb", b"/sign-in/aaaa-bbbb?x=1", b"/farm/sign-in/aaaa-bbbb"):
        line = evolve(VISIT, target=path, referer=b"https://farm.example" + path).line()
        assert "aaaa" not in line
        assert "/***" in line
    assert "/sign-in/mail " in evolve(VISIT, target=b"/sign-in/mail").line()


@frozen
class Asked:
    """A request, as far as what is logged of it asks."""

    path: bytes


def test_what_is_secret_in_the_address_of_any_page_is_in_no_line() -> None:
    paths = [route.path for section in SECTIONS for route, _ in section.routes()]
    secret = [path for path in paths if path.endswith(("/<code>", "/<token>"))]
    assert "/unsubscribe/<token>" in secret, "whose link ends mails for ever"
    for path in secret:
        target = f"/farm{path.rpartition('/')[0]}/aaaa.bbbb?x=1".encode()
        assert "aaaa" not in evolve(VISIT, target=target, referer=b"https://farm.example" + target).line()
        request: Any = Asked(target.partition(b"?")[0])
        assert "aaaa" not in shown_path(request), "the log of the program, where that page failed"


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    kept = AccessLog(file)
    kept.write("one\n")
    file.rename(tmp_path / "access.log.1")
    kept.write("two\n")
    kept.write("three\n")
    kept.close()
    assert (tmp_path / "access.log.1").read_text() == "one\n"
    assert file.read_text() == "two\nthree\n"


def test_a_file_that_cannot_be_written_is_tried_again_later(tmp_path: Path) -> None:
    now = [0.0]
    kept = AccessLog(tmp_path / "gone" / "access.log", lambda: now[0])
    kept.write("one\n")
    (tmp_path / "gone").mkdir()
    kept.write("two\n")
    now[0] += AGAIN
    kept.write("three\n")
    kept.close()
    assert (tmp_path / "gone" / "access.log").read_text() == "three\n"
