"""The deployment of recorded releases, which each release has to understand: a project that is built in no time."""

import os
from pathlib import Path

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, choice, standard

_ORIGIN = "git://127.83.71.2/greeter.git"
"""Where the sources are, whenever and wherever: what is recorded names it."""

_FOR_EVER = 3e9


def _plan(wanted: Wanted) -> Plan:
    place = {"CONTROL": os.environ["RELEASE_CONTROL"], "SERVER": os.environ.get("RELEASE_SERVER", "")}
    return Plan(
        commands=[Command(["sh", "build.sh", str(wanted.options["greeting"])], name="build")],
        environment=place,
        deliverables=["program"],
    )


state_dir = str(Path(os.environ["RELEASE_CONTROL"]) / "metaserver")
build_dir = str(Path(os.environ["RELEASE_CONTROL"]) / "buildserver")

projects = [
    Project(
        name="greeter",
        options=ProjectOptions(
            standard("os"), (choice("greeting", ["built", "failed", "spooled", "lost", "queued"], help="what it says"),)
        ),
        recipe=Recipe(version=1, plan=_plan),
        path_to_url=lambda _source: _ORIGIN,
        failure_ttl=_FOR_EVER,
        request_ttl=_FOR_EVER,
        policy={"lost_ttl": 0.2, "retry_first": 0.2},
    )
]
