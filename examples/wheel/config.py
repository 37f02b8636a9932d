"""A Python wheel on the farm: it runs anywhere, so there is no platform, and one artifact serves everybody.

Its sources are in source/ beside this file; `examples/make_repositories.py` makes a repository of them.
"""

import os
from pathlib import Path

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, standard

# No property of a platform: only what the machine needs that builds it.
_SYSTEM = standard("memory", "cpus", "disk", "tools")

# The backend is called as pip would call it, and nothing is fetched: Debian's python3-setuptools and python3-wheel.
_WHEEL = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
_CHECK = (
    "import glob, sys; sys.path[:0] = glob.glob('dist/*.whl'); import inkwell; assert inkwell.roman(1994) == 'MCMXCIV'"
)


def _plan(_wanted: Wanted) -> Plan:
    """Answer how to build what is wanted."""
    return Plan(
        commands=[
            Command(["mkdir", "dist"], name="place"),
            Command(["python3", "-c", _WHEEL], name="wheel"),
            Command(["python3", "-c", _CHECK, "1994"], name="self-check"),
        ],
        environment={"PYTHONHASHSEED": "0"},
        # The wheel's name says the version, so the directory is named.
        deliverables=["dist"],
        machine_faults=[r"No module named 'setuptools'", r"invalid command 'bdist_wheel'", r"No space left on device"],
    )


def _path_to_url(source: str) -> str:
    """Return the repository's URL."""
    if source:
        raise LookupError(f"inkwell has one repository only: leave out --source={source}")
    here = Path(__file__).resolve().parents[2]
    return os.environ.get("BUILDTOOL_EXAMPLES", str(here / "var" / "examples")) + "/wheel.git"


project = Project(
    name="inkwell",
    description="a Python wheel: Roman numerals",
    options=ProjectOptions(system=_SYSTEM, compile=()),
    recipe=Recipe(version=1, plan=_plan, machine={"memory": 128, "disk": 64, "tools": ("python3",)}),
    path_to_url=_path_to_url,
    time_limit=300,
    silence_limit=120,
)
