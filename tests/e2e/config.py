"""The deployment of the end-to-end tests: one project whose builds do what the test says through files."""

import json
import os
from pathlib import Path
from typing import Any

from buildtool.model.triggers.trigger import Trigger
from buildtool.project import (
    Checked,
    Command,
    Plan,
    Project,
    ProjectOptions,
    Recipe,
    Wanted,
    channel,
    choice,
    flag,
    gitea_status,
    github_status,
    gitlab_status,
    nightly,
    on_poll,
    on_push,
    on_tag,
    standard,
)
from buildtool.project.triggers import ProjectPoll

_CONTROL = Path(os.environ["E2E_CONTROL"])
_SERVER = os.environ.get("E2E_SERVER", "")

state_dir = "var/metaserver"
build_dir = "var/buildserver"
keep = json.loads(os.environ.get("E2E_KEEP", "{}"))
hook_secrets = {"greeter": os.environ["E2E_HOOKS"].split(":")} if "E2E_HOOKS" in os.environ else {}
lease = int(os.environ.get("E2E_LEASE", "60"))


def _plan(wanted: Wanted) -> Plan:
    return Plan(
        commands=[Command(["sh", "build.sh", str(wanted.options["greeting"])], name="build")],
        environment={"CONTROL": str(_CONTROL), "SERVER": _SERVER, "LOUD": "1" if wanted.options["loud"] else "0"},
        deliverables=["program"],
        machine_faults=["THIS MACHINE IS BROKEN"],
    )


def _refuses(checked: Checked) -> str | None:
    said = _CONTROL / f"refuse-{_SERVER}"
    return said.read_text().strip() if said.exists() else None


def _url(source: str) -> str:
    if source == "nowhere":
        return str(_CONTROL / "no-such-repository.git")
    if source:
        raise LookupError("there is only the default source, and nowhere")
    return os.environ["E2E_REPOSITORY"]


_TRIGGERS: list[Trigger | ProjectPoll] = (
    [
        *([on_poll(None)] if "E2E_HOOKS" in os.environ else []),
        on_push("main", to="ann@example.org", options={"greeting": "hello"}),
        on_tag("v*", options=[{"greeting": "hello"}, {"greeting": "goodbye"}]),
        nightly("03:00 Europe/Berlin", options={"greeting": "goodbye"}),
    ]
    if "E2E_TRIGGERS" in os.environ
    else []
)

# What forges the test has, as NAME=SITE; the token of each lies in a file of its own beside this one.
_FORGES = dict(one.split("=", 1) for one in os.environ.get("E2E_TELL", "").split())
_STATUS: dict[str, Any] = {"github": github_status, "gitlab": gitlab_status, "gitea": gitea_status}

projects = [
    Project(
        name="greeter",
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
            (
                choice("greeting", ["hello", "goodbye"], help="what the program says"),
                flag("loud", help="say it louder", requires={"greeting": "hello"}),
            ),
        ),
        recipe=Recipe(version=1, plan=_plan, machine={"tools": ("gcc",)}),
        path_to_url=_url,
        client_checkers=[_refuses],
        triggers=_TRIGGERS,
        channels=channel("nightly", "feature/one", options={"greeting": "hello"}),
        tell=[
            _STATUS[name]("acme/greeter", base=site, token_file=str(_CONTROL / f"{name}.token"))
            for name, site in _FORGES.items()
        ],
        policy={"lost_ttl": 0.2, "refusal_first": 0.5, "retry_first": 0.2, "refusal_ttl": 5.0},
    )
]
