"""Refs are asked for once a minute, and nobody waits for one who does not answer."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from buildtool.errors import Unavailable
from buildtool.model.access.metaserver_addresses import MetaserverAddress
from buildtool.programs.startcompile.completing.refs import KEPT, refs_of
from buildtool.programs.startcompile.places import NO_PLACE, MetaserverPlaces

HERE = MetaserverPlaces((MetaserverAddress("farm.example.org", 23432),))


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class Farm:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, where: MetaserverPlaces, project: str, source: str) -> Sequence[str]:
        assert where is HERE
        self.asked.append((project, source))
        return ("main", "v1.0", "a b", "-x", "\x1b[31m")


def test_what_was_told_is_kept_for_a_minute_and_what_cannot_be_typed_is_left_out() -> None:
    farm = Farm()
    for moment in (0.0, KEPT - 1, KEPT + 1):
        assert refs_of(HERE, "lua", "", asks=farm, now=1_000_000 + moment) == ["main", "v1.0"]
    assert len(farm.asked) == 2
    refs_of(HERE, "lua", "fork", asks=farm, now=1_000_000)
    refs_of(HERE, "perl", "", asks=farm, now=1_000_000)
    assert farm.asked[2:] == [("lua", "fork"), ("perl", "")]


def test_without_a_metaserver_or_an_answer_there_are_none() -> None:
    def away(_where: MetaserverPlaces, _project: str, _source: str) -> Sequence[str]:
        raise Unavailable("nobody listens there")

    assert refs_of(HERE, "lua", "", asks=away) == ()
    assert refs_of(NO_PLACE, "lua", "", asks=away) == ()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"at": "x", "names": []}', '{"at": 1e300, "names": ["main"]}'])
def test_what_is_kept_and_of_no_use_is_asked_for_again(text: str, tmp_path: Path) -> None:
    farm = Farm()
    refs_of(HERE, "lua", "", asks=farm, now=1_000_000)
    (path,) = (tmp_path / "buildtool" / "refs").iterdir()
    path.write_text(text)
    assert refs_of(HERE, "lua", "", asks=farm, now=1_000_000) == ["main", "v1.0"]
    assert len(farm.asked) == 2
