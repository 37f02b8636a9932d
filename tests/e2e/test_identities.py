"""Real programs that know each other by keys: invited with one line, serving over TLS, revoked within a second."""

import json
import re
import stat
import subprocess
import time
from pathlib import Path

import pytest

from buildtool.demo.local_farm import Program
from tests.e2e.control import Control
from tests.e2e.test_operator import operate
from tests.support.building import narrow_path


@pytest.fixture
def keyed(control: Control) -> Control:
    """A farm whose metaserver believes nobody without a key, though everybody is on this machine."""
    control.farm.extra |= {"BUILDTOOL_TRUSTED": "nobody", "XDG_CONFIG_HOME": str(control.directory / "home")}
    control.farm.start_metaserver()
    return control


def program(farm: Control, name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return farm.farm.run(name, *words, seconds=60.0, **environment)


def joined(farm: Control, name: str, *words: str) -> Program:
    """Invite a machine, have it join, and return its build server."""
    line = operate(farm, "invite", name, *words)
    return farm.server(name, "--join", line)


def test_a_machine_and_a_person_join_with_a_line_each_and_a_build_is_delivered(keyed: Control) -> None:
    joined(keyed, "anna", "--owner", "anna@example.org")
    line = operate(keyed, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")
    (keyed.directory / "line").write_text(line + "\n")
    told = program(keyed, "startcompile.py", "join", str(keyed.directory / "line"), "--json")
    assert json.loads(told.stdout)["name"] == "ben"
    done = keyed.ask("ben@example.org", "--foreground")
    assert done["build_state"] == "succeeded", done
    listed = json.loads(operate(keyed, "list", "--json"))["found"]
    assert [(one["name"], one["role"], one["state"]) for one in listed] == [
        ("anna", "build server", "active"),
        ("ben", "requester", "active"),
    ]
    found = [one for one in (keyed.directory / "farm").rglob("*.pem") if "sandbox" not in one.parts]
    assert found
    for kept in found:  # the others are certificates of the system, which builds are shown
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600, kept


def test_a_machine_that_has_joined_needs_no_argument_at_its_next_start(keyed: Control) -> None:
    anna = joined(keyed, "anna")
    assert anna.stop() == 0
    again = keyed.farm.start(
        "again",
        [str(keyed.farm.root / "bin" / "buildserver.py")],
        BUILDTOOL_BUILD_DIR=str(keyed.farm.directory / "build-anna"),
    )
    again.wait_for("registered at 127.0.0.1:.*")


def test_a_line_that_stays_where_a_service_manager_finds_it_keeps_no_machine_from_starting_while_the_farm_is_away(
    control: Control,
) -> None:
    control.farm.extra |= {"BUILDTOOL_TRUSTED": "nobody"}
    metaserver = control.farm.start_metaserver()
    line = operate(control, "invite", "anna")
    assert control.server("anna", "--join", line).stop() == 0
    assert metaserver.stop() == 0
    place = str(control.farm.directory / "build-anna")
    program = str(control.farm.root / "bin" / "buildserver.py")
    again = control.farm.start("again", [program], BUILDTOOL_BUILD_DIR=place, BUILDTOOL_JOIN=line)
    again.wait_for("no metaserver answers.*next try in")
    control.farm.start_metaserver()
    again.wait_for("registered at 127.0.0.1:.*")
    assert not any("joined" in said for said in again.lines)


def test_joining_says_what_it_did_and_what_the_owner_writes_of_the_machine_is_shown(keyed: Control) -> None:
    anna = joined(keyed, "anna")
    place = keyed.farm.directory / "build-anna"
    assert any(f"wrote {place / 'buildserver.toml'}, which is yours to edit" in line for line in anna.lines)
    assert anna.stop() == 0
    (place / "info" / "admin").write_text("Ann, room 12\n")
    (place / "info" / "host").write_text("the old workstation\n")
    text = (place / "buildserver.toml").read_text()
    assert f'addresses = ["127.0.0.1:{keyed.farm.ports["BUILDTOOL_PB_PORT"]}"]' in text
    (place / "buildserver.toml").write_text(text.replace("# max_builds = 1", "max_builds = 3"))
    told = program(keyed, "buildserver.py", "show-info", "--json", BUILDTOOL_BUILD_DIR=str(place))
    found = json.loads(told.stdout)
    assert (found["name"], found["max_builds"], found["admin"]) == ("anna", 3, "Ann, room 12")
    assert found["host_info"].startswith("the old workstation; ")
    again = keyed.farm.start("again", [str(keyed.farm.root / "bin" / "buildserver.py")], BUILDTOOL_BUILD_DIR=str(place))
    again.wait_for("registered at 127.0.0.1:.*")
    status = json.loads(operate(keyed, "status", "--json"))
    assert [one["slots"] for one in status["stands"]] == [3]


def test_who_is_revoked_is_gone_within_a_second_and_is_told_so(keyed: Control) -> None:
    anna = joined(keyed, "anna")
    assert operate(keyed, "revoke", "anna", "--reason", "it was sold").startswith("anna is revoked (1 key)")
    began = time.monotonic()
    while json.loads(operate(keyed, "status", "--json"))["servers_connected"]:
        assert time.monotonic() - began < 5
    anna.wait_for("the key of anna was revoked: it was sold")
    assert operate(keyed, "revoke", "nobody", code=1).startswith(
        "metaserver: no key has the name 'nobody'; known: none"
    )


def test_a_line_that_was_used_and_a_stranger_are_told_what_to_do(keyed: Control) -> None:
    line = operate(keyed, "invite", "anna")
    keyed.farm.start_build_server("anna", "--join", line)
    other = program(
        keyed, "buildserver.py", "--join", line, "--maxretries", "1",
        BUILDTOOL_BUILD_DIR=str(keyed.directory / "other"),
    )  # fmt: skip
    assert other.returncode != 0
    assert re.search(r"used already, with another key: ask the operator for a new line", other.stderr), other.stderr
    stranger = program(keyed, "startcompile.py", "ben@example.org")
    assert stranger.returncode != 0
    assert "join" in stranger.stderr
    assert stranger.stderr.count("\n") == 1


@pytest.mark.parametrize("line", ["", "x", "farm:1/sha256:12/abc", "/nowhere/at/all"])
def test_what_is_no_line_is_told_in_one_line(control: Control, line: str, tmp_path: Path) -> None:
    done = program(control, "startcompile.py", "join", line, XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir()) or not (tmp_path / "buildtool").exists()


def test_a_machine_that_joins_without_a_sandbox_does_not_start_and_is_told_the_mend(keyed: Control) -> None:
    broken = keyed.directory / "bin" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    broken.chmod(0o755)
    path, place = f"{broken.parent}:{narrow_path()}", str(keyed.directory / "anna")
    line = operate(keyed, "invite", "anna")
    told = program(keyed, "buildserver.py", "--join", line, "--no-cross", PATH=path, BUILDTOOL_BUILD_DIR=place)
    assert told.returncode == 2
    (last,) = [one for one in told.stderr.splitlines() if one.startswith("buildserver.py: ")]
    assert "No permissions to create new namespace" in last
    assert last.endswith("or say --sandbox none to build without a sandbox")
    assert json.loads(operate(keyed, "status", "--json"))["servers_connected"] == 0
    words = [str(keyed.farm.root / "bin" / "buildserver.py"), "--no-cross", "--sandbox", "none"]
    keyed.farm.start("anna", words, PATH=path, BUILDTOOL_BUILD_DIR=place).wait_for("registered at")
