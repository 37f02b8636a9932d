"""The list of builds, from domain values to what its template shows."""

from attrs import evolve

from buildtool.model.records import BuildState
from buildtool.model.search.build_query import EVERYTHING, read_query
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import SourceTrust
from buildtool.ports.pages import BuildLine, BuildsAsked, BuildsFound, StateCount
from buildtool.web.pages.builds import PER_PAGE, Viewer, build_row, builds_page, count_words
from buildtool.web.urls import Urls
from tests.support.inline import run
from tests.web.fake_pages import NOW, FakePages
from tests.web.farm import OPTIONS, build, farm

URLS = Urls("http://farm.example", "http://farm.example:23433")


def line(number: int) -> BuildLine:
    (found,) = run(farm().builds(BuildsAsked(evolve(EVERYTHING, number=(number,))))).lines
    return found


def many(count: int) -> FakePages:
    return FakePages(builds_made=[build(number, BuildState.QUEUED, 5) for number in range(1, count + 1)])


def test_a_row_says_when_it_was_asked_for_and_how_long_the_attempt_took_that_decided() -> None:
    """Build 2 was moved twice: what counts is the last of its attempts, on the machine that has it now."""
    row = build_row(line(2), URLS, NOW)
    assert (row.under, row.took, row.when.words) == ("elm, attempt 3", "11 min 38 s", "48 min ago")
    assert build_row(line(4), URLS, NOW + 3_600).took == "1 h 1 min"
    assert build_row(line(6), URLS, NOW).took == ""


def test_a_row_says_that_a_build_is_of_an_untrusted_ref_beside_what_was_typed() -> None:
    own, strange = line(2), line(2)._replace(trust=SourceTrust.UNTRUSTED)
    assert "untrusted" not in build_row(own, URLS, NOW).ref
    assert build_row(strange, URLS, NOW).ref == f"{build_row(own, URLS, NOW).ref}, from an untrusted ref".lstrip(", ")
    assert build_row(strange._replace(ref="", revrange=""), URLS, NOW).ref == "from an untrusted ref"


def test_a_row_says_why_there_is_no_machine_or_no_artifact() -> None:
    said = {number: build_row(line(number), URLS, NOW).under for number in (3, 5, 6)}
    assert said == {
        3: "ash: the command `make` exited with status 2",
        5: "nobody waits for it any more",
        6: "waits for a machine",
    }
    later = line(6)._replace(not_before=NOW + 60.0, server="elm")
    assert build_row(later, URLS, NOW).under == "waits again after elm, next try in 1 min"


def test_a_row_of_a_running_build_says_how_it_is_made_and_one_that_ended_where_it_was_not_native() -> None:
    said = [
        build_row(line(number)._replace(kind=kind), URLS, NOW).under
        for number, kind in (
            (4, OfferKind.NATIVE),
            (4, OfferKind.CROSS),
            (2, OfferKind.NATIVE),
            (2, OfferKind.EMULATED),
        )
    ]
    assert said == [
        "ash (native)", "ash (cross-compiled)", "elm, attempt 3", "elm (emulated), attempt 3",
    ]  # fmt: skip


def test_a_row_shows_the_options_that_differ_from_the_defaults() -> None:
    shown = [
        build_row(line(1), URLS, NOW, Viewer((), {"testproject": defaults})).options
        for defaults in (OPTIONS, tuple({**dict(OPTIONS), "width": 79}.items()), (("checks", True),))
    ]
    assert shown == ["default options", "width=80", "optimise=speed width=80"]
    assert build_row(line(1), URLS, NOW).options == "checks=yes optimise=speed width=80"


def test_two_people_never_look_the_same_and_whoever_looks_is_told_what_is_theirs() -> None:
    ada = line(1)
    other = ada._replace(email="anna@example.org", person=ada.person + 1)
    assert build_row(ada, URLS, NOW).who != build_row(other, URLS, NOW).who
    assert "@example.org" in build_row(ada, URLS, NOW).who
    assert "ada" not in build_row(ada, URLS, NOW).who
    assert build_row(ada, URLS, NOW, Viewer(("ada@example.org",))).who == "you"
    assert build_row(ada._replace(requests=3), URLS, NOW, Viewer(("ada@example.org",))).who == "you and 2 more"


def test_pages_lead_to_older_and_newer_builds_by_the_numbers_shown() -> None:
    pages, query = many(130), read_query("state:queued")

    def page(before: int | None = None, after: int | None = None) -> tuple[list[int], str, str]:
        asked = BuildsAsked(query, before, after, PER_PAGE)
        shown = builds_page(run(pages.builds(asked)), asked, URLS, NOW)
        return [row.id for row in shown.rows], shown.newer, shown.older

    asked = "/builds?q=state%3Aqueued"
    assert page() == ([*range(130, 80, -1)], "", f"{asked}&before=81")
    assert page(before=81) == ([*range(80, 30, -1)], f"{asked}&after=80", f"{asked}&before=31")
    assert page(before=31) == ([*range(30, 0, -1)], f"{asked}&after=30", "")
    assert page(after=30) == ([*range(80, 30, -1)], f"{asked}&after=80", f"{asked}&before=31")
    assert page(after=100) == ([*range(130, 100, -1)], "", f"{asked}&before=101")


def test_a_search_that_stopped_says_how_far_it_came_and_leads_on() -> None:
    shown = builds_page(BuildsFound((), stopped=70), BuildsAsked(), URLS, NOW)
    assert (shown.stopped, shown.older) == ("Only builds from #70 on were searched.", "/builds?before=70")
    back = builds_page(BuildsFound((), stopped=70), BuildsAsked(after=3), URLS, NOW)
    assert (back.stopped, back.newer) == ("Only builds up to #70 on were searched.", "/builds?after=70")


def test_chips_have_counts_that_are_exact_or_say_that_they_are_not() -> None:
    counts = {BuildState.QUEUED: StateCount(3, exact=True), BuildState.FAILED: StateCount(1_001, exact=False)}
    found = BuildsFound((), counts=counts)
    asked = BuildsAsked(read_query("project:lua state:failed"))
    shown = builds_page(found, asked, URLS, NOW, viewer=Viewer(("a@b.example",)))
    assert [(chip.text, chip.current, chip.url) for chip in shown.chips] == [
        ("all 1,000+", False, "/builds?q=project%3Alua"),
        ("queued 3", False, "/builds?q=project%3Alua+state%3Aqueued"),
        ("failed 1,000+", True, "/builds?q=project%3Alua"),
        ("mine", False, "/builds?q=project%3Alua+state%3Afailed+by%3Ame"),
    ]
    assert [count_words(StateCount(*one)) for one in ((0, True), (1_000, True), (17, False))] == ["0", "1,000", "17+"]
