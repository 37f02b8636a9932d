"""``make farm``: one command has a farm running, says what to type, and leaves nothing behind at Ctrl-C."""

import gc
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildtool.configuration.settings import load_settings
from buildtool.demo.farm import PORTS, choose_ports, configuration, what_to_type
from buildtool.demo.local_farm import FarmError, LocalFarm, Program, free_ports, is_free

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def test_a_port_that_was_asked_for_and_is_taken_is_named_with_its_variable(taken: int) -> None:
    with pytest.raises(FarmError, match=f"^port {taken} is taken .*: set BUILDTOOL_WEB_PORT to a free one"):
        choose_ports({"BUILDTOOL_WEB_PORT": str(taken)})


@pytest.mark.parametrize("said", ["0", "65536", "0080801", "80a0", "-1", "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_port_is_refused(said: str) -> None:
    with pytest.raises(FarmError, match=r"^\$BUILDTOOL_PB_PORT = .* is no port"):
        choose_ports({"BUILDTOOL_PB_PORT": said})


def test_in_place_of_a_usual_port_that_is_taken_there_is_a_free_one_and_a_note(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, port in zip(PORTS, free_ports(len(PORTS)), strict=True):
        monkeypatch.setitem(PORTS, variable, (PORTS[variable][0], port))
    monkeypatch.setitem(PORTS, "BUILDTOOL_WEB_PORT", ("the port of the pages", taken))
    (asked,) = free_ports(1)
    ports, (note,) = choose_ports({"BUILDTOOL_MAIL_PORT": str(asked)})
    assert len({*ports.values(), taken}) == len(PORTS) + 1
    assert ports["BUILDTOOL_MAIL_PORT"] == asked
    other = ports["BUILDTOOL_WEB_PORT"]
    assert note == f"port {taken} is taken, so the port of the pages is {other}; BUILDTOOL_WEB_PORT chooses another"


def test_the_farms_configuration_is_one_with_the_projects_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("BUILDTOOL_")]:
        monkeypatch.delenv(name)
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    path = tmp_path / "config.py"
    path.write_text(configuration(tmp_path, ports))
    settings = load_settings(path)
    assert settings.mail is not None
    found = (settings.pb_port, settings.transfer_port, settings.web_port, settings.mail.port)
    assert found == tuple(ports.values())
    assert (settings.state_dir, settings.build_dir) == (tmp_path / "metaserver", tmp_path / "buildserver")
    assert [one.name for one in settings.projects] == ["testproject"]


def started(words: list[str], environment: dict[str, str]) -> tuple[Program, dict[str, str]]:
    """Return a farm with two build servers, and its ports: others where a test beside this one was quicker."""
    for again in (True, True, False):
        ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        farm = Program.start("farm", words, environment | ports)
        try:
            farm.wait_for(r"build server bert has registered")
        except BaseException:
            farm.kill()
            if again and any("is taken by another program" in line for line in farm.lines):
                continue
            raise
        return farm, ports
    raise AssertionError("no port is free for long enough")


def test_a_farm_runs_until_it_is_told_to_stop_and_what_it_says_to_type_works(tmp_path: Path) -> None:
    """All of it with real processes: a request is built, and after Ctrl-C no port is taken any more."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BUILDTOOL_")}
    environment |= {"BUILDTOOL_TESTPROJECT_REPOSITORY": str(tmp_path / "testproject.git"), "PYTHONUNBUFFERED": "1"}
    words = [sys.executable, "-m", "buildtool.demo.farm", "--directory", str(tmp_path / "farm")]
    farm, ports = started(words, environment)
    try:
        farm.wait_for(r"Ctrl-C here ends the farm")
        (first, *_) = [line for line in what_to_type(tmp_path / "farm" / "config.py") if "startcompile" in line]
        command = first.partition("#")[0].split()
        done = subprocess.run(
            [sys.executable, str(ROOT / command[0]), *command[1:]],
            cwd=tmp_path,
            env=environment | {"BUILDTOOL_CONFIG": str(tmp_path / "farm" / "config.py")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        farm.wait_for(r"^mailbox +\| mail for you@example\.org")
        again = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (again.returncode, again.stdout) == (1, "")
        assert re.match(r"make farm: a farm runs in .* already: stop that one", again.stderr)
        assert farm.stop(signal.SIGINT) == 0
    finally:
        farm.kill()
    assert farm.lines[-1].startswith("stopped; `make farm` goes on with what lies in ")
    assert choose_ports(ports) == ({name: int(port) for name, port in ports.items()}, [])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names of sockets that end with them")
def test_farms_have_no_port_in_common_until_one_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not between two starts of one farm's metaserver, when its ports are free."""
    first = next(one for one in range(9_000, 12_000 - 6, 6) if all(map(is_free, range(one, one + 6))))  # no farm's
    monkeypatch.setattr("buildtool.programs.local.ground._PORTS", (first, first + 6))
    farms = [LocalFarm(tmp_path / name, tmp_path / "config.py") for name in "ab"]
    ports = [set(farm.ports.values()) for farm in farms]
    assert ports[0] | ports[1] == set(range(first, first + 6))
    farms[0].stop()
    later = LocalFarm(tmp_path / "c", tmp_path / "config.py")
    assert set(later.ports.values()) == ports[0]
    farms.clear()  # nor until nobody has it any more
    gc.collect()
    assert set(LocalFarm(tmp_path / "d", tmp_path / "config.py").ports.values()) == ports[1]
