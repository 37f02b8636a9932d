"""Units of deploy/systemd are right in the eyes of systemd, keep their programs from much, and name what there is."""

import re
import shlex
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from buildtool.configuration.given.gathering import gather
from tests.programs.common.test_subcommands import LINES
from tests.support.packages import require

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("systemd")]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

UNITS = sorted((DEPLOY / "systemd").iterdir())

EXPOSED = {
    "metaserver.service": 2.0,
    "metaserver-backup.service": 2.0,
    "webserver.service": 2.0,
    "buildserver@.service": 3.0,
    "buildserver-once@.service": 3.0,
    "buildtool-update.service": 3.0,
}
"""The most that systemd may say of each: 10 is a program that may do anything."""

SYSTEM = Path("/lib/systemd/system")


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, which needs no systemd that runs for this."""
    program = require("systemd-analyze", "systemd")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=60)


def root_with(directory: Path, units: list[Path]) -> Path:
    """Make a file system in which units are installed, and the programs that they start."""
    there = directory / "usr/lib/systemd/system"
    shutil.copytree(SYSTEM, there, symlinks=True, ignore=shutil.ignore_patterns("*.wants"))
    (directory / "lib").symlink_to("usr/lib")
    for unit in units:
        shutil.copy(unit, there)
    for program in (
        "usr/bin/metaserver",
        "usr/bin/webserver",
        "usr/bin/buildserver.py",
        "bin/kill",
        "sbin/shutdown",
        "opt/buildtool/current/deploy/update",
    ):
        (directory / program).parent.mkdir(parents=True, exist_ok=True)
        (directory / program).write_text("#!/bin/sh\n")
        (directory / program).chmod(0o755)
    return directory


def verified(root: Path) -> list[str]:
    """What systemd says of the units of ours."""
    names = [unit.name.replace("@.", "@native.") for unit in UNITS]
    done = analyze("verify", "--man=no", f"--root={root}", *names)
    ours = [line for line in done.stderr.splitlines() if any(unit.stem.rstrip("@") in line for unit in UNITS)]
    assert done.returncode == 0 or ours, done.stderr
    return ours


def test_systemd_has_nothing_to_say_of_the_units_and_would_of_a_wrong_one(tmp_path: Path) -> None:
    root = root_with(tmp_path, UNITS)
    assert verified(root) == []
    wrong = root / "usr/lib/systemd/system/webserver.service"
    wrong.write_text(wrong.read_text().replace("ProtectHome=yes", "ProtectHom=yes"))
    assert any("ProtectHom" in line for line in verified(root))


@pytest.mark.parametrize("unit", EXPOSED)
def test_a_unit_leaves_its_program_little_to_do_harm_with(unit: str) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", str(DEPLOY / "systemd" / unit))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= EXPOSED[unit], done.stdout


def test_the_line_that_the_manual_names_for_a_download_rate_is_right_in_a_file_of_its_own(tmp_path: Path) -> None:
    (line,) = re.findall(r"``(SystemCallFilter=\S+)``", (DEPLOY.parent / "docs/donor.rst").read_text())
    assert f"# {line}" in (DEPLOY / "systemd/buildserver@.service").read_text()
    root = root_with(tmp_path, UNITS)
    for said, right in ((line, True), (f"{line}x", False)):
        for unit in ("buildserver@.service", "buildserver-once@.service"):
            place = root / f"usr/lib/systemd/system/{unit}.d"
            place.mkdir(exist_ok=True)
            (place / "rate.conf").write_text(f"[Service]\n{said}\n")
        told = verified(root)
        assert (told == []) == right, told


def options(unit: Path) -> RawConfigParser:
    """Return what a unit says; of an option that is said several times, the last."""
    read = RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    read.optionxform = str  # type: ignore[assignment, method-assign] # as they are written
    read.read_string(unit.read_text())
    return read


@pytest.mark.parametrize("unit", [one for one in UNITS if one.suffix == ".service"], ids=lambda unit: unit.name)
def test_what_a_unit_starts_is_a_command_of_the_program(unit: Path) -> None:
    service = options(unit)["Service"]
    for name in ("ExecStartPre", "ExecStart"):
        if name not in service:
            continue
        path, command, *words = shlex.split(service[name].replace("%i", "native"))
        assert path.startswith(("/usr/bin/", "/opt/buildtool/current/"))
        found, _said = LINES[Path(path).name].parse([command, *words])
        assert found.name == command
    if service["Type"] == "oneshot":  # a timer starts it
        assert (DEPLOY / "systemd" / f"{unit.stem}.timer").is_file()
        return
    if "Requires" in options(unit)["Unit"]:  # the socket: systemd shuts that after ten starts that fail
        assert service["Restart"] == "always"
        assert "RestartPreventExitStatus" not in service
        assert service["ExecStartPre"].endswith(" check-config"), "what is configured wrongly is refused first"
    elif service["Restart"] != "no":
        assert "2" in service["RestartPreventExitStatus"].split(), "what is configured wrongly is not started again"
    assert options(unit)["Unit"]["StartLimitIntervalSec"] == "0", "what is away for an hour may come back"
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")


def test_the_backup_of_each_night_can_be_made_where_its_unit_may_write_and_link() -> None:
    unit = options(DEPLOY / "systemd/metaserver-backup.service")["Service"]
    _path, command, directory, *words = shlex.split(unit["ExecStart"])
    assert command == "backup"
    assert f"d {directory} 0700 {unit['User']}" in (DEPLOY / "tmpfiles.d/buildtool.conf").read_text()
    assert {"--keep", "--test-restore"} <= set(words)
    assert unit["ProtectSystem"] == "full", "strict makes mounts, between which no file is linked"
    timer = options(DEPLOY / "systemd/metaserver-backup.timer")["Timer"]
    assert "next elapse: " in analyze("calendar", timer["OnCalendar"]).stdout.lower()
    assert timer["Persistent"] == "yes", "a night in which the machine was off is made up for"


def test_the_accounts_of_the_units_are_made_and_what_they_write_is_theirs() -> None:
    made = re.findall(r"^u (\S+)", (DEPLOY / "sysusers.d/buildtool.conf").read_text(), re.MULTILINE)
    services = [options(unit)["Service"] for unit in UNITS if unit.suffix == ".service"]
    used = {one["User"] for one in services if "User" in one}
    assert set(made) == used
    assert options(DEPLOY / "systemd/buildserver@.service")["Service"]["User"] == "buildserver", "never the broker's"
    said = re.findall(r"^[de] \S+ +\S+ +(\S+) +(\S+)", (DEPLOY / "tmpfiles.d/buildtool.conf").read_text(), re.MULTILINE)
    assert {one for pair in said for one in pair} <= {"root", "-", *made}
    accounts = (DEPLOY / "sysusers.d/buildtool.conf").read_text()
    readers = re.findall(r"^m (\S+) buildtool$", accounts, re.MULTILINE)
    assert set(readers) == used, "one file has the settings of all, and one group"
    assert re.search(r"^g buildtool -$", accounts, re.MULTILINE)


def test_systemd_makes_the_accounts_and_directories_in_a_fresh_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for program, conf in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
        words = [require(program, "systemd"), f"--root={tmp_path}", *(["--create"] if "tmp" in program else [])]
        file = str(DEPLOY / conf / "buildtool.conf")
        done = subprocess.run([*words, file], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
    people = (tmp_path / "etc/passwd").read_text()
    assert "metaserver:x:" in people
    assert "buildserver:x:" in people
    assert (tmp_path / "etc/buildtool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "var/log/metaserver").stat().st_mode & 0o777 == 0o750


def test_apparmor_understands_the_profile_that_the_unit_names() -> None:
    parser = require("apparmor_parser", "apparmor")
    unit = options(DEPLOY / "systemd/metaserver.service")["Service"]
    file = DEPLOY / "apparmor.d" / unit["AppArmorProfile"].removeprefix("-")
    words = [parser, "--skip-kernel-load", "--skip-cache", "--names", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, [file.name]), done.stderr


def test_logrotate_understands_what_it_is_told(tmp_path: Path) -> None:
    logrotate = require("logrotate", "logrotate")
    (tmp_path / "access.log").write_text("x" * 10)
    told = (DEPLOY / "logrotate.d/buildtool").read_text()
    mine = re.sub(r"    su .*\n", "", told.replace("/var/log/metaserver", str(tmp_path)))
    assert mine != told
    (tmp_path / "conf").write_text(mine)
    words = [logrotate, "--force", "--state", str(tmp_path / "state"), str(tmp_path / "conf")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "access.log.1").read_text() == "x" * 10


def test_the_update_by_a_timer_is_told_what_its_program_takes_and_writes_where_it_may() -> None:
    unit = options(DEPLOY / "systemd/buildtool-update.service")["Service"]
    assert "User" not in unit, "it restarts units"
    assert "--account metaserver" in unit["ExecStart"]
    assert "CAP_KILL" in unit["CapabilityBoundingSet"], "a command of a version, by another account, may hang"
    line = LINES["update"]
    told = re.findall(r"^#?BUILDTOOL_UPDATE_([A-Z_]+)=(.*)$", (DEPLOY / "etc/update.env").read_text(), re.MULTILINE)
    assert len(told) > 11
    for name, value in told:
        flag = f"--{name.lower().replace('_', '-')}"
        given = gather("update", line.options, {f"BUILDTOOL_UPDATE_{name}": value}, None)
        _, said = line.parse(["run"])
        given.complete(said)
        assert vars(said)[flag[2:].replace("-", "_")], flag
    timer = options(DEPLOY / "systemd/buildtool-update.timer")["Timer"]
    assert timer["OnUnitInactiveSec"] == "15min"
