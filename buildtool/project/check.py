"""Whether a Project that a configuration file made is one: the types of its parts, and what it asks of machines."""

from __future__ import annotations

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import DETECTORS, STANDARD, Role, nearest
from buildtool.model.text import quoted
from buildtool.project.channels import checked_channels
from buildtool.project.definition import Project
from buildtool.project.recipe import Recipe
from buildtool.project.triggers import checked_triggers

MOST_REPEATS = 9
"""The most times that a project may want a failure repeated."""


def check_types(project: Project) -> None:
    """Raise ConfigurationError for a Project whose parts are not of the types that they should be."""

    def wrong(what: str, value: object, right: str) -> ConfigurationError:
        return ConfigurationError(f"project {project.name}: {what} = {quoted(value)} is not {right}")

    if not isinstance(project.options, ProjectOptions):
        raise wrong("options", project.options, "ProjectOptions(system=..., compile=...)")
    recipe = project.recipe
    if not isinstance(recipe, Recipe) or not callable(recipe.plan):
        raise wrong("recipe", recipe, "Recipe(version, plan)")
    if isinstance(recipe.version, bool) or not isinstance(recipe.version, int) or recipe.version < 1:
        raise wrong("recipe version", recipe.version, "a whole number from 1")
    for what, function in (
        ("path_to_url", project.path_to_url),
        *(("client_checkers", c) for c in project.client_checkers),
    ):
        if not callable(function):
            raise wrong(what, function, "a function")
    for what in ("failure_ttl", "request_ttl", "time_limit", "silence_limit", "artifact_limit", "log_limit"):
        number = getattr(project, what)
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 2**62:
            raise wrong(what, number, "a number above 0")
    if isinstance(project.confirm_failures, bool) or project.confirm_failures not in range(MOST_REPEATS + 1):
        raise wrong("confirm_failures", project.confirm_failures, f"a whole number from 0 to {MOST_REPEATS}")
    project.scheduling()
    checked_triggers(project.name, project.triggers, project.options)
    checked_channels(project.name, project.channels, project.options)
    _check_machine(project)


def _check_machine(project: Project) -> None:
    """Refuse what no build server will ever announce: builds would wait for it until they expire."""
    for item in project.options.system:
        if item.detector not in DETECTORS:
            known = nearest(item.detector, sorted(DETECTORS))
            named = f"property {item.name} names the detector {item.detector!r}"
            raise ConfigurationError(f"project {project.name}: {named}, which there is not{known}")
    described = {item.name: item for item in (*STANDARD.values(), *project.options.system)}
    machines = {name: item for name, item in described.items() if item.role is Role.MACHINE}
    for name, value in project.recipe.machine.items():
        if name not in machines:
            what = "is a property of binaries" if name in described else "is unknown"
            known = nearest(str(name), machines)
            raise ConfigurationError(f"project {project.name}: recipe machine={{{quoted(name)}: ...}} {what}{known}")
        try:
            machines[name].option.check(value)
        except UsageError as error:
            said = str(error).removeprefix(f"{machines[name].option.flag}: ")
            raise ConfigurationError(
                f"project {project.name}: recipe machine={{{quoted(name)}: ...}}: {said}"
            ) from error
