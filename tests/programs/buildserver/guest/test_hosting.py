"""A running build server and its owner: what they type, the file that they edit, and SIGHUP where it is not heeded."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from buildtool.adapters.storage.history.work_book import WorkBook
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.model.guest.history import DoneWork
from buildtool.model.records import AttemptEnd
from buildtool.programs.buildserver.guest.wishes import FILE
from buildtool.programs.buildserver.main import main
from buildtool.programs.common.ending import EXIT_NOT_RUNNING
from tests.adapters.storage.history.test_work_book import Calendar
from tests.fakes_build import Immediate
from tests.programs.buildserver.test_main import said_of, started, unused_port


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BUILDTOOL_CONFIG", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUILDTOOL_BUILD_DIR", str(tmp_path / "builds"))


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "--name", "one", "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_an_owner_pauses_resumes_edits_and_drains_their_running_build_server(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "builds" / FILE
    file.parent.mkdir(parents=True)
    file.write_text("patience = 5\nallow_shutdown = 'file'\n")
    kept = WorkBook(tmp_path / "builds/one/history", "farm.example:1", Calendar(), Immediate())
    kept.path.parent.mkdir()
    kept.add("lua", DoneWork({AttemptEnd.SUCCEEDED: 2}, 7_200_000))
    with started("--name", "one", "--port", str(unused_port())) as process:
        said_of(process, "next try in")
        new, old = typed(capsys, "status"), typed(capsys, "--status")
        farm = new.pop("farm")
        assert (farm["connected"], farm["where"]) == (False, old.pop("farm")["where"])
        assert farm["why"].startswith("no metaserver answers at 127.0.0.1")
        assert new == old
        assert typed(capsys, "status")["takes"] is True
        told = typed(capsys, "history")
        assert told["rows"] == typed(capsys, "--history", "--since", "2027-01")["rows"]
        assert (told["total"]["builds"], told["total"]["processor_ms"]) == (2, 7_200_000)
        kept.path.rename(tmp_path / "elsewhere")
        assert typed(capsys, "history") == told, "the build server that runs has it in memory"

        paused = typed(capsys, "pause", "2h")
        assert (paused["takes"], paused["paused"]) == (False, True)
        assert paused["why"].startswith("its owner paused it; it takes builds again at ")
        said_of(process, "no builds are taken: its owner paused it")
        assert typed(capsys, "resume")["takes"] is True
        said_of(process, "builds are taken again")

        file.write_text("hours = 'always'\n")
        said_of(process, "the settings stay as they were: ")
        assert "hours = 'always' are no hours" in typed(capsys, "status")["wrong"]
        assert main(["reload", "--name", "one"]) == 2
        assert "are no hours" in capsys.readouterr().err

        process.send_signal(signal.SIGHUP)
        said_of(process, "SIGHUP is not heeded: --allow-shutdown file")
        file.write_text("away = '2026-12-24'\n")
        said_of(process, "hold now")
        assert typed(capsys, "status")["wrong"] == ""

        assert main(["pause", "soon", "--name", "one"]) == 2
        assert "'soon' is no time: say 30m, 24h or 7d" in capsys.readouterr().err
        assert main(["status", "--name", "one"]) == 0
        assert "takes more  yes" in capsys.readouterr().out
        assert typed(capsys, "drain")["takes"] is False
        said_of(process, "drained: everything is delivered")
        assert process.wait(timeout=30) == 0
    for command in ("status", "pause", "resume", "reload", "drain"):
        assert main([command, "--name", "one"]) == EXIT_NOT_RUNNING
        assert re.search(
            r"no build server named one runs in /\S+: start it with bin/buildserver.py --name one,",
            capsys.readouterr().err,
        )
    assert main(["pause", "soon", "--name", "one"]) == 2  # what is wrong in any case is said first
    assert "'soon' is no time: say 30m, 24h or 7d" in capsys.readouterr().err


def test_a_wrong_file_ends_the_start_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("hour = 1\n")
    with started("--name", "one", "--port", str(unused_port()), "--settings", str(file)) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.splitlines()[-1].endswith("unknown setting 'hour': did you mean hours?")
    assert "Traceback" not in said
