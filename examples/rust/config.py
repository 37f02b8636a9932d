"""A Rust crate with vendored dependencies on the farm: nothing is fetched while it is built.

Its sources are in source/ beside this file; `examples/make_repositories.py` makes a repository of them. vendor/ there
is what `cargo vendor` brings: here one crate, fnv 1.0.7, as Debian's librust-fnv-dev has it.
"""

import os
from pathlib import Path

from buildtool.project import (
    Command,
    Plan,
    Project,
    ProjectOptions,
    Recipe,
    ToolMissing,
    Wanted,
    choice,
    flag,
    standard,
)

_SYSTEM = standard(
    "os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level", "memory", "cpus", "disk", "tools"
)

_COMPILE = (
    flag("decimal", help="print hashes as decimal numbers"),
    choice("optimize", ["3", "2", "s"], help="optimisation level of the compiler"),
)

# The crates in vendor/ stand for those of crates.io.
_VENDORED = [
    "--config", 'source.crates-io.replace-with="vendored"', "--config", 'source.vendored.directory="vendor"',
]  # fmt: skip


def _plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted."""
    if wanted.kind == "cross":  # rustc has no library of other platforms here: declined, which is no failure
        raise ToolMissing("this recipe builds for the machine's own platform only")
    words = ["cargo", "build", "--release", "--offline", "--locked", f"-j{wanted.cpus}", *_VENDORED]
    words += ["--features", "decimal"] if wanted.options["decimal"] else []
    return Plan(
        commands=[
            Command(words, name="build"),
            Command(["sh", "-c", "echo hello | target/release/hashline"], name="self-check"),
        ],
        environment={
            # Neither the directory of the build nor symbols that name one may get into the program.
            "RUSTFLAGS": f"--remap-path-prefix={wanted.source}=. -Cstrip=symbols",
            "CARGO_PROFILE_RELEASE_OPT_LEVEL": str(wanted.options["optimize"]),
        },
        deliverables=["target/release/hashline"],
        machine_faults=[r"No space left on device", r"[Cc]annot allocate memory"],
    )


def _path_to_url(source: str) -> str:
    """Return the repository's URL."""
    if source:
        raise LookupError(f"hashline has one repository only: leave out --source={source}")
    here = Path(__file__).resolve().parents[2]
    return os.environ.get("BUILDTOOL_EXAMPLES", str(here / "var" / "examples")) + "/rust.git"


project = Project(
    name="hashline",
    description="a Rust crate with vendored dependencies: hashes of lines",
    options=ProjectOptions(system=_SYSTEM, compile=_COMPILE),
    recipe=Recipe(version=1, plan=_plan, machine={"memory": 512, "disk": 512, "tools": ("cargo", "rustc", "cc")}),
    path_to_url=_path_to_url,
    time_limit=600,
    silence_limit=300,
)
