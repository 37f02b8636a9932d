"""Requests that were made from here are remembered, the newest, for this account alone; whatever the file holds."""

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildtool.client.farm_urls import read_farm_url
from buildtool.programs.startcompile.completing import own_requests
from buildtool.programs.startcompile.completing.own_requests import KEPT, MOST, candidates, remember, remembered
from buildtool.programs.startcompile.places import NO_PLACE, MetaserverPlaces
from tests.messages import told, waiting
from tests.support.lanes import examples

HERE = MetaserverPlaces(http=read_farm_url("https://farm.example.org"))
ELSEWHERE = MetaserverPlaces(http=read_farm_url("https://other.example.org"))
ASKED = 1_790_000_000.0
PLACE = "buildtool/requests"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def numbers(where: MetaserverPlaces = HERE) -> list[int]:
    return [one.number for one in remembered(where)]


def test_what_was_told_last_of_each_is_known_of_the_metaserver_that_told_it(cache: Path) -> None:
    remember(HERE, [waiting(request_id=1, asked_at=ASKED), waiting(request_id=2, asked_at=ASKED, ref="v1.0")])
    remember(HERE, [told(request_id=1, asked_at=ASKED)])
    remember(ELSEWHERE, [waiting(request_id=3)])
    remember(NO_PLACE, [waiting(request_id=4)])
    assert [(one.number, one.what, one.waits) for one in remembered(HERE)] == [
        (2, "testproject v1.0", True),
        (1, f"testproject {told().ref or told().revision[:12]}", False),
    ]
    assert (numbers(ELSEWHERE), numbers(NO_PLACE)) == ([3], [])
    assert [one.word for one in candidates(HERE, "cancel")] == [f"2-{waiting().token}"]
    assert next(iter(candidates(HERE, "log"))).help.split(",")[0] == "testproject v1.0"
    for path in (cache / PLACE).iterdir():
        assert path.stat().st_mode & 0o077 == 0, "an id proves whose a request is"


def test_of_very_many_the_newest_are_kept_in_a_small_file(cache: Path) -> None:
    for first in range(0, 1_000, 50):
        remember(HERE, [waiting(request_id=number + 1, ref="x" * 200) for number in range(first, first + 50)])
    assert numbers() == list(range(1_000, 1_000 - KEPT, -1))
    (path,) = (cache / PLACE).iterdir()
    assert path.stat().st_size <= MOST + 50 * 300
    assert path.stat().st_mode & 0o077 == 0


def test_what_is_no_token_is_not_kept() -> None:
    for token in ("", "a b", "a;rm", "\x1b[31m", "ü", "x" * 101):
        remember(HERE, [waiting(request_id=5, token=token)])
    assert numbers() == []


LINE = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [b"[" * 5_000, b"null", b"{}", b"[1]", b'[1, "ab", "\\u001b[2J", 1e400, true]', b'[true, "ab", "x", 1, true]']
    ),
    st.builds(lambda number: b'[%d, "ab", "x", 1, true]' % number, st.integers(-2, 10**20)),
)


@given(st.lists(LINE, max_size=8))
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_file_holds_what_is_offered_can_be_said(cache: Path, lines: list[bytes]) -> None:
    remember(HERE, [waiting(request_id=1)])
    (path,) = (cache / PLACE).iterdir()
    path.write_bytes(b"\n".join(lines) + b"\n")
    for one in candidates(HERE, "log"):
        assert one.word.isprintable()
        assert one.help.isprintable()
    remember(HERE, [waiting(request_id=10**9)])
    assert 10**9 in numbers()


def test_where_nothing_can_be_kept_nothing_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "buildtool").write_text("in the way")
    remember(HERE, [waiting()])
    assert numbers() == []
    monkeypatch.setattr(own_requests, "cache_directory", lambda: None)
    remember(HERE, [evolve(waiting(), request_id=3)])
    assert numbers() == []
