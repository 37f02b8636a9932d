"""``make demo-platforms``: three projects for a dozen platforms on this machine, each program run where it can be."""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from buildtool.adapters.host.wine import PACKAGES, seed_wine, wines
from buildtool.adapters.host.zig.finding import installed_at
from buildtool.adapters.host.zig.installing import RUNNER
from buildtool.demo.demo_lua import import_releases, table
from buildtool.demo.local_farm import LocalFarm, Program, import_sources, local_farm
from buildtool.demo.narrator import ROOT, demonstrate, last_object, must, program_in, say, step, verified
from buildtool.model.binaries.recognition import HEAD, targets_of

CONFIG = ROOT / "examples" / "platforms.py"
REQUESTER = "platforms@example.org"
KEPT = ROOT / ".cache" / "demo-platforms"
"""Where the compiler is installed and its libraries are kept: the second time, nothing of that is waited for."""

PATIENCE = 1_800.0
"""Seconds in which all are tried the first time, and in which a project is built for all, on a busy machine."""

_ROUNDS = 3
_EMULATOR = "apt-get install qemu-user-static"


@frozen
class Wished:
    """One platform: ``words`` ask for it, and ``triple`` is what zig's toolchain for it is called.

    ``run`` are the words before its programs, () where this machine runs them itself and None where nothing does;
    ``remedy`` is what installs what it lacks.
    """

    words: tuple[str, ...]
    triple: str
    os: str
    arch: str
    run: tuple[str, ...] | None = ()
    suffix: str = ""
    remedy: str = ""


def glibc(version: str) -> Wished:
    """Return this kind of machine with a version of glibc."""
    return Wished((f"--libc-version={version}", "--libc=glibc"), "x86_64-linux-gnu", "linux", "x86_64")


def musl(arch: str, emulator: str = "", triple: str = "") -> Wished:
    """Return the platform of an architecture with musl, run by an emulator or this machine itself."""
    words = (f"--arch={arch}", "--libc=musl")
    run: tuple[str, ...] | None = ()
    if emulator:
        run = (emulator,) if shutil.which(emulator) else None
    return Wished(words, triple or f"{arch}-linux-musl", "linux", arch, run, remedy=_EMULATOR)


def ppc() -> Wished:
    """Return big-endian PowerPC: with glibc, which zig has not, where Debian's compiler is here, else with musl."""
    if shutil.which("powerpc-linux-gnu-gcc") is None:
        return musl("ppc", "qemu-ppc-static", "powerpc-linux-musleabihf")
    run = ("qemu-ppc-static", "-L", "/usr/powerpc-linux-gnu") if shutil.which("qemu-ppc-static") else None
    return Wished(("--arch=ppc", "--libc=glibc"), "powerpc-linux-gnu", "linux", "ppc", run, remedy=_EMULATOR)


def darwin(arch: str) -> Wished:
    """Return macOS on an architecture, whose programs nothing here runs."""
    return Wished(("--os=darwin", f"--arch={arch}"), f"{arch}-apple-darwin", "darwin", arch, None)


def wishes(kept: Path) -> tuple[Wished, ...]:
    """Return the platforms that are asked for, and what runs their programs on this machine; zig is below ``kept``."""
    wasi = installed_at(kept) / RUNNER
    return (
        *map(glibc, ("2.35", "2.28", "2.17")),
        musl("x86_64"),
        *(musl(arch, f"qemu-{arch}-static") for arch in ("aarch64", "riscv64", "s390x")),
        ppc(),
        Wished(
            ("--os=windows", "--arch=x86_64"), "x86_64-w64-mingw32", "windows", "x86_64", next(wines(), None), ".exe",
            f"apt-get install --no-install-recommends {PACKAGES}",
        ),
        *map(darwin, ("aarch64", "x86_64")),
        Wished(("--os=wasi",), "wasm32-unknown-wasi", "wasi", "wasm32", (sys.executable, "-I", str(wasi)), ".wasm"),
    )  # fmt: skip


# --- what is built, and how it is seen to be right --------------------------------------------------------------


@frozen
class Example:
    """A project, its program, and a function that says what the program does with words before it. Raises FarmError."""

    project: str
    program: str
    check: Callable[[list[str], Path], str]


def _ran(words: list[str], home: Path, given: bytes = b"") -> bytes:
    """Return what a program says, run in a home of its own. Raises FarmError."""
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(words, cwd=home, env=environment, input=given, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace").strip()
    must(done.returncode == 0, f"{shlex.join(words)} ended with {done.returncode}: {said[-300:]}")
    return done.stdout


def _tally(words: list[str], home: Path) -> str:
    said = _ran([*words, "--selftest"], home).decode(errors="replace")
    must("ok crc32" in said, f"{words[-1]} says {said!r}")
    return "self-test"


def _lua(words: list[str], home: Path) -> str:
    asked = 'print(_VERSION, select("#", pcall(error)), #string.pack("T", 0) * 8, 2^10 // 3)'
    said = _ran([*words, "-e", asked], home).decode(errors="replace").split()
    must(said[:3] == ["Lua", "5.4", "2"] and said[4:] == ["341.0"], f"{words[-1]} says {' '.join(said)}")
    return f"{said[3]} bits"


def _zlib(words: list[str], home: Path) -> str:
    text = b"on the farm\n" * 1_000
    packed = _ran(words, home, text)
    must(gzip.decompress(packed) == text, f"what {words[-1]} packs is not what it was given")
    must(_ran([*words, "-d"], home, packed) == text, f"{words[-1]} does not unpack what it packs")
    return f"{len(text)} to {len(packed)} bytes"


EXAMPLES = (
    Example("testproject", "tally", _tally),
    Example("lua", "lua", _lua),
    Example("zlib", "minigzip", _zlib),
)


# --- the demo ---------------------------------------------------------------------------------------------------


def main() -> int:
    """Run the demo; return 0 only if every program was built, is for its platform, and runs where anything runs it."""
    return demonstrate("demo-platforms", "Three projects for a dozen platforms.", CONFIG, _show)


def _show(directory: Path) -> None:
    sources = {name: directory / f"{name}.git" for name in ("testproject", "lua", "zlib")}
    import_sources(ROOT / "testproject" / "source", sources["testproject"])
    for name in ("lua", "zlib"):
        import_releases(sources[name], name)
    step("the sources of Lua and zlib, from Debian's packages, are git repositories now")
    named = {f"BUILDTOOL_{name.upper()}_REPOSITORY": str(place) for name, place in sources.items()}
    with local_farm(directory, CONFIG, **named) as farm:
        rows = show(farm, KEPT)
    print()
    for line in table(rows):
        print(line)


def show(farm: LocalFarm, kept: Path) -> list[dict[str, str]]:
    """Install zig below ``kept``, start a farm, ask for all, and return a row about each program. Raises FarmError."""
    kept.mkdir(parents=True, exist_ok=True)
    done = farm.run("buildserver.py", "add-toolchain", "zig", seconds=PATIENCE, BUILDTOOL_BUILD_DIR=str(kept))
    must(done.returncode == 0, done.stderr.strip())
    step(done.stdout.splitlines()[0])
    wanted = wishes(kept)
    farm.start_metaserver()
    server = _build_server(farm, kept, wanted)
    say(server.said(r"builds run .*"))
    return [row for example in EXAMPLES for row in built(farm, example, wanted)]


def _build_server(farm: LocalFarm, kept: Path, wanted: tuple[Wished, ...]) -> Program:
    chosen = ",".join(("native", *dict.fromkeys(wish.triple for wish in wanted)))
    words = ("--platforms", chosen, "--max-builds", str(os.cpu_count() or 1))
    server = farm.start_build_server("demo", *words, BUILDTOOL_BUILD_DIR=str(kept))
    step("a metaserver and a build server run")
    if server.said(r"zig \S+ makes programs for further platforms"):
        say("what was never tried on this machine is tried now, which takes minutes")
        server.wait_for(r"still to be tried: 0", PATIENCE)
        server.wait_for(r"registered")
    return server


def built(farm: LocalFarm, example: Example, wanted: tuple[Wished, ...]) -> list[dict[str, str]]:
    """Ask for a project for all platforms, in three rounds; return a row about each of what came. Raises FarmError.

    What is made for one version of glibc would do for those who ask for another one meanwhile, or later: so each is in
    a round of its own, and built by force.
    """
    place = farm.directory / example.project
    place.mkdir()
    answers: dict[Wished, Mapping[str, Any]] = {}
    for number in range(_ROUNDS):
        asked = wanted[number::_ROUNDS]
        answers |= zip(asked, _asked(farm, example, asked, place / f"{number}"), strict=True)
    return [_row(example, wish, place, answers[wish]) for wish in wanted]


def _asked(farm: LocalFarm, example: Example, wanted: tuple[Wished, ...], place: Path) -> list[Mapping[str, Any]]:
    listed = place.with_suffix(".txt")
    listed.write_text("".join(f"{' '.join(wish.words)}\n" for wish in wanted), encoding="ascii")
    words = ["matrix", str(listed), f"--project={example.project}", "--force", f"--output={place}/", "--foreground"]
    step(f"bin/startcompile.py {shlex.join(words)} {REQUESTER}")
    place.mkdir()
    done = farm.request("--json", *words, REQUESTER, seconds=PATIENCE)
    answers: list[Mapping[str, Any]] = last_object(done).get("requests", [])
    must(len(answers) == len(wanted), f"{len(answers)} of {len(wanted)} were answered: {done.stderr.strip()}")
    return answers


def _row(example: Example, wish: Wished, place: Path, answer: Mapping[str, Any]) -> dict[str, str]:
    must(answer["state"] == "satisfied", f"{example.project} for {' '.join(wish.words)}: {answer['reason']}")
    artifact = verified(Path(answer["path"]), dict(answer))
    program = program_in(artifact, f"{example.program}{wish.suffix}")
    with program.open("rb") as stream:
        found = targets_of(stream.read(HEAD))
    must(
        any((one.os, one.arch) == (wish.os, wish.arch) for one in found),
        f"{program} is for {', '.join(one.words() for one in found) or 'nothing known'}, not {wish.os} on {wish.arch}",
    )
    platform = answer["artifact"]["platform"]
    for word in wish.words:
        name, _, value = word.removeprefix("--").replace("-", "_", 1).partition("=")
        must(platform.get(name) == value, f"{artifact.name} is for {name}={platform.get(name)}, not {value}")
    libc = " ".join(str(platform[name]) for name in ("libc", "libc_version") if name in platform)
    ran, by = _tried(example, wish, program, place / "home")
    say(f"{example.program} for {wish.os} on {wish.arch}, {libc}: {ran}")
    return {
        "project": example.project,
        "os": wish.os,
        "arch": wish.arch,
        "C library": libc,
        "KiB": f"{artifact.stat().st_size / 1024:.0f}",
        "run by": by,
        "checked": ran,
    }


def _tried(example: Example, wish: Wished, program: Path, home: Path) -> tuple[str, str]:
    """Return what a program did and by what it ran; what nothing here runs was checked by its headers only."""
    if wish.run is None:
        remedy = f" ({wish.remedy})" if wish.remedy else ""
        return f"by its headers only: nothing here runs it{remedy}", "-"
    home.mkdir(exist_ok=True)
    seed_wine({"RUN": shlex.join(wish.run)}, home)
    done = example.check([*wish.run, str(program)], home)
    by = next((Path(word).name for word in wish.run if word.startswith(("qemu-", "wine")) or word.endswith(".py")), "")
    return f"by its headers, and run: {done}", by or "this machine"


if __name__ == "__main__":
    sys.exit(main())
