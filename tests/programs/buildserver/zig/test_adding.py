"""One command adds a compiler for nearly every platform, and says what it makes."""

import json
from pathlib import Path

import pytest

from buildtool.adapters.host.zig.finding import installed_at
from buildtool.adapters.host.zig.installing import install
from tests.adapters.host.zig.test_installing import pip
from tests.support.trying import tried
from tests.support.zigs import small_zig

pytestmark = pytest.mark.world


def test_it_says_what_there_is_now_and_that_it_was_there_already(tmp_path: Path) -> None:
    install(tmp_path, lambda _: None, pip(tmp_path))
    small_zig(installed_at(tmp_path) / "ziglang")
    code, out, _ = tried("add-toolchain", "zig", builds=tmp_path)
    assert code == 0
    assert out.splitlines()[0].startswith("zig 0.99.1 was there already: ")
    assert "  glibc 2.17 to 2.44: riscv64, x86_64" in out
    code, out, _ = tried("--add-toolchain", "zig", "--json", builds=tmp_path)
    told = json.loads(out)
    assert (code, told["new"], told["platforms"]["ucrt"]) == (0, False, ["x86_64"])


def test_what_does_not_run_here_is_an_error_of_one_line(tmp_path: Path) -> None:
    install(tmp_path, lambda _: None, pip(tmp_path))
    code, out, err = tried("add-toolchain", "zig", builds=tmp_path)
    assert (code, out) == (2, "")
    assert "does not run on this machine" in err.splitlines()[-1]
    code, out, err = tried("add-toolchain", "gcc", builds=tmp_path)
    assert (code, out) == (2, "")
    assert "there is no toolchain 'gcc' to add; there is zig" in err
