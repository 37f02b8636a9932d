"""The deployment of test_one_platform.py: a project that one command compiles with the tools of the platform."""

import os

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, standard

state_dir = "var/metaserver"
build_dir = "var/buildserver"


def _plan(wanted: Wanted) -> Plan:
    words = [wanted.tools["CC"], "-O2", "-o", "counter", "counter.c"]
    return Plan(commands=[Command(words, name="build")], deliverables=["counter"])


projects = [
    Project(
        name="counter",
        options=ProjectOptions(standard("os", "arch", "bits", "byteorder", "libc", "libc_version"), ()),
        recipe=Recipe(version=1, plan=_plan, machine={"tools": ("gcc",)}),
        path_to_url=lambda _: os.environ["E2E_REPOSITORY"],
    )
]
