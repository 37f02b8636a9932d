"""What only the project can mend: it ends at once, is told with what to mend, and costs no machine anything."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from buildtool.demo.local_farm import Program
from tests.e2e.control import CONFIG, Control
from tests.support.packages import require
from tests.support.smtp import mail_text

MISTAKES = CONFIG.with_name("mistakes_config.py")
LINE = next(
    number for number, line in enumerate(MISTAKES.read_text("utf-8").splitlines(), 1) if "that_nobody_defined" in line
)


@pytest.fixture
def mistaken(control: Control) -> Control:
    """The farm with the two projects, and metaserver and mail server running."""
    control.farm.config = MISTAKES
    control.farm.start_mail()
    control.farm.start_metaserver()
    return control


def status(control: Control) -> str:
    """What the operator is told of the farm."""
    words = [sys.executable, str(control.farm.root / "bin" / "metaserver"), "--status"]
    done = subprocess.run(words, env=control.farm.environment(), capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def wrong(control: Control, *words: str, code: int = 3) -> dict[str, Any]:
    return control.ask("--project=wrong", "--foreground", *words, "ann@example.org", code=code)


def test_a_recipe_that_raises_ends_at_once_with_its_line_and_costs_the_machines_nothing(mistaken: Control) -> None:
    """Three such builds quarantined a machine, and the project next to it waited."""
    mistaken.server("anna")
    mistaken.server("bert")
    for _ in range(4):
        ended = wrong(mistaken, "--raises", "--force")
        assert (ended["state"], ended["epoch"]) == ("failed", 1), "nobody was asked to repeat it"
        assert "raised NameError: name 'flags_that_nobody_defined' is not defined" in ended["reason"]
        assert f"({MISTAKES}:{LINE})" in ended["reason"]
    assert "quarantine" not in status(mistaken)
    well = mistaken.ask("--project=well", "--foreground", "--no-download", "bob@example.org")
    assert well["state"] == "satisfied"
    again = wrong(mistaken, "--raises")
    assert again["answer"] == "dispatched", "what was mended meanwhile would be built"
    mistaken.farm.programs[0].wait_for("mail for")
    mails = [mail_text(mail) for mail in mistaken.mails() if mail["Delivered-To"] == "ann@example.org"]
    assert any("NameError" in body and str(LINE) in body for body in mails)


@pytest.mark.long
def test_a_submodule_whose_commit_was_never_pushed_ends_at_once_and_is_built_once_it_is(mistaken: Control) -> None:
    """Three such commits quarantined a machine; pushing the submodule makes no new commit here."""
    library = mistaken.directory / "library"
    mistaken.git("init", "--quiet", "--initial-branch=main", str(library))
    mistaken.git("-C", str(library), "commit", "--quiet", "--allow-empty", "--message=first")
    mistaken.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "ext")
    mistaken.git("-C", "ext", "commit", "--quiet", "--allow-empty", "--message=not pushed")
    mistaken.commit()
    mistaken.server("anna")
    mistaken.server("bert")
    for _ in range(4):
        ended = wrong(mistaken, "--force")
        assert "the submodule 'ext' is at commit" in ended["reason"]
        assert "push it there" in ended["reason"]
        assert (ended["state"], ended["epoch"]) == ("failed", 1)
    assert "quarantine" not in status(mistaken)
    mistaken.git("-C", "ext", "push", "--quiet", str(library), "HEAD:refs/heads/pushed")
    assert wrong(mistaken, "--no-download", code=0)["state"] == "satisfied"


def test_what_is_delivered_and_cannot_be_is_named_with_what_is_wrong_about_it(mistaken: Control) -> None:
    mistaken.server("anna")
    for mistake, said in (
        ("dangling", "'out/libx.so' cannot be packed: it is a link to 'libx.so.1', which is not delivered"),
        ("pipe", "'out/pipe' cannot be packed: it is a named pipe, neither file, directory nor link"),
        ("sparse", "'out/big' has 1099511627776 bytes, more than the 1000000000 that an artifact may have"),
    ):
        ended = wrong(mistaken, f"--mistake={mistake}")
        assert said in ended["reason"], mistake
    assert "quarantine" not in status(mistaken)


def test_what_may_not_be_read_is_the_projects_to_mend(mistaken: Control) -> None:
    """Root may read everything, so that here it is root without that capability."""
    words = [sys.executable, str(mistaken.farm.root / "bin" / "buildserver.py"), "--name", "anna"]
    if not os.geteuid():
        words = [require("setpriv", "util-linux"), "--bounding-set=-dac_override,-dac_read_search", *words]
    place = str(mistaken.directory / "build-anna")
    program = Program.start("anna", words, mistaken.farm.environment(BUILDTOOL_BUILD_DIR=place))
    mistaken.farm.programs.append(program)
    program.wait_for("registered")
    ended = wrong(mistaken, "--mistake=unreadable")
    assert "'out/tool' cannot be packed: it may not be read" in ended["reason"]
    assert ended["epoch"] == 1


def packing(control: Control, name: str) -> bool:
    """Whether a build server writes an archive now."""
    top = control.directory / "farm" / f"build-{name}"
    return any(path.suffix == ".tmp" for path in top.rglob("output/.*"))


def wait_until_packing(control: Control, name: str) -> None:
    until = time.monotonic() + 60
    while not packing(control, name):
        assert time.monotonic() < until, "nothing is packed"
        time.sleep(0.05)


@pytest.mark.long
def test_a_build_that_is_cancelled_while_it_is_packed_frees_its_slot(mistaken: Control) -> None:
    """Two hundred gigabytes of nothing would take hours to compress."""
    mistaken.server("anna")
    asked = mistaken.ask("--project=well", "--mistake=long", "ann@example.org")
    wait_until_packing(mistaken, "anna")
    mistaken.ask("--cancel", asked["cancel_id"])
    after = mistaken.ask("--project=well", "--foreground", "--no-download", "bob@example.org")
    assert after["state"] == "satisfied"
    assert not packing(mistaken, "anna")


@pytest.mark.long
def test_a_machine_that_is_taken_back_while_it_packs_is_free_at_once(mistaken: Control) -> None:
    anna = mistaken.server("anna")
    mistaken.ask("--project=well", "--mistake=long", "ann@example.org")
    wait_until_packing(mistaken, "anna")
    assert anna.stop(signal.SIGTERM, seconds=30) == 0
    assert any("returned" in line for line in anna.lines)
    assert not packing(mistaken, "anna")


@pytest.mark.long
def test_a_deliverable_that_takes_longer_than_the_donor_allows_is_over_their_limit(mistaken: Control) -> None:
    """And once the limit has gone, whoever waits is built for at once."""
    anna = mistaken.server("anna", "--time-limit", "3")
    asked = mistaken.ask("--project=well", "--mistake=long", "ann@example.org")
    anna.wait_for(
        r"over the machine's limit: packing: the build took longer than 3 s \(the limit of this machine's owner\)"
    )
    anna.stop()
    anna = mistaken.server("anna")
    anna.wait_for(r"build \d+\.2 of well begins")
    mistaken.ask("--cancel", asked["cancel_id"])


@pytest.mark.long
def test_a_tool_that_only_a_recipe_names_is_found_and_one_that_nobody_names_is_refused(
    mistaken: Control, tmp_path: Path
) -> None:
    """It is looked for by its name, whatever else is known of it."""
    config = tmp_path / "own.py"
    text = MISTAKES.read_text("utf-8").replace(
        "Recipe(1, _plan)", 'Recipe(1, _plan, machine={"tools": ("frobnicate",)})'
    )
    config.write_text(text, "utf-8")
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/sh", tmp_path / "bin" / "frobnicate")
    mistaken.farm.stop()
    mistaken.farm.config = config
    mistaken.farm.mail_port = 0
    mistaken.farm.start_metaserver()
    bare = mistaken.server("bare")
    asked = mistaken.ask("--project=well", "ann@example.org")
    assert asked["answer"] == "queued"
    assert asked["why"] == ["bare: lacks tools frobnicate", "nearest: bare lacks tools frobnicate"]
    bare.stop()
    tools = tmp_path / "bin"
    path = f"{tools}:{os.environ['PATH']}"
    mistaken.farm.start_build_server("anna", "--readable", str(tools), PATH=path).wait_for("succeeded")
    said = mistaken.refused("--project=well", "--tools=frobnicat", "bob@example.org", code=2)
    assert "no build server looks for frobnicat: did you mean frobnicate?" in said
    said = mistaken.refused("--project=well", "--arch=pcc", "bob@example.org", code=2)
    assert "--arch: pcc is not known: did you mean ppc? (build servers have offered" in said


def checked(control: Control, text: str) -> subprocess.CompletedProcess[str]:
    """What --check-config says of a configuration."""
    config = control.directory / "own.py"
    config.write_text(text, "utf-8")
    words = [sys.executable, str(control.farm.root / "bin" / "metaserver"), "--config", str(config), "--check-config"]
    return subprocess.run(
        words, env=control.farm.environment(), capture_output=True, text=True, check=False, timeout=120
    )


def test_checking_the_configuration_finds_mistakes_in_every_branch_and_names_their_lines(control: Control) -> None:
    text = MISTAKES.read_text("utf-8")
    done = checked(control, text)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert f"its recipe raised NameError: name 'flags_that_nobody_defined' is not defined ({control.directory}" in line
    assert f"own.py:{LINE}) (" in line
    assert "raises=yes" in line
    mended = text.replace("flags_that_nobody_defined", "'all'")
    for mistake, said in (
        ('["out"], deliver=True)', "got an unexpected keyword argument 'deliver'"),
        ('["*.out"])', "a deliverable is the name of one file or directory, which '*.out' is not"),
    ):
        done = checked(control, mended.replace('name="build")], ["out"])', f'name="build")], {mistake}'))
        assert said in done.stderr
        assert "own.py:" in done.stderr
    done = checked(control, mended.replace("Recipe(1, _plan)", 'Recipe(1, _plan, machine={"tool": ("gcc",)})'))
    assert "machine={'tool': ...} is unknown: did you mean tools?" in done.stderr
    done = checked(control, mended.replace("Recipe(1, _plan)", 'Recipe(1, _plan, machine={"tools": ("gccc", "gcc")})'))
    assert (done.returncode, done.stderr) == (0, "")
    assert "recipes need gccc, which is not on this machine: did you mean gcc?" in done.stdout
