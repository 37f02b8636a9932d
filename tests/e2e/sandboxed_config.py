"""The deployment of test_sandboxed.py: builds that fetch, swell, or wait for a file that they may see."""

import os

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, choice, standard

state_dir = "var/metaserver"
build_dir = "var/buildserver"

_NAMED, _OTHER = os.environ["E2E_NAMED"], os.environ["E2E_OTHER"]


def _plan(wanted: Wanted) -> Plan:
    what = str(wanted.options["what"])
    fetches = what == "fetch"
    return Plan(
        commands=[Command(["sh", f"{what}.sh"], name="build")],
        environment={"CONTROL": os.environ["E2E_CONTROL"], "NAMED": _NAMED, "OTHER": _OTHER},
        fetch=[Command(["sh", "get.sh"], name="get")] if fetches else [],
        network=[f"localhost:{_NAMED}"] if fetches else [],
        deliverables=["made"],
    )


projects = [
    Project(
        name="boxed",
        options=ProjectOptions(
            standard("os", "arch", "bits", "byteorder", "libc"), (choice("what", ["fetch", "swell", "wait"]),)
        ),
        recipe=Recipe(version=1, plan=_plan),
        path_to_url=lambda _: os.environ["E2E_REPOSITORY"],
    )
]
