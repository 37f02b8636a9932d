"""A donor's build server follows a repository that they named: by what is signed and new is built next, and no else."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from buildtool.demo.local_farm import Program
from buildtool.programs.buildserver.guest.local_socket import ask_server
from tests.e2e.control import CONFIG, Control
from tests.e2e.test_operator import wait_until
from tests.support.packages import require
from tests.support.signed_origin import SignedOrigin, make_key

COLD = {"PYTHONNODEBUGRANGES": "1"}
"""In which a program is loaded anew, since it is to find out by itself how it was started."""


def recipe(version: int, more: str = "") -> str:
    """The configuration of the farm with another version of its recipe, which says so in the build's log."""
    text = CONFIG.read_text().replace("Recipe(version=1,", f"Recipe(version={version},")
    said = f'commands=[Command(["echo", "by recipe {version}"], name="say"), '
    return text.replace("commands=[", said) + more


class Donor:
    """A farm whose metaserver has a configuration of its own, and a donor who follows a repository."""

    def __init__(self, control: Control) -> None:
        self.control, self.farm = control, control.farm
        tools = control.directory / "tools"
        tools.mkdir()
        (tools / "ssh-keygen").symlink_to(require("ssh-keygen", "openssh-client"))
        self.farm.extra["PATH"] += f":{tools}"
        self.key, self.other = (control.directory / name for name in ("owner", "other"))
        self.public = make_key(self.key)
        make_key(self.other)
        self.origin = SignedOrigin(control.directory / "recipes")
        self.farm.config = control.directory / "config.py"
        self.farm.config.write_text(recipe(1))
        self.metaserver = self.farm.start_metaserver()
        self.options = ("--follow-config", f"{self.origin.url}#main", "--signed-by", str(self.public))
        self.place = self.farm.directory / "build-anna" / "anna"

    def start(self, *options: str) -> Program:
        return self.farm.start_build_server(
            "anna", "--sandbox", "none", *self.options, *options, E2E_SERVER="anna", **COLD
        )

    def built(self, greeting: str, *options: str) -> str:
        """Ask for a build, wait for its end, and return its log."""
        words = ("--foreground", "--no-download", "ann@example.org", "--greeting", greeting, *options)
        asked = self.control.ask(*words)
        assert asked["state"] == "satisfied"
        return self.farm.request("log", str(asked["cancel_id"])).stdout

    def follow(self, version: int) -> None:
        """Have the metaserver know another version."""
        self.farm.config.write_text(recipe(version))
        self.metaserver.send(signal.SIGHUP)
        self.metaserver.wait_for(r"was read again and holds now")

    def typed(self, *words: str) -> str:
        done = self.farm.run("buildserver.py", *words, "--name", "anna", BUILDTOOL_BUILD_DIR=str(self.place.parent))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self, act: str = "status") -> dict[str, Any]:
        found = ask_server(self.place, {"act": act})["following"]
        assert isinstance(found, dict)
        return found


def holds(commit: str) -> str:
    return rf"the configuration is {commit[:12]} of .*\n?"


@pytest.mark.long
def test_a_new_recipe_arrives_and_the_next_build_is_by_it_and_an_unsigned_push_changes_nothing(
    control: Control,
) -> None:
    donor = Donor(control)
    first = donor.origin.push(donor.key, config__py=recipe(1))
    server = donor.start()
    pid = server.process.pid
    server.wait_for(holds(first))
    server.wait_for(r"registered")
    assert "by recipe 1" in donor.built("hello")

    # A new version comes while a build runs, which is finished by the old one.
    control.close_gate("anna")
    asked = control.ask("ben@example.org", "--greeting", "goodbye")
    wait_until(lambda: ask_server(donor.place, {"act": "status"})["running"] == 1)
    second = donor.origin.push(donor.key, config__py=recipe(2))
    donor.status("reload")
    server.wait_for(rf"{second[:12]} is taken over when nothing builds any more")
    donor.follow(2)
    control.open_gate("anna")
    server.wait_for(holds(second))
    assert server.process.pid == pid
    server.wait_for(r"registered")
    assert control.ask("follow", asked["cancel_id"], "--no-download")["state"] == "satisfied"
    assert "by recipe 2" in donor.built("hello", "--loud")

    for key in (None, donor.other):
        third = donor.origin.push(key, config__py=recipe(3, "raise SystemExit('harm')\n"))
        donor.status("reload")
        server.wait_for(rf"{third[:12]} is (not )?signed")
        found = donor.status()
        assert found["holds"] == second
        assert "so nothing of it is used" in found["words"]
    for back, more, words in ((first, False, "is older than"), (first, True, "does not descend from")):
        donor.origin.git("reset", "-q", "--hard", back)
        tip = donor.origin.push(donor.key, more="") if more else back
        donor.status("reload")
        server.wait_for(rf"{tip[:12]} {words} {second[:12]}, which holds")
    assert "by recipe 2" in donor.built("goodbye")
    assert not any("harm" in line for line in server.lines)
    assert server.process.pid == pid


def test_an_owner_who_wishes_to_be_asked_reads_the_diff_and_accepts_what_they_read(control: Control) -> None:
    donor = Donor(control)
    marker = control.control("ran")
    loads = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    first = donor.origin.push(donor.key, config__py=recipe(1, loads))
    server = donor.start("--apply-config", "ask")
    server.wait_for(rf"{first[:12]} waits for you")
    assert donor.status()["holds"] == ""
    assert not marker.exists()

    shown = donor.typed("config-diff", *donor.options)
    assert "signature trusted: owner (SHA256:" in shown
    assert "+from pathlib import Path" in shown
    assert json.loads(donor.typed("config-diff", "--json", *donor.options))["commit"] == first
    refused = donor.farm.run(
        "buildserver.py", "accept-config", "0000000", "--name", "anna", *donor.options,
        BUILDTOOL_BUILD_DIR=str(donor.place.parent),
    )  # fmt: skip
    assert refused.returncode == 2
    assert f"is not what waits, which is {first[:12]}" in refused.stderr

    ask_server(donor.place, {"act": "pause"})
    donor.typed("accept-config", first[:12], *donor.options)
    server.wait_for(holds(first))
    assert marker.exists()
    server.wait_for(r"registered")
    assert ask_server(donor.place, {"act": "status"})["paused"] is True, "an owner's word goes on"
    assert Path(donor.place / "follow" / "trees" / first / "config.py").is_file()
