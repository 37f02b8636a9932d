"""``SpoolFiles``: the build server's fake and the spool on its disk keep ends alike."""

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.spool import Spool
from buildtool.model.records import AttemptEnd
from buildtool.ports.buildserver import SpoolFiles
from buildtool.protocol.messages import Done, Ended
from tests.fakes_build import FakeSpool
from tests.support.inline import run

DONE = Done(7, 2, "a" * 64, "c" * 64, 3, "p-1.zip", 1.5, "the end of the log")
ENDED = Ended(9, 0, AttemptEnd.FAILED, "exit code 2", "")


@pytest.fixture(params=["fake", "disk"])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SpoolFiles]:
    """Return what a program has that was just started; it finds what an earlier one kept."""
    lasting = FakeSpool()
    return lambda: lasting if request.param == "fake" else Spool(tmp_path / "spool", Inline())


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "out.zip"
    path.write_bytes(b"zip")
    return path


def test_what_was_kept_is_found_by_the_next_program_oldest_first(
    again: Callable[[], SpoolFiles], archive: Path
) -> None:
    assert list(run(again().entries())) == []
    kept = run(again().keep(DONE, archive))
    assert kept.end == DONE
    assert kept.artifact is not None
    assert kept.artifact != archive, "it is moved"
    assert run(again().keep(ENDED)).artifact is None
    assert [one.end for one in run(again().entries())] == [DONE, ENDED]
    assert run(again().entries())[0] == kept


def test_a_later_end_of_an_attempt_takes_the_place_of_the_earlier(again: Callable[[], SpoolFiles]) -> None:
    run(again().keep(ENDED))
    run(again().keep(evolve(ENDED, reason="exit code 3")))
    (left,) = run(again().entries())
    assert left.end == evolve(ENDED, reason="exit code 3")


def test_what_is_dropped_is_gone_and_dropping_what_is_not_there_does_not_matter(
    again: Callable[[], SpoolFiles], archive: Path
) -> None:
    run(again().keep(DONE, archive))
    run(again().keep(ENDED))
    for _ in range(2):
        run(again().drop(DONE.build_id, DONE.epoch))
    assert [one.end for one in run(again().entries())] == [ENDED]
