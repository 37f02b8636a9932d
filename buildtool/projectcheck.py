"""Whether a Project that a configuration file made is one: types at every start, recipes when asked to check."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import PurePath

from buildtool.domain.options import Kind, Option, ProjectOptions
from buildtool.domain.platforms import Value
from buildtool.errors import ConfigurationError
from buildtool.project import Project
from buildtool.recipes import Plan, Recipe, Wanted

MOST_REPEATS = 9
"""The most times that a project may want a failure repeated."""


def check_types(project: Project) -> None:
    """Refuse a Project whose parts are not what they should be, before anything else meets them."""

    def wrong(what: str, value: object, right: str) -> ConfigurationError:
        return ConfigurationError(f"project {project.name}: {what} = {value!r} is not {right}")

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


def check_recipes(projects: Iterable[Project]) -> None:
    """Try every recipe and source mapping once, as ``--check-config`` does. Raises ConfigurationError.

    A recipe must answer the same question twice with the same plan: it is a function, and nothing else.
    """
    for project in projects:
        wanted = sample(project)
        plans = [_tried(project, "recipe", partial(project.recipe.plan, wanted)) for _ in range(2)]
        if not isinstance(plans[0], Plan):
            raise ConfigurationError(f"project {project.name}: its recipe answered {plans[0]!r}, not a Plan")
        if plans[0] != plans[1]:
            raise ConfigurationError(f"project {project.name}: its recipe answers the same question differently")
        url = _tried(project, "path_to_url", partial(project.path_to_url, ""))
        if not isinstance(url, str) or not url:
            raise ConfigurationError(f"project {project.name}: path_to_url('') answered {url!r}, not a URL")


def sample(project: Project) -> Wanted:
    """Return a plausible question for a project's recipe: all defaults, on a common platform."""
    options = {option.name: _some_value(option) for option in project.options.compile}
    return Wanted(
        options=options,
        platform={"os": "linux", "arch": "x86_64", "bits": 64, "byteorder": "little", "libc": "glibc",
                  "libc_version": "2.36", "cpu_level": "x86-64-v1"},
        kind="native",
        tools={"CC": "gcc", "CXX": "g++", "AR": "ar", "STRIP": "strip"},
        source=PurePath("/nowhere/source"),
        revision="0" * 40,
        cpus=2,
    )  # fmt: skip


def _some_value(option: Option) -> Value:
    if option.default is not None:
        return option.default
    match option.kind:
        case Kind.CHOICE:
            return option.choices[0]
        case Kind.BOOL:
            return False
        case Kind.INT:
            return option.minimum if option.minimum is not None else min(0, option.maximum or 0)
        case Kind.SET:
            return ()
        case Kind.STRING:
            return ""


def _tried(project: Project, what: str, call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigurationError(
            f"project {project.name}: its {what} raised {said} ({frame.filename}:{frame.lineno})"
        ) from error
