"""The command line that asks for what a build makes.

Pure.
"""

from __future__ import annotations

import shlex

from buildtool.model.options import Kind, Option, written
from buildtool.model.platforms import Value
from buildtool.model.project_options import ProjectOptions, tool_option
from buildtool.model.records import BuildSpec

PROGRAM = "bin/startcompile.py"


def command(spec: BuildSpec, options: ProjectOptions, email: str) -> str:
    """Return the command line; ``email`` is who is told. "" where the project has no such options any more.

    The whole platform is said, since what is not is taken from the machine that it runs on.
    """
    known = {option.name: option for option in options.all()}
    if not {*dict(spec.platform), *dict(spec.options)} <= set(known):
        return ""
    chosen = [(name, value) for name, value in spec.options if not _same(known[name].default, value)]
    flags = [_flag(known[name], value) for name, value in (*spec.platform, *chosen)]
    tool = [(name, text) for name, text in (("source", spec.source), ("revision", spec.revision)) if text]
    flags = [*(_flag(tool_option(name), text) for name, text in tool), *flags]
    return shlex.join([PROGRAM, f"--project={spec.project}", *flags, *(["--native"] if spec.native else []), email])


def _flag(option: Option, value: Value) -> str:
    if option.kind is Kind.BOOL:
        return option.flag if value else f"--no-{option.flag[2:]}"
    return f"{option.flag}={written(value)}"


def _same(one: Value | None, other: Value) -> bool:
    return type(one) is type(other) and one == other
