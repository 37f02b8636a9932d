"""``LogReader``: the pages' fake and the store of the metaserver answer alike."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.logs import LogStore
from buildtool.errors import NotFound
from buildtool.model.logs.error_lines import judge
from buildtool.ports.pages import LogReader
from tests.support.inline import run
from tests.support.lanes import examples
from tests.web.fake_pages import FakeLogs

Make = Callable[[bytes, bool], LogReader]
"""Makes a reader with one log, of Build 3 and epoch 2, which is finished or not."""


def fake(data: bytes, finished: bool) -> LogReader:
    return FakeLogs({(3, 2): data}, set() if finished else {(3, 2)})


@pytest.fixture(params=["fake", "store"])
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Make:
    def store(data: bytes, finished: bool) -> LogReader:
        logs = LogStore(tmp_path_factory.mktemp("state"), Inline())
        run(logs.start())
        run(logs.append(3, 2, 0, data, len(data)))
        if finished:
            run(logs.finish(3, 2))
        return logs

    return fake if request.param == "fake" else store


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=60), st.booleans(), st.integers(0, 70), st.integers(1, 70))
def test_what_has_arrived_is_read_from_anywhere(make: Make, data: bytes, finished: bool, start: int, size: int) -> None:
    logs = make(data, finished)
    extent = run(logs.state(3, 2))
    assert (extent.length, extent.finished) == (len(data), finished)
    read = run(logs.read(3, 2, start, size))
    assert data[start : start + size].startswith(read)
    assert bool(read) == (start < len(data))


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([b"ok", b"\n", b"error: x\n", b"Error: y", b"warning: z\n"]), min_size=1, max_size=20),
    st.integers(1, 9),
    st.booleans(),
)
def test_lines_errors_and_what_is_found_are_those_of_the_whole(
    make: Make, parts: list[bytes], first: int, fold: bool
) -> None:
    data = b"".join(parts)
    logs, lines = make(data, True), data.split(b"\n")
    index = run(logs.index(3, 2))
    assert (index.length, index.line_ends) == (len(data), data.count(b"\n"))
    assert [it.line for it in index.errors.lines] == [number for number, line in enumerate(lines, 1) if judge(line)]
    assert list(run(logs.lines(3, 2, first, 3))) == lines[: index.lines][first - 1 : first + 2]
    found = run(logs.search(3, 2, b"error", fold=fold))
    assert list(found.lines) == [
        number for number, line in enumerate(lines, 1) if b"error" in (line.lower() if fold else line)
    ]


def test_a_log_that_never_came_is_not_found(make: Make) -> None:
    logs = make(b"x", True)
    for build_id, epoch in ((3, 1), (4, 2)):
        with pytest.raises(NotFound):
            run(logs.state(build_id, epoch))
        with pytest.raises(NotFound):
            run(logs.read(build_id, epoch, 0, 9))
