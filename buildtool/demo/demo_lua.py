"""``make demo-lua``: three releases of Lua for three platforms, from Debian's sources, each run where it was built."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from buildtool.adapters.host.detectors import DETECTORS, Machine
from buildtool.adapters.host.toolchains import known_toolchains, survey
from buildtool.demo.local_farm import LocalFarm, local_farm
from buildtool.demo.narrator import ROOT, asked, demonstrate, must, output_of, program_in, say, step, verified
from buildtool.model.binaries.recognition import HEAD, targets_of
from buildtool.model.platforms import ARCHES

EXAMPLE = ROOT / "examples" / "lua"
REQUESTER = "lua@example.org"

_ASKS = """\
local order = string.pack("=I2", 1):byte(1) == 1 and "little" or "big"
print(#string.pack("T", 0) * 8, order, math.maxinteger, math.pow ~= nil)
"""


@frozen
class Combination:
    """One binary to ask for: a release, an architecture ("" for this machine's) and compile options.

    Lua then says what its ``greatest`` integer is, and whether it has Lua 5.3's functions (``compat``).
    """

    release: str
    arch: str = ""
    options: tuple[str, ...] = ()
    greatest: int = 2**63 - 1
    compat: bool = True


COMBINATIONS = (
    Combination("5.4.7"),
    Combination("5.4.4", "ppc", ("--numbers=32bit",), greatest=2**31 - 1),
    Combination("5.4.2", "s390x", ("--no-compat",), compat=False),
)


def main() -> int:
    """Run the demo; return 0 only if every binary was built and runs as promised."""
    return demonstrate("demo-lua", "Three releases of Lua for three platforms.", EXAMPLE / "farm.py", _show)


def _show(directory: Path) -> None:
    repository = directory / "lua.git"
    import_releases(repository)
    step("Lua's releases are now tags of a git repository of their own")
    with local_farm(directory, EXAMPLE / "farm.py", BUILDTOOL_LUA_REPOSITORY=str(repository)) as farm:
        show(farm)


def import_releases(repository: Path, name: str = "lua") -> None:
    """Run the examples' own script for one of them. Raises FarmError with what it said."""
    script = EXAMPLE.parent / "import_sources.py"
    done = subprocess.run([sys.executable, script, name, repository], capture_output=True, text=True, check=False)
    must(done.returncode == 0, done.stderr.strip())


def show(farm: LocalFarm) -> None:
    """Ask for every combination that this machine can make, then for the first again; print a table."""
    emulators = found_emulators()
    farm.start_metaserver()
    farm.start_build_server("demo")
    step("a metaserver and a build server run")
    rows = []
    for number, wanted in enumerate(COMBINATIONS):
        if wanted.arch and wanted.arch not in emulators:
            say(f"left out: nothing here makes and runs programs for {wanted.arch}")
            continue
        rows.append(built(farm, wanted, f"lua-{number}.zip", emulators.get(wanted.arch, ())))
    again = request(farm, COMBINATIONS[0], "again.zip", "hit")
    verified(farm.directory / "again.zip", again)
    must(again["artifact"]["digest"] == rows[0]["digest"], "the hit is another artifact")
    say(f"a hit, in {again['milliseconds']:.0f} ms")
    print()
    for line in table(rows):
        print(line)


def found_emulators() -> dict[str, tuple[str, ...]]:
    """Return the words before a foreign program by architecture, for those that this machine makes and runs."""
    known = survey(known_toolchains(own("os"), own("arch"))).toolchains
    return {one.arch: tuple(shlex.split(one.tools["RUN"])) for one in known if "RUN" in one.tools}


def own(name: str) -> str:
    """Return a property of this machine, as a build server on it would announce it."""
    return str(DETECTORS[name](Machine(EXAMPLE)))


def request(farm: LocalFarm, wanted: Combination, output: str, promised: str) -> dict[str, Any]:
    """Ask for a combination and return the answer, which must be the promised one."""
    where = (f"--arch={wanted.arch}",) if wanted.arch else ()
    words = (f"--revision=v{wanted.release}", *where, *wanted.options, "--foreground", REQUESTER)
    step(f"bin/startcompile.py {' '.join(words)}")
    answer = asked(farm, "--output", output, *words)
    must(answer["answer"] == promised, f"it was answered {answer['answer']}, not {promised}")
    return answer


def built(farm: LocalFarm, wanted: Combination, output: str, emulator: tuple[str, ...]) -> dict[str, str]:
    """Build a combination, run what came of it, and return its row of the table."""
    answer = request(farm, wanted, output, "dispatched")
    artifact = verified(farm.directory / output, answer)
    program = program_in(artifact, "lua")
    arch = ARCHES[wanted.arch or own("arch")]
    if own("os") == "linux":
        with program.open("rb") as stream:
            found = targets_of(stream.read(HEAD))
        made = ", ".join(target.words() for target in found) or "no system that is known"
        must([target.arch for target in found] == [arch.name], f"{program} is for {made}, not for {arch.name}")
    version = output_of([*emulator, program, "-v"]).split("  ")[0].strip()
    must(version == f"Lua {wanted.release}", f"{program} says that it is {version}")
    said = output_of([*emulator, program, "-e", _ASKS]).split()
    promised = [str(arch.bits), arch.byteorder, str(wanted.greatest), str(wanted.compat).lower()]
    must(said == promised, f"{program} says {' '.join(said)}, not {' '.join(promised)}")
    say(f"{version} for {arch.name}: {arch.bits} bits, {arch.byteorder}-endian, greatest integer {said[2]}")
    return {
        "platform": arch.name,
        "release": wanted.release,
        "options": " ".join(wanted.options) or "-",
        "made": answer["artifact"]["kind"],
        "run by": emulator[0] if emulator else "this machine",
        "KiB": f"{artifact.stat().st_size / 1024:.0f}",
        "digest": answer["artifact"]["digest"],
    }


def table(rows: list[dict[str, str]]) -> list[str]:
    """Return the lines of a table with a head."""
    everything: list[Mapping[str, str]] = [{name: name for name in rows[0]}, *rows]
    widths = {name: max(len(row[name]) for row in everything) for name in rows[0]}
    return ["  ".join(f"{row[name]:{widths[name]}}" for name in rows[0]).rstrip() for row in everything]


if __name__ == "__main__":
    sys.exit(main())
