"""A CMake project on the farm, for the machine's own platform and with its cross compilers.

Its sources are in source/ beside this file; `examples/make_repositories.py` makes a repository of them.
"""

import os
from pathlib import Path

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, flag, number, standard

_SYSTEM = standard(
    "os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level", "memory", "cpus", "disk", "tools"
)

_COMPILE = (
    flag("sum", help="say the sum of the primes too (WITH_SUM)"),
    number("up_to", default=100, minimum=2, maximum=1_000_000, help="the greatest number that is looked at (MOST)"),
)


def _plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted."""
    options = wanted.options
    settings = [
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_INSTALL_PREFIX=/",
        f"-DCMAKE_C_COMPILER={wanted.tools['CC']}",
        # Nothing that names the directory may get into the binary, or two machines would make different ones.
        f"-DCMAKE_C_FLAGS=-ffile-prefix-map={wanted.source}=.",
        f"-DWITH_SUM={'ON' if options['sum'] else 'OFF'}",
        f"-DMOST={options['up_to']}",
    ]
    if wanted.kind == "cross":
        settings += ["-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_SYSTEM_PROCESSOR={wanted.platform['arch']}"]
        if wanted.emulator:  # CMake puts it before what ctest runs
            settings.append(f"-DCMAKE_CROSSCOMPILING_EMULATOR={';'.join(wanted.emulator)}")
    commands = [
        Command(["cmake", "-S", ".", "-B", "build", *settings], name="configure"),
        Command(["cmake", "--build", "build", f"-j{wanted.cpus}"], name="build"),
    ]
    if wanted.can_run:
        commands.append(Command(["ctest", "--test-dir", "build", "--output-on-failure"], name="self-check"))
    commands.append(Command(["cmake", "--install", "build", "--prefix", "out"], name="install"))
    return Plan(
        commands=commands,
        deliverables=["out/bin/primes"],
        machine_faults=[r"No space left on device", r"[Cc]annot allocate memory"],
    )


def _path_to_url(source: str) -> str:
    """Return the repository's URL."""
    if source:
        raise LookupError(f"primes has one repository only: leave out --source={source}")
    here = Path(__file__).resolve().parents[2]
    return os.environ.get("BUILDTOOL_EXAMPLES", str(here / "var" / "examples")) + "/cmake.git"


project = Project(
    name="primes",
    description="a CMake project: primes up to a number",
    options=ProjectOptions(system=_SYSTEM, compile=_COMPILE),
    recipe=Recipe(version=1, plan=_plan, machine={"memory": 256, "disk": 128, "tools": ("cmake", "gcc", "make")}),
    path_to_url=_path_to_url,
    time_limit=600,
    silence_limit=300,
)
