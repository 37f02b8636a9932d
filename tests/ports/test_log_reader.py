"""``LogReader``: the pages' fake and the store of the metaserver answer alike."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.logs import LogStore
from buildtool.errors import NotFound
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


def test_a_log_that_never_came_is_not_found(make: Make) -> None:
    logs = make(b"x", True)
    for build_id, epoch in ((3, 1), (4, 2)):
        with pytest.raises(NotFound):
            run(logs.state(build_id, epoch))
        with pytest.raises(NotFound):
            run(logs.read(build_id, epoch, 0, 9))
