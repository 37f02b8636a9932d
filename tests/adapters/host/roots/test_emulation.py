"""What keeps the kernel from running another architecture's programs is said, with the command that mends it."""

from pathlib import Path

import pytest

from buildtool.adapters.host.roots.emulation import obstacle, runs_itself


def registered(top: Path, *, flags: str = "POCF", enabled: str = "enabled", status: str = "enabled") -> Path:
    (top / "register").write_text("")
    (top / "status").write_text(f"{status}\n")
    (top / "qemu-arm").write_text(f"{enabled}\ninterpreter /usr/bin/qemu-arm-static\nflags: {flags}\noffset 0\n")
    return top


def test_what_is_registered_for_use_in_sandboxes_is_fine(tmp_path: Path) -> None:
    assert obstacle("armv7l", registered(tmp_path)) == ("", "")


@pytest.mark.parametrize(
    ("how", "why", "mend"),
    [
        ({"flags": "OC"}, "without the flag F", "install qemu-user-static"),
        ({"enabled": "disabled"}, "switched off", "echo 1 > "),
        ({"status": "disabled"}, "switched off", "echo 1 > "),
    ],
)
def test_what_is_registered_in_vain_is_said(how: dict[str, str], why: str, mend: str, tmp_path: Path) -> None:
    found = obstacle("armv7l", registered(tmp_path, **how))
    assert why in found[0]
    assert mend in found[1]


def test_what_is_not_registered_is_said_with_the_command_for_where_the_list_is_not_even_mounted(tmp_path: Path) -> None:
    why, mend = obstacle("riscv64", tmp_path)
    assert why == "nothing is registered that runs programs of riscv64"
    assert mend.startswith("apt-get install qemu-user-static")
    assert f"mount -t binfmt_misc none {tmp_path}; cat /usr/lib/binfmt.d/qemu-riscv64.conf" in mend
    assert "mount" not in obstacle("riscv64", registered(tmp_path))[1]


def test_a_64_bit_pc_runs_32_bit_programs_by_itself() -> None:
    assert runs_itself("x86_64", "i686")
    assert runs_itself("aarch64", "aarch64")
    assert not runs_itself("i686", "x86_64")
    assert not runs_itself("x86_64", "aarch64")
