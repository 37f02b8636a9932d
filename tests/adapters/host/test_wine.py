"""What wine needs in a home is made without a copy of its libraries, and programs for Windows run at once."""

import shutil
import subprocess
from pathlib import Path

import pytest

from buildtool.adapters.host.wine import PACKAGES, libraries_of, make_drive, seed_wine, wines
from buildtool.errors import MachineFault
from tests.support.packages import require

pytestmark = pytest.mark.world


def installed(top: Path, place: str, name: str = "wine") -> str:
    """Make a wine in a directory, and return a PATH that has it."""
    libraries = top / place / "x86_64-windows"
    libraries.mkdir(parents=True)
    (libraries / "kernel32.dll").write_bytes(b"MZ")
    (top / "bin").mkdir()
    (top / "bin" / name).write_text("#!/bin/sh\n", encoding="ascii")
    (top / "bin" / name).chmod(0o755)
    return str(top / "bin")


@pytest.mark.parametrize("place", ["lib/x86_64-linux-gnu/wine", "lib64/wine", "lib/wine"])
def test_a_wine_is_found_with_its_libraries_wherever_systems_keep_them(place: str, tmp_path: Path) -> None:
    search = installed(tmp_path, place)
    assert list(wines(search)) == [("env", "WINEDEBUG=-all", "wine")]
    assert libraries_of("wine", search) == tmp_path / place / "x86_64-windows"


def test_a_wine_without_libraries_that_are_known_runs_nothing(tmp_path: Path) -> None:
    """It would copy 700 MB into the home of each build."""
    search = installed(tmp_path, "share")
    assert list(wines(search)) == []
    seed_wine({"RUN": "env wine"}, tmp_path / "home", search)
    assert not (tmp_path / "home").exists()


def test_a_home_gets_a_drive_only_where_its_tools_run_programs_by_wine(tmp_path: Path) -> None:
    search = installed(tmp_path, "lib/wine")
    home = tmp_path / "home"
    for other in ({}, {"RUN": "qemu-ppc-static"}, {"CC": "wine"}):
        seed_wine(other, home, search)
        assert not home.exists()
    for _ in range(2):
        seed_wine({"RUN": "env WINEDEBUG=-all wine"}, home, search)
    system = home / ".wine/drive_c/windows/system32"
    assert (system / "kernel32.dll").read_bytes() == b"MZ"
    assert system.is_symlink(), "nothing is copied"


def test_a_home_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(MachineFault, match=r"cannot make a drive for wine in .*home: "):
        make_drive(tmp_path / "home", tmp_path)


def test_a_program_for_windows_runs_in_a_new_home_which_stays_small(tmp_path: Path) -> None:
    require("wine", f"--no-install-recommends {PACKAGES}")
    found = libraries_of("wine")
    assert found is not None
    program = tmp_path / "hostname.exe"
    shutil.copy(found / "hostname.exe", program)
    words = next(wines())
    seed_wine({"RUN": " ".join(words)}, tmp_path)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([*words, str(program)], env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    kept = [one for one in (tmp_path / ".wine").rglob("*") if one.is_file() and not one.is_symlink()]
    assert sum(one.stat().st_size for one in kept) < 1_000_000
