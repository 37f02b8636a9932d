"""What an installation remembers of its updates comes back as it was, and nothing is guessed from a wrong file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import ConfigurationError, MachineFault
from buildtool.model.updating.record import FailedUpdate, UpdateAttempt, UpdatePhase, UpdateRecord
from buildtool.programs.updating.memory import FILE, UpdateMemory

TEXT = st.text("ab\né", max_size=4)
TIMES = st.floats(0, 1e10)
RECORDS = st.builds(
    UpdateRecord,
    holds=TEXT, name=TEXT, since=TIMES, past=st.lists(TEXT, max_size=3).map(tuple), tip=TEXT, accepted=TEXT,
    attempt=st.none()
    | st.builds(UpdateAttempt, TEXT, TEXT, TEXT, TIMES, st.sampled_from(UpdatePhase), st.integers(0, 3)),
    failed=st.lists(st.builds(FailedUpdate, TEXT, TEXT, TEXT, TIMES, again=st.none() | TIMES), max_size=2).map(tuple),
    words=TEXT, code=st.integers(0, 200), at=TIMES,
)  # fmt: skip


WRONG_AGAIN = (
    '{"type": "UpdateRecord", "failed": [{"type": "FailedUpdate", "commit": "c", "name": "n", "why": "w", %s}]}'
)
WRONG_AGAIN %= '"at": 1.0, "again": "soon"'


@pytest.mark.world
@given(RECORDS)
def test_what_was_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, record: UpdateRecord) -> None:
    memory = UpdateMemory(tmp_path_factory.getbasetemp() / "memory")
    memory.save(record)
    assert memory.load() == record


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "null",
        '{"type": "UpdateRecord", "holds": 1}',
        '{"type": "UpdateRecord", "failed": [{}]}',
        WRONG_AGAIN,
        "[" * 5_000,
        "\xff",
        '{"type": "UpdateRecord", "at": NaN}',
        f'"{"x" * 2_000_000}"',
    ],
    ids=range(11),
)
def test_a_file_that_is_not_right_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, "latin-1")
    with pytest.raises(ConfigurationError, match=r"update\.json: cannot be used: .+: remove it"):
        UpdateMemory(tmp_path).load()


def test_what_a_program_said_is_cut_to_what_the_file_takes(tmp_path: Path) -> None:
    memory = UpdateMemory(tmp_path)
    failed = FailedUpdate("c", "n", "why " * 5_000, 1.0)
    memory.save(
        UpdateRecord(attempt=UpdateAttempt("c", "n", "", 1.0, why="x" * 9_000), failed=(failed,), words="é" * 9_000)
    )
    assert memory.load().failed[0].why.startswith("why why")


def test_nothing_is_remembered_at_first_and_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    assert UpdateMemory(tmp_path).load() == UpdateRecord()
    (tmp_path / "file").touch()
    with pytest.raises(MachineFault, match="cannot be written"):
        UpdateMemory(tmp_path / "file").save(UpdateRecord())
