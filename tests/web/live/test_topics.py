"""What events are about, in the words of pages, and who hears of it."""

from buildtool.ports.pages import ConcernedBuild
from buildtool.protocol.news import EventNote
from buildtool.web.live.topics import ALL_BUILDS, NAMED_MOST, OwnTopic, PageChange, change_of, merged, subjects_of


def note(subject: str, seq: int = 1) -> EventNote:
    return EventNote(seq, "x", subject)


def test_an_event_about_a_build_a_request_or_an_attempt_is_about_its_page_and_every_list() -> None:
    for subject, found in (("build/7", "builds"), ("attempt/7.2", "builds"), ("request/7", "requests")):
        subjects = subjects_of([note(subject)])
        assert getattr(subjects, found) == {7}
        assert subjects.others == {"farm", "builds", "queue", "machines"}


def test_an_event_about_a_build_server_is_about_its_page_and_one_about_anything_else_about_the_farm() -> None:
    assert subjects_of([note("server/elm-2")]).others == {"machine/elm-2", "machines", "farm", "queue"}
    for odd in ("metaserver", "build/x", "build/", "build/99999999999999999999", "server/", "ada@example.org"):
        assert subjects_of([note(odd)]).others == {"farm", "queue"}


def test_a_change_of_many_builds_names_none() -> None:
    few = subjects_of(note(f"build/{number}") for number in range(NAMED_MOST))
    assert not few.many
    many = subjects_of(note(f"build/{number}") for number in range(NAMED_MOST + 1))
    assert change_of(9, many, ()).text.split() == [ALL_BUILDS, "builds", "farm", "machines", "queue"]


def test_who_may_not_see_a_build_does_not_hear_of_it() -> None:
    concerned = [ConcernedBuild(7, "lua", (), 1, "elm"), ConcernedBuild(8, "secret", (), 1, "")]
    change = change_of(9, subjects_of([note("build/7"), note("build/8")]), concerned)
    assert change.text == "build/7 build/8 builds farm machine/elm machines queue"
    assert change.text_for(lambda project, _platform: project == "lua").split()[0] == "build/7"
    assert "build/8" not in change.text_for(lambda project, _platform: project == "lua")


def test_changes_one_after_the_other_are_one() -> None:
    first = PageChange(1, frozenset({"farm"}), (OwnTopic("build/1", "lua", ()),))
    second = PageChange(2, frozenset({"queue"}), (OwnTopic("build/2", "lua", ()),))
    assert merged([first, second]).text == "build/1 build/2 farm queue"
    assert merged([first, second]).seq == 2
    many = PageChange(
        3, frozenset(), tuple(OwnTopic(f"build/{number}", "lua", ()) for number in range(2, NAMED_MOST + 2))
    )
    assert ALL_BUILDS in merged([first, many]).text
