"""A project's configuration as it is written for somebody who begins: commented, checked, and theirs to change."""

from __future__ import annotations

import shlex

from buildtool.project.drafting.recipe_parts import PARTS
from buildtool.project.drafting.sources import SourcesLook

_PLATFORM = '"os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level", '
_MACHINE = '"memory", "cpus", "disk", "tools"'

_WHERE = {
    True: """\
# For which platform a binary is (the first seven), and what a machine needs to build it.
_SYSTEM = standard(
    {platform}{machine}
)
""",
    False: """\
# What is made runs anywhere, so there is nothing of a platform here: one artifact serves everybody. A requester may say
# what the machine needs that builds it.
_SYSTEM = standard({machine})
""",
}

_DRAFT = '''\
"""{title} on the farm.

`bin/buildserver.py new-project` wrote this from a look at {where}.
It is yours to change; docs/integrator.rst explains all of it. Next:

    bin/metaserver check-config --config {path}
    bin/buildserver.py try {name} --config {path} --source {where}

A farm's own config.py takes it in with projects = [load({config})]. Names of your own begin with an underscore.
"""

{imports}

# --- options --------------------------------------------------------------------------------------------

{system}
# What changes the binary: two requests that differ here never share an artifact. Each becomes a flag of
# startcompile.py. There are choice, flag, number, text, words, and group.
_COMPILE = (
{options})

# --- recipe ---------------------------------------------------------------------------------------------


def _plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted. It must do nothing but answer: no files, no clock, no environment."""
{plan}

_RECIPE = Recipe(
    version=1,  # raise it whenever the same inputs would give another binary
    plan=_plan,
    machine={{"memory": 512, "disk": 512, "tools": {tools!r}}},
)

# --- where the sources are ------------------------------------------------------------------------------


def _path_to_url(source: str) -> str:
    """Return the repository's URL: it must work from the metaserver and from every build server."""
    if source:
        raise LookupError(f"{name} has one repository only: leave out --source={{source}}")
    return {url!r}


# --- the project ----------------------------------------------------------------------------------------

projects = [
    Project(
        name={name!r},
        description={description!r},
        options=ProjectOptions(system=_SYSTEM, compile=_COMPILE),
        recipe=_RECIPE,
        path_to_url=_path_to_url,
        time_limit=3600,  # seconds for all commands of a build together
        silence_limit=600,  # seconds for which a command may print nothing
    )
]
'''


def draft(look: SourcesLook, *, name: str, where: str, path: str, url: str) -> str:
    """Return a configuration for sources in the directory ``where``, to be kept as ``path``.

    ``url`` is the repository's.
    """
    part = PARTS[look.system](look, name)
    names = ["Command", "Plan", "Project", "ProjectOptions", "Recipe", "Wanted"]
    names += ["ToolMissing"] if part.declines else []
    names += [word for word in ("choice", "flag") if f"    {word}(" in part.options]
    names += ["standard"]
    imports = f"from buildtool.project import {', '.join(sorted(names, key=_order))}"
    system = _WHERE[part.for_platform].format(platform=_PLATFORM, machine=_MACHINE)
    return _DRAFT.format(
        title=name, name=name, where=_typed(where), path=_typed(path), config=_inside(repr(path)), url=url,
        description=f"{name}, by {look.system}", imports=("import shlex\n\n" if part.quotes else "") + imports,
        system=system, options=part.options, plan=part.plan, tools=part.tools,
    )  # fmt: skip


def _typed(path: str) -> str:
    """Return a path as one types it, in a docstring."""
    return _inside(shlex.quote(path))


def _inside(text: str) -> str:
    """Return a text as it may stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _order(name: str) -> tuple[bool, str]:
    return name[0].islower(), name
