"""The command line that asks for what a build makes.

Pure.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.model.project_options import ProjectOptions
from buildtool.model.records import BuildSpec

from ..asking import wish


def command(spec: BuildSpec, options: ProjectOptions, email: str) -> str:
    """Return the command line; ``email`` is who is told. "" where the project has no such options any more.

    The whole platform is said, since what is not is taken from the machine that it runs on.
    """
    if not {*dict(spec.platform), *dict(spec.options)} <= {option.name for option in options.all()}:
        return ""
    fields = wish.fields_of_build(spec.project, spec.source, spec.revision, spec.options, spec.platform, options)
    asked = evolve(wish.read_wish(spec.project, options, fields), native=spec.native, sandbox=spec.policy.sandbox)
    (line,) = wish.command(asked, options, email).lines
    return line
