"""One directory in which a build server keeps everything: what is said of one place goes before it."""

from argparse import Namespace
from pathlib import Path

import pytest

from buildtool.errors import ConfigurationError
from buildtool.programs.buildserver.main import COMMAND_LINE
from buildtool.programs.buildserver.running.basedir import CONFIG, LOG, PID, place
from buildtool.programs.common.given.settings_of import settings_of

COMMANDS = {one.name: one for one in COMMAND_LINE.commands}


def said(top: Path, **more: object) -> Namespace:
    return Namespace(**{"basedir": top, "config": None, "daemon": False, "pid_file": None, "log_file": None, **more})


def test_every_command_that_has_to_do_with_a_build_server_takes_it() -> None:
    assert [name for name, one in COMMANDS.items() if "--basedir" not in one.options] == ["new-project"]


def test_a_configuration_that_lies_there_is_read_unless_another_one_is_said(tmp_path: Path) -> None:
    here = said(tmp_path)
    place(here, kept=False)
    assert here.config is None
    (tmp_path / CONFIG).write_text("build_dir = 'elsewhere'\nstate_dir = 'state'\n")
    place(here, kept=False)
    assert vars(here) == vars(said(tmp_path, config=tmp_path / CONFIG))
    assert settings_of(here, secrets=False).build_dir == tmp_path
    other = said(tmp_path, config=tmp_path / "other.py")
    place(other, kept=False)
    assert other.config == tmp_path / "other.py"


def test_a_server_in_the_background_has_its_pid_file_and_log_there_and_is_found_by_them(tmp_path: Path) -> None:
    top = tmp_path / "new"
    started, named = said(top, daemon=True), said(top, daemon=True, pid_file=Path("own.pid"), log_file=Path("own.log"))
    place(started, kept=False)
    place(named, kept=False)
    assert (started.pid_file, started.log_file) == (top / PID, top / LOG)
    assert (named.pid_file, named.log_file) == (Path("own.pid"), Path("own.log"))
    assert top.stat().st_mode & 0o777 == 0o700
    stop = Namespace(basedir=top, config=None, pid_file=None, json=False)
    place(stop, kept=True)
    assert stop.pid_file == started.pid_file


def test_it_is_not_where_the_metaserver_keeps_what_it_must_not_lose(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("build_dir = 'elsewhere'\nstate_dir = 'state'\n")
    with pytest.raises(ConfigurationError, match="outside of it"):
        settings_of(said(tmp_path / "state" / "builds", config=tmp_path / CONFIG), secrets=False)
