"""What is left over is named at a start, and is gone only where its owner said so."""

from argparse import Namespace
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, LogEvent, eventAsText, globalLogPublisher
from zope.interface import implementer

from buildtool.adapters.runtime.threads import Inline
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.running.leftovers import tidied
from tests.support.inline import run


@pytest.mark.parametrize("delete", [False, True])
def test_it_is_named_with_what_deletes_it_or_that_it_is_deleted(tmp_path: Path, delete: bool) -> None:
    place = BuildDirectory(tmp_path / "attic")
    place.follow.mkdir(parents=True)
    place.spool.mkdir()
    (place.follow / "file").write_text("text")
    said = Namespace(max_builds=1, follow_config=None, delete_leftover_dirs=delete)
    lines: list[str] = []

    @implementer(ILogObserver)
    def hear(event: LogEvent) -> None:
        lines.append(eventAsText(event, includeTimestamp=False, includeSystem=False))

    globalLogPublisher.addObserver(hear)
    try:
        run(tidied(place, said, Inline()))
        run(tidied(place, Namespace(**{**vars(said), "follow_config": "https://example.org/farm.git"}), Inline()))
    finally:
        globalLogPublisher.removeObserver(hear)
    (line,) = lines
    assert line.startswith(f"{place.follow} is left over: no configuration is followed; 4 B, unused for ")
    assert line.endswith("it is deleted" if delete else "--delete-leftover-dirs deletes it")
    assert place.follow.exists() is not delete
    assert place.spool.exists()


def test_one_that_cannot_be_deleted_is_named_and_no_start_fails_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = BuildDirectory(tmp_path / "attic")
    place.follow.mkdir(parents=True)
    (place.follow / "file").write_text("text")
    lines: list[str] = []

    def forbidden(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    @implementer(ILogObserver)
    def hear(event: LogEvent) -> None:
        lines.append(eventAsText(event, includeTimestamp=False, includeSystem=False))

    monkeypatch.setattr("buildtool.adapters.host.leftovers.remove_tree", forbidden)
    globalLogPublisher.addObserver(hear)
    try:
        run(tidied(place, Namespace(max_builds=1, follow_config=None, delete_leftover_dirs=True), Inline()))
    finally:
        globalLogPublisher.removeObserver(hear)
    (line,) = lines
    assert line.endswith(f"; cannot delete {place.follow}: Permission denied")
