"""The files for Prometheus and Grafana are written whole, and what somebody else wrote stays as it is."""

import json
import os
from pathlib import Path

import pytest

from buildtool.model.metrics.alerts import RULES_FILE
from buildtool.programs.metaserver.main import main
from buildtool.programs.metaserver.monitoring.files import DASHBOARD_FILE, SCRAPE_FILE

NAMES = [SCRAPE_FILE, RULES_FILE, DASHBOARD_FILE]


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.py"
    path.write_text("")
    return str(path)


def test_files_of_ours_are_made_anew(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "a" / "b"
    for _ in range(2):
        assert main(["monitoring", str(place), "--config", config]) == 0
        assert capsys.readouterr().out.splitlines() == [str(place / name) for name in NAMES]
    before = {name: (place / name).read_text() for name in NAMES}
    for name in NAMES[1:]:
        (place / name).write_text(before[name] + "\n# of an older version")
    assert main(["monitoring", str(place), "--config", config]) == 0
    assert {path.name: path.read_text() for path in place.iterdir()} == before


def test_what_somebody_wrote_or_merged_stays_and_ours_stands_beside_it(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "prometheus"
    place.mkdir()
    for name in NAMES:
        (place / name).write_text(f"precious: {name}\n")
    assert main(["monitoring", str(place), "--config", config, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [f"{place / name}.new" for name in NAMES]}
    assert [(place / name).read_text() for name in NAMES] == [f"precious: {name}\n" for name in NAMES]
    assert main(["monitoring", str(place), "--config", config]) == 0
    assert f"({place / SCRAPE_FILE} is there and stays: merge this into it)" in capsys.readouterr().out


def test_a_pipe_of_that_name_is_not_waited_for(config: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / SCRAPE_FILE)
    assert main(["monitoring", str(tmp_path), "--config", config]) == 0
    assert (tmp_path / SCRAPE_FILE).is_fifo()


@pytest.mark.parametrize(
    ("target", "said"), [("", "needs the name of a directory"), ("/dev/null/x", "cannot be written")]
)
def test_where_nothing_can_be_written_is_one_line(
    config: str, target: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["monitoring", target, "--config", config]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
