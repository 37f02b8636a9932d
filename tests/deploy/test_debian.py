"""The Debian package in a fresh Debian with systemd as its first process: a farm serves, joins and builds."""

import io
import json
import re
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from tests.support.booted_root import PATIENCE, BootedRoot, booted, made_root
from tests.support.packages import require, require_that

ROOT = Path(__file__).resolve().parents[2]

SERVICES = ("metaserver", "webserver", "buildserver@native")

CONFIG = {"BUILDTOOL_CONFIG": "/etc/buildtool/config.py"}

NEEDED = ("python3", "git", "gcc", "libc6-dev", "make", "bubblewrap", "libseccomp2", "procps")
"""What the package depends on or recommends, and what the example is built with: nothing is fetched later."""

pytestmark = [pytest.mark.world, pytest.mark.long, pytest.mark.xdist_group("debian")]


def packaged(place: Path) -> Path:
    """Make the package of this checkout."""
    require("dpkg-deb", "dpkg")
    require("strip", "binutils")
    for name in (".venv", ".venv-dev"):
        require_that(present=(ROOT / name).exists(), what=f"there is no {name}", remedy="make venv dev")
    done = subprocess.run(
        [ROOT / "deploy/debian/package", place], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = place.glob("*.deb")
    return made


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BootedRoot]:
    """A machine on which the package is installed and configured as the manual says, and nothing runs yet."""
    place = tmp_path_factory.mktemp("debian") / "root"
    making = made_root(place, NEEDED)
    try:
        package = packaged(tmp_path_factory.mktemp("package"))
        said, _ = making.communicate(timeout=600)
    finally:
        making.kill()
    assert making.returncode == 0, said
    with booted(place) as root:
        package.rename(root.file(f"/root/{package.name}"))
        root.run("apt-get", "install", "--yes", "--no-install-recommends", f"/root/{package.name}")
        root.run("cp", "-r", "/usr/share/buildtool/examples/.", "/etc/buildtool")
        config = root.file("/etc/buildtool/config.py")
        config.write_text(config.read_text().replace("farm.example.org", "127.0.0.1"))
        for name in ("metaserver", "buildserver"):
            with root.file(f"/etc/buildtool/{name}.env").open("a") as file:
                file.write("BUILDTOOL_TESTPROJECT_REPOSITORY=/srv/testproject.git\n")
        sources = "/etc/buildtool/testproject/source"
        me = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
        root.run("git", "init", "-q", "-b", "main", sources)
        root.run("git", "-C", sources, "add", ".")
        root.run("git", *me, "-C", sources, "commit", "-q", "-m", "Import")
        root.run("git", "clone", "-q", "--bare", sources, "/srv/testproject.git")
        yield root


def wait_until(root: BootedRoot, unit: str, state: str) -> None:
    until = time.monotonic() + PATIENCE
    while (found := root.run("systemctl", "is-active", unit, code=None).stdout.strip()) != state:
        assert time.monotonic() < until, f"{unit} is {found}: {journal(root, unit)}"
        time.sleep(0.1)


def journal(root: BootedRoot, unit: str) -> str:
    return root.said("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")


def line(root: BootedRoot, *words: str) -> str:
    """Have the metaserver invite somebody, and return the line that joins."""
    told = root.run("metaserver", "invite", *words, "--json", account="metaserver", variables=CONFIG)
    return str(json.loads(told.stdout)["line"])


def test_the_units_of_the_package_are_right_and_leave_their_programs_little(machine: BootedRoot) -> None:
    units = [f"{name}.service" for name in SERVICES]
    found = machine.run("systemd-analyze", "verify", "--man=no", *units)
    assert (found.stdout, found.stderr) == ("", "")
    shown = machine.said("metaserver", "--version"), machine.said("startcompile", "--version")
    assert shown[0].startswith("buildtool ")
    assert shown[0] == shown[1]


def test_a_fresh_debian_with_the_package_serves_joins_and_builds(machine: BootedRoot) -> None:
    machine.run("systemctl", "start", "metaserver", "webserver")
    env = machine.file("/etc/buildtool/buildserver-native.env")
    env.touch(0o600)
    env.write_text(f"BUILDTOOL_JOIN={line(machine, 'native')}\n")
    machine.run("systemctl", "start", "buildserver@native")
    assert "builds run in a strict sandbox: all attempts to get out of it failed" in journal(
        machine, "buildserver@native"
    )

    machine.run("startcompile.py", "join", line(machine, "ann", "--role", "requester", "--owner", "ann@example.org"))
    asking = ("startcompile.py", "--json", "--foreground", "ann@example.org")
    built = json.loads(machine.said(*asking, variables=CONFIG).splitlines()[-1])
    assert built["build_state"] == "succeeded", built
    again = json.loads(machine.said(*asking, variables=CONFIG).splitlines()[-1])
    assert again["answer"] == "hit", again
    page = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/build/{built['build_id']}').status)"
    assert machine.said("python3", "-c", page) == "200"
    for unit in SERVICES:
        assert machine.said("systemctl", "show", "--value", "--property=NRestarts", unit) == "0"


def test_a_backup_is_made_by_its_unit_sealed_and_handed_on_and_a_failure_of_that_is_one_of_the_unit(
    machine: BootedRoot,
) -> None:
    mine = pyrage.x25519.Identity.generate()
    machine.file("/etc/buildtool/backup.keys").write_text(f"{mine.to_public()}\n")
    machine.run("install", "--directory", "--owner=metaserver", "/srv/vault")
    env = machine.file("/etc/buildtool/metaserver-backup.env")
    wishes = "BUILDTOOL_METASERVER_WITH_CONFIG=true\nBUILDTOOL_METASERVER_ENCRYPT_TO=/etc/buildtool/backup.keys\n"
    env.write_text(f"{wishes}BUILDTOOL_METASERVER_THEN=false\n")
    machine.run("systemctl", "enable", "--now", "metaserver-backup.timer")
    assert machine.said("systemctl", "is-active", "metaserver-backup.timer") == "active"
    machine.run("systemctl", "start", "metaserver-backup", code=1)
    assert machine.said("systemctl", "show", "--value", "--property=ExecMainStatus", "metaserver-backup") == "11"
    assert not machine.file("/var/lib/metaserver/last-backup").exists()

    env.write_text(f'{wishes}BUILDTOOL_METASERVER_THEN=cp -a "$BACKUP" /srv/vault\n')
    machine.run("systemctl", "start", "metaserver-backup")
    told = journal(machine, "metaserver-backup")
    assert "it was restored for a test: fsck found nothing, and all that should be there is" in told, told
    made = Path(json.loads(machine.file("/var/lib/metaserver/last-backup").read_text())["directory"])
    (artifact,) = [path for path in machine.file(f"{made}/artifacts").rglob("*") if path.is_file()]
    assert artifact.stat().st_nlink == 3, "that of the farm and of both backups: it takes no room"
    with tarfile.open(
        fileobj=io.BytesIO(pyrage.decrypt(machine.file(f"/srv/vault/{made.name}/config.tar.age").read_bytes(), [mine]))
    ) as archive:
        there = {one.name: (one.uname, one.gname) for one in archive.getmembers()}
    assert there["etc/buildtool/config.py"] == ("root", "root")
    assert any(name.startswith("var/lib/metaserver/tls/authority-") for name in there)


def test_the_line_for_what_git_fetches_is_taken_by_the_unit_of_build_servers(machine: BootedRoot) -> None:
    def allowed() -> list[str]:
        return machine.said("systemctl", "show", "--value", "--property=SystemCallFilter", "buildserver@native").split()

    assert "pidfd_getfd" not in allowed()
    place = machine.file("/etc/systemd/system/buildserver@.service.d")
    place.mkdir()
    (place / "rate.conf").write_text("[Service]\nSystemCallFilter=pidfd_getfd\n")
    machine.run("systemctl", "daemon-reload")
    assert "pidfd_getfd" in allowed()


def test_a_machine_that_starts_while_the_farm_is_away_waits_for_it(machine: BootedRoot) -> None:
    machine.run("systemctl", "stop", "metaserver.socket", "metaserver", "buildserver@native")
    machine.run("systemctl", "start", "buildserver@native")
    machine.run("systemctl", "start", "metaserver")
    until = time.monotonic() + PATIENCE
    while "1 of 1 build server is connected" not in machine.said(
        "metaserver", "status", account="metaserver", variables=CONFIG
    ):
        assert time.monotonic() < until, journal(machine, "buildserver@native")
        time.sleep(0.1)


def test_a_wrong_configuration_is_told_and_whoever_connects_meanwhile_is_served_once_it_is_mended(
    machine: BootedRoot,
) -> None:
    config = machine.file("/etc/buildtool/config.py")
    right = config.read_text()
    config.write_text(right + "web_prot = 1\n")
    machine.run("systemctl", "restart", "metaserver", code=1)
    assert "unknown setting 'web_prot': did you mean 'web_port'?" in journal(machine, "metaserver")
    # Each start that a connection brought about would count; systemd gives up after ten within ten seconds.
    asking = ("startcompile.py", "--json", "ann@example.org")
    assert machine.run("systemctl", "is-active", "metaserver.socket").stdout.strip() == "active"
    config.write_text(right)
    wait_until(machine, "metaserver", "active")
    assert json.loads(machine.said(*asking, variables=CONFIG).splitlines()[-1])["answer"] == "hit"


def test_a_build_server_that_is_reloaded_drains_and_stays_away(machine: BootedRoot) -> None:
    machine.run("systemctl", "reload", "buildserver@native")
    wait_until(machine, "buildserver@native", "inactive")
    assert machine.said("systemctl", "show", "--value", "--property=ExecMainStatus", "buildserver@native") == "0"


def test_a_program_that_hangs_is_started_anew(machine: BootedRoot) -> None:
    machine.run("systemctl", "start", "metaserver")
    dropped = "[Service]\nWatchdogSec=5s\nTimeoutAbortSec=1s\n"
    machine.file("/etc/systemd/system/metaserver.service.d").mkdir()
    machine.file("/etc/systemd/system/metaserver.service.d/soon.conf").write_text(dropped)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "metaserver")
    machine.run("systemctl", "kill", "--signal=STOP", "metaserver")
    until = time.monotonic() + PATIENCE
    while machine.said("systemctl", "show", "--value", "--property=NRestarts", "metaserver") == "0":
        assert time.monotonic() < until, journal(machine, "metaserver")
        time.sleep(0.1)
    wait_until(machine, "metaserver", "active")
    assert "Watchdog timeout" in journal(machine, "metaserver")


def test_the_package_goes_and_leaves_what_the_farm_knows(machine: BootedRoot) -> None:
    machine.run("systemctl", "enable", "buildserver@native", "metaserver")
    told = machine.said("apt-get", "purge", "--yes", "buildtool")
    assert re.search(r"/var/lib/metaserver stays", told), told
    assert machine.file("/var/lib/metaserver").is_dir()
    assert not machine.file("/usr/bin/metaserver").exists()
    assert not machine.file("/usr/lib/buildtool").exists()
    assert machine.run("systemctl", "--failed", "--no-legend").stdout == ""
    assert not list(machine.file("/etc/systemd/system").glob("*.wants/*server*"))
