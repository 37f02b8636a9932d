"""Zig is installed by version and digest, once, and whole or not at all."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from buildtool.adapters.host.zig.finding import installed_at
from buildtool.adapters.host.zig.installing import PINNED, RUNNER, install, installed, pinned_versions
from buildtool.errors import ConfigurationError

pytestmark = pytest.mark.world

_PIP = """\
import pathlib, sys
words = sys.argv[1:]
target, listed = pathlib.Path(words[words.index("--target") + 1]), pathlib.Path(words[words.index("-r") + 1])
text = listed.read_text()
assert "--require-hashes" in words and text.count("==") == 1 and "--hash=sha256:" in text, words
name = text.partition("==")[0]
with open(__file__ + ".asked", "a") as log:
    print(name, file=log)
if name in {broken!r}:
    sys.exit("no such package")
(target / name).mkdir(parents=True)
(target / name / "zig").write_text("new")
"""


def pip(place: Path, broken: Sequence[str] = ()) -> tuple[str, ...]:
    """A pip that makes directories, and remembers what it was asked for."""
    script = place / "pip.py"
    script.write_text(_PIP.replace("{broken!r}", repr(set(broken))), encoding="ascii")
    return sys.executable, str(script)


def asked(place: Path) -> list[str]:
    return (place / "pip.py.asked").read_text(encoding="ascii").split()


def test_every_package_is_pinned_by_a_version_and_by_digests() -> None:
    assert set(pinned_versions()) == {"ziglang", "wasmtime"}
    for part in PINNED.read_text(encoding="ascii").split("==")[1:]:
        assert part.count("--hash=sha256:") >= 5, "one for each kind of machine"


def test_what_is_there_is_not_installed_again(tmp_path: Path) -> None:
    said: list[str] = []
    assert not installed(tmp_path)
    assert install(tmp_path, said.append, pip(tmp_path))
    assert installed(tmp_path)
    assert not install(tmp_path, said.append, pip(tmp_path))
    assert asked(tmp_path) == ["ziglang", "wasmtime"]
    assert [line.split()[:2] for line in said] == [["installing", "ziglang"], ["installing", "wasmtime"]]
    assert (installed_at(tmp_path) / RUNNER).is_file()
    assert [one.name for one in installed_at(tmp_path).parent.iterdir() if one.name != ".lock"] == ["zig"]


def test_another_version_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    install(tmp_path, lambda _: None, pip(tmp_path))
    (installed_at(tmp_path) / "made-from").write_text("an older list")
    (installed_at(tmp_path) / "ziglang" / "zig").write_text("old")
    assert install(tmp_path, lambda _: None, pip(tmp_path))
    assert (installed_at(tmp_path) / "ziglang" / "zig").read_text() == "new"


def test_without_the_compiler_nothing_changes_and_it_is_said(tmp_path: Path) -> None:
    install(tmp_path, lambda _: None, pip(tmp_path))
    (installed_at(tmp_path) / "made-from").write_text("an older list")
    with pytest.raises(ConfigurationError, match="pip did not install ziglang"):
        install(tmp_path, lambda _: None, pip(tmp_path, ["ziglang"]))
    assert (installed_at(tmp_path) / "ziglang" / "zig").is_file()


def test_without_what_runs_webassembly_the_compiler_is_installed_all_the_same(tmp_path: Path) -> None:
    assert install(tmp_path, lambda _: None, pip(tmp_path, ["wasmtime"]))
    assert installed(tmp_path)
