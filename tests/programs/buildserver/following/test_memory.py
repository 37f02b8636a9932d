"""What is remembered is there again after a start; what cannot be used is not guessed."""

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import ConfigurationError, MachineFault
from buildtool.model.guest.follow_record import FollowRecord
from buildtool.programs.buildserver.following.memory import FILE, SIZE_LIMIT, FollowMemory


def test_what_is_remembered_is_there_again_for_the_same_repository_alone(tmp_path: Path) -> None:
    memory = FollowMemory(tmp_path / "new")
    assert memory.load("s") == FollowRecord("s")
    record = FollowRecord("s", holds="a" * 40, since=1.5, words='"quoted"\n')
    memory.save(record)
    memory.save(evolve(record, begins="b" * 40))
    assert memory.load("s") == evolve(record, begins="b" * 40)
    assert memory.load("t") == FollowRecord("t")


@given(
    st.binary(max_size=40) | st.sampled_from([b"[]", b'{"holds": 1}', b'{"x": ""}', b'{"starts": true}', b"1" * 70_000])
)
def test_what_is_no_memory_is_one_line_and_nothing_is_guessed(data: bytes) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        (Path(place) / FILE).write_bytes(data)
        with pytest.raises(ConfigurationError, match="cannot be used") as told:
            FollowMemory(Path(place)).load("s")
        assert "\n" not in str(told.value)
    assert SIZE_LIMIT < 70_000


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineFault, match="cannot be written"):
        FollowMemory(tmp_path / "file").save(FollowRecord("s"))
    (tmp_path / FILE).mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        FollowMemory(tmp_path).load("s")
