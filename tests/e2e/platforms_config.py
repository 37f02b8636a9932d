"""The deployment of test_one_platform.py and test_measured.py: projects that one command compiles for the platform."""

import os

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, standard

state_dir = "var/metaserver"
build_dir = "var/buildserver"


def _plan(wanted: Wanted) -> Plan:
    words = [wanted.tools["CC"], "-O2", "-o", "counter", "counter.c"]
    return Plan(commands=[Command(words, name="build")], deliverables=["counter"])


def _library(wanted: Wanted) -> Plan:
    words = [wanted.tools["CC"], "-O2", "-fPIC", "-shared", "-o", "greet.so", "greet.c"]
    return Plan(commands=[Command(words, name="build")], deliverables=["greet.so", "prebuilt"])


projects = [
    Project(
        name=name,
        options=ProjectOptions(standard("os", "arch", "bits", "byteorder", "libc", "libc_version"), ()),
        recipe=Recipe(version=1, plan=plan, machine={"tools": ("gcc",)}),
        path_to_url=lambda _: os.environ["E2E_REPOSITORY"],
    )
    for name, plan in (("counter", _plan), ("library", _library))
]
