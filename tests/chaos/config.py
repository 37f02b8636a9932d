"""The deployment of the chaos: one project, compiled by a real compiler, quick, and unpleasant in a few ways.

What a build is like stands in its sources (``sources.py``): how long it rests, how large its artifact is, whether it
leaves processes behind, and one variant that does not compile. A farm forgets and forgives quickly here, so that
some minutes hold what takes days elsewhere.
"""

import os

from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, number, standard

state_dir = "var/metaserver"
build_dir = "var/buildserver"
lease = int(os.environ["CHAOS_LEASE"])
limits = {"handshakes_a_minute": (None, 100_000, 100_000)}  # everybody comes from this machine
mail = {"host": "127.0.0.1", "sender": "chaos@localhost", "per_address": 1_000_000, "per_asker": 1_000_000}


def _plan(wanted: Wanted) -> Plan:
    return Plan(
        commands=[
            Command(["sh", "build.sh", "compile", str(wanted.options["variant"])], name="compile"),
            Command(["sh", "build.sh", "make", str(wanted.options["variant"])], name="make"),
        ],
        deliverables=["about", "payload"],
    )


def _url(source: str) -> str:
    if source:
        raise LookupError("there is only the default source")
    return os.environ["CHAOS_REPOSITORY"]


projects = [
    Project(
        name="chaos",
        options=ProjectOptions(
            standard(
                "os",
                "arch",
                "bits",
                "byteorder",
                "libc",
                "libc_version",
                "cpu_level",
                "memory",
                "cpus",
                "disk",
                "tools",
            ),
            (number("variant", default=0, minimum=0, maximum=99, help="which of the programs is made"),),
        ),
        recipe=Recipe(version=1, plan=_plan, machine={"tools": ("gcc",)}),
        path_to_url=_url,
        policy={
            "lost_ttl": 0.5,
            "refusal_first": 0.5,
            "refusal_ttl": 3.0,
            "retry_first": 0.2,
            "retry_most": 3.0,
            "quarantine_first": 1.0,
            "quarantine_most": 4.0,
        },
    )
]
