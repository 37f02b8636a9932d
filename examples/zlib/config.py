"""zlib on the farm: the library, its headers and `minigzip`, for every platform that a build server has a compiler for.

The sources come from `examples/import_sources.py zlib`, one tag for each release; testproject/config.py explains what
can stand in such a file at all. `make demo-platforms` builds this, Lua and the testproject for a dozen platforms.
"""

import os
import shlex
from pathlib import Path

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, choice, standard

HERE = Path(__file__).resolve().parent

# --- options --------------------------------------------------------------------------------------------

SYSTEM = standard(
    "os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level", "memory", "cpus", "disk", "tools"
)
COMPILE = (choice("optimize", ["2", "3", "s", "0"], help="optimisation level of the compiler"),)

# --- recipe ---------------------------------------------------------------------------------------------

_SUFFIXES = {"windows": ".exe", "wasi": ".wasm"}

# What zlib's configure finds out of each system but Windows, and writes into the header that goes out with the library.
_UNISTD = "s|^#ifdef HAVE_UNISTD_H .*|#if 1|"


def plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted: by the makefile that configure would only fill in."""
    tools, system = wanted.tools, str(wanted.platform.get("os"))
    suffix = _SUFFIXES.get(system, "")
    linked = [f"-O{wanted.options['optimize']}"]
    if system == "windows" and tools.get("CC_VERSION", "").startswith("gcc-"):
        linked.append(
            "-Wl,--no-insert-timestamp"
        )  # GNU's linker puts the time into such a program unless it is told not to
    cflags = [*linked[:1], "-Wall", shlex.quote(f"-ffile-prefix-map={wanted.source}=.")]
    if system == "darwin":
        cflags.append("-Dfdopen=fdopen")  # or zlib takes this for the macOS of before 2001, which had none
    variables = [
        f"CC={tools.get('CC', 'cc')}",
        f"CFLAGS={' '.join(cflags)}",
        f"LDFLAGS={' '.join(linked)}",
        f"AR={tools.get('AR', 'ar')}",
        # GNU's ar: D leaves out times and owners, which would make every library another one.
        f"ARFLAGS={'rc' if system == 'darwin' else 'rcD'}",
        f"RANLIB={tools.get('RANLIB', 'ranlib')}{'' if system == 'darwin' else ' -D'}",
        f"EXE={suffix}",
    ]
    commands = []
    if system != "windows":
        commands += [
            Command(["sed", "-i.orig", "-e", _UNISTD, "zconf.h"], name="header"),
            # sed is content when it finds nothing to change.
            Command(["grep", "-q", "^#if 1$", "zconf.h"], name="header: check"),
        ]
    commands.append(Command(["make", "-f", "Makefile.in", f"-j{wanted.cpus}", "static", *variables], name="build"))
    if system in {"linux", "windows"} and "STRIP" in tools:
        commands.append(Command([*shlex.split(tools["STRIP"]), f"minigzip{suffix}"], name="strip"))
    if wanted.can_run:
        # zlib's own test, which ends with an error where anything comes back otherwise than it went in.
        commands.append(Command([*wanted.emulator, f"./example{suffix}", "check.gz"], name="self-check"))
    return Plan(
        commands=commands,
        environment={"LC_ALL": "C"},
        deliverables=["libz.a", "zlib.h", "zconf.h", f"minigzip{suffix}", "README", "LICENSE"],
        machine_faults=[
            r"No space left on device",
            r"[Cc]annot allocate memory",
            r"virtual memory exhausted",
            r"Killed signal terminated program",
            r"qemu-\S+: Could not open",
        ],
    )


RECIPE = Recipe(
    version=1,
    plan=plan,
    machine={"memory": 64, "disk": 64, "tools": ("gcc", "make")},
    packages={
        "gcc": {"debian": "gcc libc6-dev", "fedora": "gcc", "homebrew": "gcc"},
        "make": {"debian": "make", "fedora": "make", "homebrew": "make"},
    },
)

# --- where the sources are ------------------------------------------------------------------------------

# Where import_sources.py puts them when it is not told otherwise.
_REPOSITORY = os.environ.get("BUILDTOOL_ZLIB_REPOSITORY") or str(HERE.parent.parent / "var" / "zlib.git")


def path_to_url(source: str) -> str:
    """Return the repository's URL."""
    if source:
        raise LookupError(f"zlib has one repository only: leave out --source={source}")
    return _REPOSITORY


# --- the project ----------------------------------------------------------------------------------------

project = Project(
    name="zlib",
    description="zlib 1.2: the library, and minigzip",
    options=ProjectOptions(system=SYSTEM, compile=COMPILE),
    recipe=RECIPE,
    path_to_url=path_to_url,
    confirm_failures=1,
    time_limit=300,
    silence_limit=120,
)
