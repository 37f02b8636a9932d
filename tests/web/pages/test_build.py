"""The page of a build, from domain values to what its template shows."""

from operator import attrgetter

import pytest
from attrs import evolve

from buildtool.model.farm.deployment import ProjectPlace
from buildtool.model.options import choice, flag, number
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.records import AttemptEnd, BuildState, RequestState
from buildtool.model.search.commits import CommitNote, RevisionKey
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import ANYTHING
from buildtool.ports.pages import ATTEMPTS_SHOWN, REQUESTS_SHOWN, BuildsAsked
from buildtool.web.pages.build import Known, build_page, deciding_epoch
from buildtool.web.pages.builds import build_row
from buildtool.web.pages.common import TEXT_SHOWN
from buildtool.web.urls import Urls
from tests.messages import explanation
from tests.support.inline import run
from tests.web.fake_pages import NOW, FakePages
from tests.web.farm import attempt, build, detail, farm, request

URLS = Urls("http://farm.example", "http://farm.example:23433")


def test_a_withdrawn_artifact_is_not_offered() -> None:
    pages = farm()
    pages.artifacts[0] = evolve(pages.artifacts[0], withdrawn="its file is gone")
    card = build_page(detail(1, pages), URLS, NOW).artifact
    assert card is not None
    assert (card.url, card.verify, card.withdrawn) == ("", "", "its file is gone")
    (line,) = [line for line in run(pages.builds(BuildsAsked())).lines if line.id == 1]
    assert build_row(line, URLS, NOW).zip is None


def test_the_page_of_a_build_says_that_it_is_of_an_untrusted_ref() -> None:
    pages = farm()
    own = detail(1, pages)
    strange = evolve(own, build=evolve(own.build, spec=evolve(own.build.spec, policy=ANYTHING)))
    said = [[fact.text for fact in build_page(one, URLS, NOW).facts if fact.name == "Commit"] for one in (own, strange)]
    assert said == [[], ["from an untrusted ref: given only to who asks for this very commit"]]


def test_the_command_that_verifies_is_only_shown_for_a_name_that_a_shell_takes_literally() -> None:
    pages = farm()
    card = build_page(detail(1, pages), URLS, NOW).artifact
    assert card is not None
    assert card.verify == f'echo "{"01" * 32}  {pages.artifacts[0].name}" | sha256sum -c'
    for name in ("$(reboot).zip", "-rf", 'a".zip', "a b.zip", "`x`", "ä.zip"):
        pages.artifacts[0] = evolve(pages.artifacts[0], name=name)
        hostile = build_page(detail(1, pages), URLS, NOW).artifact
        assert hostile is not None
        assert hostile.verify == ""


def test_the_command_that_asks_for_the_same_names_who_is_told_only_by_an_address() -> None:
    """Some are known by a name alone, as who acts on the farm's machine is."""
    options = ProjectOptions(
        standard(), (flag("checks"), choice("optimise", ["size", "speed"]), number("width", default=80))
    )
    by_name = Known(options=options, mine=("root (uid 0)",))
    page = build_page(detail(1), URLS, NOW, known=by_name)
    assert page.command.endswith(" you@example.org")
    assert not page.again
    named = build_page(detail(1), URLS, NOW, known=evolve(by_name, address="Ann@example.org"))
    assert named.command.endswith(" Ann@example.org")
    assert named.again


def test_who_asked_without_an_address_is_the_operator_or_a_trigger() -> None:
    pages = farm()
    for share, who in (("", "the operator"), ("trigger:lua/push main", "trigger:lua/push main")):
        asked = detail(1, pages)
        lines = tuple(evolve(one, request=evolve(one.request, email="", share=share)) for one in asked.requests)
        shown = build_page(evolve(asked, requests=lines), URLS, NOW).requests
        assert {one.who for one in shown} == {who}


def test_a_build_that_runs_is_said_to_be_made_on_which_machine_and_how() -> None:
    pages = farm()
    going = build_page(detail(4, pages), URLS, NOW).going
    assert going is not None
    assert going.text.endswith("; running on ash (native) for")
    pages.attempts = [evolve(one, kind=OfferKind.CROSS) for one in pages.attempts]
    crossed = build_page(detail(4, pages), URLS, NOW).going
    assert crossed is not None
    assert crossed.text.endswith("; running on ash (cross-compiled) for")


def test_an_attempt_that_never_began_has_no_log_and_took_no_time() -> None:
    pages = farm()
    begun = build_page(detail(2, pages), URLS, NOW).attempts[0]
    assert (begun.log, begun.took) == ("/build/2/log?attempt=1", "14 min 58 s")
    pages.attempts[1] = evolve(pages.attempts[1], accepted_at=None, end=AttemptEnd.REFUSED)
    declined = build_page(detail(2, pages), URLS, NOW).attempts[0]
    assert (declined.log, declined.took) == ("", "")


def test_a_failure_shows_the_end_of_the_log_that_decided_it() -> None:
    pages = farm()
    pages.attempts = [evolve(one, kind=OfferKind.CROSS) for one in pages.attempts]
    page = build_page(detail(3, pages), URLS, NOW)
    assert "wdith" in page.tail
    assert page.tail_log == "/build/3/log?attempt=2"
    assert build_page(detail(1), URLS, NOW).tail == ""


def test_a_revision_is_shown_with_what_is_known_of_it_and_no_address_is() -> None:
    pages, place = farm(), ProjectPlace(revision_url="https://git.example/c/{revision}")
    spec = detail(1, pages).build.spec
    bare = build_page(detail(1, pages), URLS, NOW).revision
    assert (bare.id, bare.url, bare.subject, bare.when) == (spec.revision, "", "", None)
    note = CommitNote("Mend it for ada@example.org", "Ada <ada@example.org>", NOW - 7_200)
    pages.commits[RevisionKey(spec.project, spec.source, spec.revision)] = note
    shown = build_page(detail(1, pages), URLS, NOW, known=Known(place)).revision
    assert shown.url == f"https://git.example/c/{spec.revision}"
    assert (shown.subject, shown.author) == ("Mend it for a…@example.org", "Ada <a…@example.org>")
    assert shown.when is not None
    assert shown.when.words == "2 h ago"


def test_requests_that_are_not_shown_are_counted() -> None:
    made = build(1, BuildState.QUEUED, 10)
    asked = [request(number, made, "a@example.org", RequestState.WAITING) for number in range(REQUESTS_SHOWN + 5)]
    page = build_page(detail(1, FakePages(builds_made=[made], requests=asked)), URLS, NOW)
    assert (len(page.requests), page.more_requests) == (REQUESTS_SHOWN, "and 5 more requests.")


def test_a_request_that_waits_says_how_far_it_was_moved() -> None:
    made = build(1, BuildState.QUEUED, 10)
    asked = [request(number, made, "a@example.org", RequestState.WAITING) for number in range(4)]
    moved = [evolve(one, nice=nice) for one, nice in zip(asked, (0, 1, 5, -20), strict=True)]
    page = build_page(detail(1, FakePages(builds_made=[made], requests=moved)), URLS, NOW)
    assert [one.moved for one in sorted(page.requests, key=attrgetter("id"))] == [
        "", "lets 1 round of others go first", "lets 5 rounds of others go first", "moved 20 rounds forward",
    ]  # fmt: skip


def test_where_no_machine_was_ever_known_the_page_says_so() -> None:
    made = build(1, BuildState.QUEUED, 10)
    why = explanation("queued", reason="no build server has ever registered", reasons=(), ahead=0)
    page = build_page(detail(1, FakePages(builds_made=[made])), URLS, NOW, why=why)
    assert page.waiting is not None
    assert page.waiting.notes == ("No build server has ever registered.",)


def test_a_build_that_was_tried_very_often_shows_its_newest_attempts() -> None:
    made = build(1, BuildState.QUEUED, 10_000)
    tried = [attempt(1, epoch, "elm", 10_000 - epoch, AttemptEnd.REFUSED, 1) for epoch in range(1, 100)]
    page = build_page(detail(1, FakePages(builds_made=[made], attempts=tried)), URLS, NOW)
    assert [row.epoch for row in page.attempts] == list(range(100 - ATTEMPTS_SHOWN, 100))
    assert page.earlier == "49 earlier attempts not shown."


@pytest.mark.parametrize(
    ("number", "epoch"), [(1, 1), (2, 3), (3, 2), (4, 1)], ids=["succeeded", "retried", "failed", "running"]
)
def test_the_log_of_a_build_is_that_of_the_attempt_that_decided_it_or_else_the_newest(number: int, epoch: int) -> None:
    assert deciding_epoch(detail(number).build) == epoch
    assert deciding_epoch(detail(6).build) is None


def test_what_a_page_says_of_each_attempt_and_request_is_bounded() -> None:
    pages = farm()
    pages.requests[3] = evolve(pages.requests[3], reason="r" * 4_000)
    pages.attempts = [evolve(it, reason="r" * 4_000) for it in pages.attempts]
    page = build_page(detail(3, pages), URLS, NOW)
    most = TEXT_SHOWN + 1
    assert all(len(it.trouble) <= most for it in page.requests)
    assert all(len(it.reason) <= most for it in page.attempts)
