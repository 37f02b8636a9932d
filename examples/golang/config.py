"""A Go program on the farm: Go is its own cross compiler, and needs no C compiler, so every machine builds for all.

Its sources are in source/ beside this file; `examples/make_repositories.py` makes a repository of them.
"""

import os
from pathlib import Path

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, ToolMissing, Wanted, number, standard

# A static program has no C library, so that is no property of it.
_SYSTEM = standard("os", "arch", "bits", "byteorder", "memory", "cpus", "disk", "tools")

_COMPILE = (number("limit", default=10, minimum=1, maximum=1000, help="how many words are shown"),)

# What Go calls the architectures that the farm knows.
_ARCHES = {
    "x86_64": "amd64",
    "x86": "386",
    "aarch64": "arm64",
    "ppc64": "ppc64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}


def _plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted."""
    arch = _ARCHES.get(str(wanted.platform.get("arch")))
    if arch is None:
        raise ToolMissing("go does not build for that architecture")
    # -trimpath and an empty build id: neither the directory nor anything of the machine gets into the program.
    flags = f"-ldflags=-s -w -buildid= -X main.limit={wanted.options['limit']}"
    build = ["go", "build", "-trimpath", "-buildvcs=false", flags, f"-p={wanted.cpus}", "-o", "wordcount", "."]
    return Plan(
        commands=[Command(build, name="build")],
        environment={
            "GOOS": str(wanted.platform.get("os")),
            "GOARCH": arch,
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=mod",
            "GOPROXY": "off",  # nothing is fetched: a build server needs no network for it
            "GOTOOLCHAIN": "local",
        },
        deliverables=["wordcount"],
        machine_faults=[r"no space left on device", r"cannot allocate memory"],
    )


def _path_to_url(source: str) -> str:
    """Return the repository's URL."""
    if source:
        raise LookupError(f"wordcount has one repository only: leave out --source={source}")
    here = Path(__file__).resolve().parents[2]
    return os.environ.get("BUILDTOOL_EXAMPLES", str(here / "var" / "examples")) + "/golang.git"


project = Project(
    name="wordcount",
    description="a Go program: which words are most frequent",
    options=ProjectOptions(system=_SYSTEM, compile=_COMPILE),
    recipe=Recipe(version=1, plan=_plan, machine={"memory": 512, "disk": 512, "tools": ("go",)}),
    path_to_url=_path_to_url,
    time_limit=600,
    silence_limit=300,
)
