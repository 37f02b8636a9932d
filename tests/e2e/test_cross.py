"""Binaries for other machines: built from here, right for there, and run there (in an emulator)."""

import json
import platform
import struct
import subprocess
import sys
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from buildtool.demo.local_farm import LocalFarm, import_sources
from buildtool.model.binaries.recognition import HEAD, targets_of
from tests.e2e.control import Control
from tests.support.packages import require, require_that
from tests.support.smtp import mail_text, parse

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("cross")]  # the tests share a farm

ROOT = Path(__file__).resolve().parent.parent.parent


@frozen
class Target:
    """An architecture and what its ELF files say of themselves, from the System V ABI's processor supplements."""

    arch: str
    triple: str
    libc: str
    bits: int
    order: str
    machine: int


TARGETS = (
    Target("ppc", "powerpc-linux-gnu", "libc6-dev-powerpc-cross", 32, "big", 20),
    Target("ppc64le", "powerpc64le-linux-gnu", "libc6-dev-ppc64el-cross", 64, "little", 21),
    Target("aarch64", "aarch64-linux-gnu", "libc6-dev-arm64-cross", 64, "little", 183),
    Target("riscv64", "riscv64-linux-gnu", "libc6-dev-riscv64-cross", 64, "little", 243),
    Target("s390x", "s390x-linux-gnu", "libc6-dev-s390x-cross", 64, "big", 22),
)


def need(target: Target) -> None:
    require(f"{target.triple}-gcc", f"gcc-{target.triple} {target.libc}")
    require(f"qemu-{target.arch}-static", "qemu-user-static")


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    """The deployment's own configuration with the testproject, and one build server with what this machine has."""
    require("git", "git")
    require("gcc", "gcc")
    require("make", "make")
    directory = tmp_path_factory.mktemp("cross")
    repository = directory / "testproject.git"
    made = LocalFarm(directory, ROOT / "config.py", {"BUILDTOOL_TESTPROJECT_REPOSITORY": str(repository)})
    import_sources(ROOT / "testproject" / "source", repository)
    programs = made.programs
    try:
        made.start_mail()
        made.start_metaserver("--web")
        made.start_build_server("anna")
        yield made
    finally:
        said = [f"--- {program.name}\n" + "\n".join(program.lines) for program in programs]
        made.stop()
        print("\n".join(said), file=sys.stderr)


def ask(farm: LocalFarm, *arguments: str) -> dict[str, Any]:
    done = farm.request("--json", *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def built(farm: LocalFarm, target: Target) -> dict[str, Any]:
    """What who asks for nothing but the architecture is answered in the end; the zip lies in ``farm.directory``."""
    need(target)
    return ask(farm, f"--arch={target.arch}", "--foreground", f"--output={target.arch}.zip", "ann@example.org")


def page(farm: LocalFarm, path: str) -> str:
    with urllib.request.urlopen(farm.public_url + path) as answer:  # noqa: S310 - of this test's own server
        text: str = answer.read().decode()
        return text


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.arch)
def test_a_program_for_another_machine_is_one_and_runs_there(farm: LocalFarm, target: Target) -> None:
    answer = built(farm, target)
    artifact = answer["artifact"]
    assert (answer["state"], artifact["kind"], artifact["server"]) == ("satisfied", "cross", "anna")
    place = farm.directory / target.arch
    with zipfile.ZipFile(farm.directory / f"{target.arch}.zip") as archive:
        archive.extractall(place)
    program = place / "tally"
    program.chmod(0o755)
    head = program.read_bytes()[:HEAD]
    assert head[:6] == b"\x7fELF" + bytes([target.bits // 32, 1 if target.order == "little" else 2])
    assert struct.unpack_from("<H" if target.order == "little" else ">H", head, 18) == (target.machine,)
    assert [found.arch for found in targets_of(head)] == [target.arch]
    text = "zwölf boxkämpfer jagen zwölf\n".encode()
    command = [f"qemu-{target.arch}-static", "-L", f"/usr/{target.triple}", str(program)]
    said = subprocess.run(command, input=text, capture_output=True, check=True, timeout=60).stdout.decode()
    assert f"crc32 {zlib.crc32(text):08x}" in " ".join(said.split())


def test_the_self_check_ran_in_the_emulator(farm: LocalFarm) -> None:
    ppc = TARGETS[0]
    log = page(farm, f"/logs/{built(farm, ppc)['build_id']}")
    assert "qemu-ppc-static -L /usr/powerpc-linux-gnu ./tally --selftest" in log
    assert "powerpc-linux-gnu-strip tally" in log


def test_pages_and_mail_say_that_it_was_cross_compiled_and_where(farm: LocalFarm) -> None:
    """The mail is that of a request of its own: a hit sends none."""
    ppc = TARGETS[0]
    need(ppc)
    mailbox = farm.programs[0]
    answer = ask(farm, "--arch=ppc", "--table-size=32", "--foreground", "--no-download", "dora@example.org")
    shown = page(farm, f"/build/{answer['build_id']}")
    assert "linux ppc (32-bit big-endian)" in shown
    assert "cross-compiled" in shown
    assert ">anna</a>" in shown
    servers = page(farm, "/buildservers")
    assert "cross-compiled, gcc-" in servers
    assert "native, gcc-" in servers
    mailbox.wait_for(r"mail for dora@example\.org")
    letters = [parse(path.read_bytes()) for path in (farm.mailbox / "new").iterdir()]
    (letter,) = [mail_text(one) for one in letters if one["Delivered-To"] == "dora@example.org"]
    assert "with a cross toolchain, on the build server anna" in " ".join(letter.split())
    assert "arch=ppc" in letter


def test_the_same_request_is_a_hit_and_an_older_library_is_none(farm: LocalFarm) -> None:
    built(farm, TARGETS[0])
    again = ask(farm, "--arch=powerpc", "--no-download", "bob@example.org")
    assert (again["answer"], again["artifact"]["kind"]) == ("hit", "cross")
    older = ask(farm, "--arch=ppc", "--libc-version=2.1", "--no-download", "bob@example.org")
    assert older["answer"] == "queued"
    assert any("libc_version" in line and "2.1" in line for line in older["why"])


def test_who_says_native_gets_nothing_that_was_cross_built(farm: LocalFarm) -> None:
    built(farm, TARGETS[0])
    answer = ask(farm, "--arch=ppc", "--native", "--no-download", "bob@example.org")
    assert answer["answer"] == "queued"
    assert any("builds this platform cross, not native" in line for line in answer["why"])


# --- native, all the way ------------------------------------------------------------------------------------------


def cross_compiling(running: Control, name: str, directory: Path) -> None:
    """Start a build server that makes this machine's binaries with what it calls a cross compiler, and no others."""
    machine = platform.machine()
    require_that(present=machine == "x86_64", what=f"this machine is {machine}", remedy="run this test on x86_64")
    require("x86_64-linux-gnu-gcc", "gcc")
    running.farm.extra.pop("PATH", None)  # which has this machine's own compiler by its plain name alone
    toolchains = directory / f"{name}.toml"
    toolchains.write_text('platforms = ["cross"]\n[[toolchain]]\ntriple = "x86_64-linux-gnu"\n')
    running.server(name, "--toolchains", str(toolchains))


def test_a_native_request_passes_over_a_cross_artifact_and_waits_for_a_native_machine(
    running: Control, tmp_path: Path
) -> None:
    cross_compiling(running, "anna", tmp_path)
    cross = running.ask("--foreground", "--no-download", "ann@example.org")
    assert (cross["artifact"]["kind"], cross["artifact"]["server"]) == ("cross", "anna")
    assert running.ask("--no-download", "bob@example.org")["answer"] == "hit"
    native = running.ask("--native", "--no-download", "bob@example.org")
    assert native["answer"] == "queued"
    assert any("builds this platform cross, not native" in line for line in native["why"])
    assert running.ask("--native", "--no-download", "cid@example.org")["answer"] == "joined"
    running.server("bert", "--no-cross")
    running.farm.programs[0].wait_for(r"mail for (bob|cid)@example\.org")
    running.farm.programs[0].wait_for(r"mail for (bob|cid)@example\.org")
    again = running.ask("--native", "--no-download", "dora@example.org")
    assert (again["answer"], again["artifact"]["kind"], again["artifact"]["server"]) == ("hit", "native", "bert")


def test_a_native_machine_is_preferred_to_one_that_cross_compiles(running: Control, tmp_path: Path) -> None:
    cross_compiling(running, "anna", tmp_path)
    running.server("bert", "--platforms", "native")
    done = running.ask("--foreground", "--no-download", "ann@example.org")
    assert (done["artifact"]["kind"], done["artifact"]["server"]) == ("native", "bert")
