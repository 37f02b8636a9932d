"""What of ``/etc`` a build is shown: what everybody may read."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from buildtool.adapters.processes.sandbox import bubblewrap
from buildtool.adapters.processes.sandbox.box import INSIDE
from tests.support.packages import require


def test_what_not_everybody_may_read_is_not_copied_for_builds(tmp_path: Path) -> None:
    here = tmp_path / "etc" / "java"
    (here / "shut").mkdir(parents=True, mode=0o700)
    for name, mode in {"open": 0o644, "password": 0o600, "group": 0o640, "shut/within": 0o644}.items():
        (here / name).write_text("x")
        (here / name).chmod(mode)
    os.mkfifo(here / "pipe", 0o666)
    (here / "link").symlink_to("nowhere")
    bubblewrap._copy(here, tmp_path / "made" / "java")
    assert {one.name for one in (tmp_path / "made" / "java").rglob("*")} == {"open", "link"}
    for name in ("open", "password", "pipe", "link"):
        bubblewrap._copy(here / name, tmp_path / "alone" / name)
    assert [one.name for one in (tmp_path / "alone").iterdir()] == ["open"]


def test_the_program_that_holds_a_sandbox_may_not_be_read_by_its_account(tmp_path: Path) -> None:
    bubblewrap.make_settings(tmp_path / "made", INSIDE)
    assert (tmp_path / "made" / "cat").stat().st_mode & 0o777 == 0o111
    assert "build" in (tmp_path / "made" / "passwd").read_text()
    bubblewrap.make_settings(tmp_path / "other", 5)
    assert not (tmp_path / "other" / "cat").exists()
    with pytest.raises(FileNotFoundError):
        bubblewrap.make_settings(tmp_path / "no" / "where", 5)


def test_what_was_made_of_older_settings_is_removed_and_what_holds_stays(tmp_path: Path) -> None:
    """Those of other systems are made anew, which may have been removed since."""
    for name in ("etc-1000-old", "making-x", "etc-1000-new", "etc-1001-new", "etc-1000-root-new"):
        (tmp_path / name / "ssl").mkdir(parents=True)
    bubblewrap.clear_old_settings(tmp_path, "new")
    assert {one.name for one in tmp_path.iterdir()} == {"etc-1000-new", "etc-1001-new"}


def test_the_programs_of_a_name_are_found_in_another_system_where_its_own_links_lead(tmp_path: Path) -> None:
    for place in ("usr/bin", "usr/lib", "etc/alternatives"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "usr/bin/gcc-12").touch()
    (tmp_path / "usr/lib/tool").touch()
    (tmp_path / "usr/bin/gcc").symlink_to("gcc-12")
    (tmp_path / "etc/alternatives/cc").symlink_to("/usr/bin/gcc")
    (tmp_path / "usr/bin/cc").symlink_to("/etc/alternatives/cc")
    (tmp_path / "usr/bin/tool").symlink_to("../../../../usr/lib/tool")
    (tmp_path / "usr/bin/loop").symlink_to("loop")
    (tmp_path / "usr/bin/dead").symlink_to("/usr/bin/true")
    assert bubblewrap.covered_in(tmp_path, ("cc", "tool")) == (Path("/usr/bin/gcc-12"), Path("/usr/lib/tool"))
    assert bubblewrap.covered_in(tmp_path, ("loop", "dead", "absent")) == ()


@pytest.mark.world
def test_as_a_user_no_build_makes_a_namespace_of_users_even_where_no_filter_looks() -> None:
    """By ``--disable-userns``: the same words without it let one be made, so that this could fail."""
    program = require("bwrap", "bubblewrap")
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        bubblewrap.make_settings(Path(top) / "made", INSIDE)
        slot = Path(top) / "slot"
        slot.mkdir()
        enclosure = bubblewrap.Enclosure((slot / "tree",), slot / "tmp", Path(top) / "made", ())
        words = bubblewrap.arguments(program, enclosure, root=False)[:-1]
        account = {"user": 65_534, "group": 65_534} if os.geteuid() == 0 else {}

        def makes_one(said: list[str]) -> bool:
            inside = [*said, "/bin/sh", "-c", "unshare -U true && echo made || echo refused"]
            done = subprocess.run(inside, capture_output=True, text=True, check=False, **account)  # type: ignore[call-overload]
            if "made" not in done.stdout and "refused" not in done.stdout:
                pytest.skip(f"bubblewrap does not work here as a user: {done.stderr.strip()[:200]}")
            return "made" in done.stdout

        assert not makes_one(words)
        assert makes_one([one for one in words if one != "--disable-userns"])
