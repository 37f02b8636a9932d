"""The deployment that is measured: one project whose builds do next to nothing, as small as a real one can be.

A build checks out a tree, runs one process, which says the time it began, and delivers one file of 64 KiB.
"""

import os

from buildtool.project import (
    Checked,
    Command,
    Plan,
    Project,
    ProjectOptions,
    Recipe,
    Wanted,
    number,
    standard,
)

state_dir = "var/metaserver"
build_dir = "var/buildserver"

if os.environ.get("BUILDTOOL_TRUSTED") == "nobody":
    # Everything is counted, as on any farm with keys, but what a benchmark asks for in a minute is no reason to refuse.
    _plenty = (10**9, 10**9, 10**9)
    limits = {
        "requests_an_hour": _plenty,
        "open_requests": _plenty,
        "stored_gib_a_day": _plenty,
        "connections": _plenty,
        "handshakes_a_minute": _plenty,
    }


def _plan(wanted: Wanted) -> Plan:
    return Plan(commands=[Command(["date", "+began %s%N"], name="noop")], deliverables=["payload"])


def _enough_disk(checked: Checked) -> str | None:
    free = checked.machine.get("disk")
    return f"only {free} MiB of disk are free" if isinstance(free, int) and free < 64 else None


def _url(source: str) -> str:
    if source:
        raise LookupError("there is only the default source")
    return os.environ["BENCH_REPOSITORY"]


projects = [
    Project(
        name="noop",
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
            (number("number", default=0, minimum=0, maximum=10**9, help="makes one build differ from another"),),
        ),
        recipe=Recipe(version=1, plan=_plan, machine={"memory": 64, "disk": 64}),
        path_to_url=_url,
        client_checkers=[_enough_disk],
    )
]
