"""Several builds at once: each line says what differs, the table has a row for each, the worst code is the exit."""

from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from buildtool.errors import UsageError
from buildtool.protocol.messages import RequestStatus
from buildtool.requester.matrix import RequestWatch, differences, news, table
from buildtool.requester.outcome import SEVERITY, ExitCode, RequestResult, worst
from tests import messages
from tests.support.inline import run

SUBMITS: st.SearchStrategy[list[Any]] = st.lists(messages.ALL["Submit"], min_size=1, max_size=4)
RESULTS = st.builds(
    RequestResult,
    st.sampled_from(ExitCode),
    st.none() | messages.ALL["RequestStatus"],
    path=st.sampled_from(["", "/here/x.zip"]),
    error=st.none() | st.builds(UsageError, st.text(max_size=20)),
)


def test_every_end_of_a_request_has_its_severity() -> None:
    assert {*SEVERITY, ExitCode.UNREAD} == set(ExitCode), (
        "nobody reads what is printed: that ends the program, not a request"
    )


@given(st.lists(st.sampled_from(SEVERITY)))
def test_the_worst_code_is_one_of_them_and_none_is_worse(codes: list[ExitCode]) -> None:
    found = worst([RequestResult(code) for code in codes])
    assert found in codes or (found is ExitCode.OK and not codes)
    assert all(SEVERITY.index(code) <= SEVERITY.index(found) for code in codes)


@given(st.data())
def test_the_table_has_a_printable_row_for_each_and_all_that_differs(data: st.DataObject) -> None:
    submits = data.draw(SUBMITS)
    results = [data.draw(RESULTS) for _ in submits]
    lines = table(submits, results)
    assert len(lines) == 1 + len(submits)
    assert all(line.isprintable() for line in lines)
    for result, line in zip(results, lines[1:], strict=True):
        assert not result.path or result.error or line.endswith(result.path)
    assert (differences([submits[0]] * 3), len(differences(submits))) == (["", "", ""], len(submits))


@given(messages.ALL["RequestStatus"])
def test_news_of_a_request_are_one_printable_line_with_its_number(told: Any) -> None:
    assert news(told).isprintable()
    assert news(told).startswith(f"request {told.request_id}, build {told.build_id}: ")


class Line:
    """A client over which news come as the test says; it ends with ``end``."""

    def __init__(self) -> None:
        self.followed: dict[int, Any] = {}
        self.end: Deferred[str] = Deferred()

    async def follow(self, message: Any, hear: Any) -> RequestStatus:
        self.followed[message.request_id] = hear
        return messages.waiting(request_id=message.request_id, token=message.token)

    def closed(self) -> Deferred[str]:
        return self.end


def test_a_watch_ends_when_all_have_ended_and_tells_each_change_once() -> None:
    first, second = messages.waiting(request_id=1), messages.waiting(request_id=2)
    ended = evolve(second, state="satisfied")
    moved: list[RequestStatus] = []
    said: list[str] = []
    watch, line = RequestWatch([first, second], moved.append, said.append), Line()
    hearing = Deferred.fromCoroutine(watch.hear_over(line))  # type: ignore[arg-type]
    assert line.followed.keys() == {1, 2}
    for told in (ended, ended, second):
        line.followed[2](told)
    assert ended in watch.told
    assert moved.count(ended) == 1
    line.end.callback("the metaserver left")
    results: list[str] = []
    hearing.addCallback(results.append)
    assert results == ["the metaserver left"]
    watch.note(evolve(first, state="failed"))
    assert not watch.goes_on()
    assert run(watch.hear_over(Line())) == ""  # type: ignore[arg-type]


def test_what_changed_while_the_metaserver_was_away_is_one_line_about_those_that_moved() -> None:
    first, second = messages.waiting(request_id=1), messages.waiting(request_id=2, epoch=3)
    moved: list[RequestStatus] = []
    said: list[str] = []
    watch, line = RequestWatch([first, second], moved.append, said.append), Line()
    Deferred.fromCoroutine(watch.hear_over(line, 42.0))  # type: ignore[arg-type]
    assert moved == []
    assert said == ["the metaserver is back after 42 s; meanwhile: request 2, build 17: running on anna"]
    Deferred.fromCoroutine(watch.hear_over(Line(), 1.0))  # type: ignore[arg-type]
    assert said[1:] == ["the metaserver is back after 1 s; meanwhile: nothing has changed"]
