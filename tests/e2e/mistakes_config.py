"""A deployment of two projects: one that makes every mistake that it is asked for, and one that is well."""

import os
from pathlib import Path

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, choice, flag, standard

_REPOSITORY = Path(os.environ["E2E_REPOSITORY"])

_COMMANDS = {
    "none": "echo made > out",
    "unreadable": "mkdir out; echo made > out/tool; chmod 0111 out/tool",
    "dangling": "mkdir out; ln -s libx.so.1 out/libx.so; echo elsewhere > libx.so.1",
    "pipe": "mkdir out; mkfifo out/pipe",
    "sparse": "mkdir out; truncate -s 1T out/big",
    "long": "mkdir out; truncate -s 200G out/big",
}


def _plan(wanted: Wanted) -> Plan:
    if wanted.options["raises"]:
        return Plan([Command(["make", flags_that_nobody_defined])], ["out"])  # type: ignore[name-defined] # noqa: F821 - the mistake
    return Plan([Command(["sh", "-c", _COMMANDS[str(wanted.options["mistake"])]], name="build")], ["out"])


_SYSTEM = standard("os", "arch", "tools")
_OPTIONS = (choice("mistake", sorted(_COMMANDS), default="none"), flag("raises"))


def _project(name: str, artifact_limit: int) -> Project:
    return Project(
        name,
        ProjectOptions(_SYSTEM, _OPTIONS),
        Recipe(1, _plan),
        lambda source: str(_REPOSITORY),
        artifact_limit=artifact_limit,
        time_limit=600,
    )


projects = [_project("wrong", 10**9), _project("well", 2**50)]
