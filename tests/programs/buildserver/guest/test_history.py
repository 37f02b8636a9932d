"""``history`` as an owner types it, of a build server that does not run; test_hosting.py asks one that does."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from buildtool.adapters.storage.history.work_book import WorkBook
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.model.guest.history import DoneWork
from buildtool.model.records import AttemptEnd
from buildtool.programs.buildserver.main import main
from tests.adapters.storage.history.test_work_book import Calendar
from tests.fakes_build import Immediate

Told = Callable[..., str]

RECENT = 1_795_780_800.0
"""2026-11-27."""


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A build server's file in which two months of two farms stand."""
    for name in ("BUILDTOOL_CONFIG", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUILDTOOL_BUILD_DIR", str(tmp_path / "builds"))
    path = tmp_path / "builds" / "one" / "history"
    path.parent.mkdir(parents=True)
    for farm, when in (("old.example:1", RECENT - 40 * 86_400), ("new.example:1", RECENT)):
        book = WorkBook(path, farm, Calendar(when), Immediate())
        book.add("lua", DoneWork({AttemptEnd.SUCCEEDED: 2, AttemptEnd.FAILED: 1}, 7_200_000, 9_000_000, up=3 << 20))
    return path


def typed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["history", "--name", "one", *words]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_each_farm_has_a_table_also_when_it_is_gone(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(capsys).splitlines() == [
        "for new.example:1",
        "month    project  ok  failed  other  cpu h  down       up",
        "2026-11  lua       2       1      0   2.00   0 B  3.0 MiB",
        "all                2       1      0   2.00   0 B  3.0 MiB",
        "",
        "for old.example:1",
        "month    project  ok  failed  other  cpu h  down       up",
        "2026-10  lua       2       1      0   2.00   0 B  3.0 MiB",
        "all                2       1      0   2.00   0 B  3.0 MiB",
        "",
        "6 builds used 4.00 processor hours and ran for 5.00",
    ]
    assert "old.example" not in typed(capsys, "--since", "2026-11")
    assert main(["--history", "--name", "one", "--since", "2026-11"]) == 0
    assert capsys.readouterr().out == typed(capsys, "--since", "2026-11")


def test_programs_read_rows_and_their_sum(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(typed(capsys, "--json"))
    assert [(row["month"], row["farm"], row["project"], row["builds"]) for row in told["rows"]] == [
        ("2026-10", "old.example:1", "lua", 3),
        ("2026-11", "new.example:1", "lua", 3),
    ]
    assert (told["name"], told["since"], told["damaged"]) == ("one", "", "")
    assert (told["total"]["processor_ms"], told["total"]["ends"]) == (14_400_000, {"succeeded": 4, "failed": 2})
    since = json.loads(typed(capsys, "--json", "--months", "1200"))["since"]
    assert json.loads(typed(capsys, "--json", "--since", since))["rows"] == told["rows"]


def test_a_record_that_a_kill_cut_off_is_said(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.write_bytes(history.read_bytes()[:-3])
    assert typed(capsys).splitlines()[-1] == f"{history}: one record was not written whole and left out"
    assert len(json.loads(typed(capsys, "--json"))["rows"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--since", "soon"), "'soon' is no month: say 2026-11"),
        (("--months", "0"), "'0' is not a whole number from 1 to 1200"),
        (("--since", "2026-11", "--months", "2"), "--since and --months say the same in two ways: say one of them"),
        (("--name", "two"), "two: no build server of this name has worked here (--name says which)"),
    ],
)
def test_what_cannot_be_told_is_one_line(
    history: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["history", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_machine_that_has_built_nothing_says_so(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.unlink()
    assert typed(capsys) == "nothing was built\n"
