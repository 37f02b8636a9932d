"""The options of ``bin/buildserver.py``: said on its command line, or else in the owner's file, or else the default.

Covered by tests/programs/buildserver/test_owner_file.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from buildtool.adapters.control.build_server_link import KEEPALIVE
from buildtool.adapters.processes.command import UMASK
from buildtool.programs.buildserver.builds.tool_names import tool_names
from buildtool.programs.buildserver.builds.umask import umask
from buildtool.programs.buildserver.following.choice import FOLLOW_DEFAULTS, FOLLOW_OPTIONS
from buildtool.programs.buildserver.sandbox_choice import directories, project_names, sandbox_choice
from buildtool.programs.buildserver.secret_files import secret_files
from buildtool.programs.common.subcommands import REACHING, How, number, switch, valued

MOST_BUILDS = 64
MOST_CPUS = 4_096

ADDRESSES = "addresses"
"""The setting of the owner's file that says where the metaserver is."""

OPTIONS: Mapping[str, How] = {
    "--name": valued("what the farm knows this machine as (default: its host name)"),
    "--max-builds": valued("builds at once (default 1)", "N", number(1, MOST_BUILDS)),
    "--platforms": valued(
        "offer only these, such as native,ppc: kinds (native, cross, emulated), architectures or triples", "NAMES"
    ),
    "--no-cross": {**switch("look for no cross compilers", "cross"), "default": None},
    "--toolchains": valued("a TOML file of toolchains that are not found by themselves", "FILE", Path),
    **REACHING,
    "--join": valued(
        "join a farm with the line of an invitation, then serve: the line, a file with it, or - for standard input "
        "(default: $BUILDTOOL_JOIN)", "LINE",
    ),
    "--time-limit": valued("seconds that one build may take here (default: no limit)", "S", number(1, 10**7)),
    "--secret-files": valued("mask the values in these files in the logs of builds", "FILES", secret_files),
    "--sandbox": valued(
        "the least sandbox that builds run in: strict, weak, none (without any), or best, which is whatever this "
        "machine has (default: strict on a machine that has joined a farm, else best)", "LEVEL", sandbox_choice,
    ),
    "--readable": valued(
        "directories that builds may read in their sandbox beside the system's, such as /opt/cross,/opt/jdk", "DIRS",
        directories,
    ),
    "--allow-network": valued(
        "projects whose recipes may speak to the hosts that they name, while they fetch", "PROJECTS", project_names
    ),
    "--umask": valued("octal rights that what builds make lacks, such as 027 or 0o77 (default 022)", "OCTAL", umask),
    "--numcpus": valued(
        "processors that this machine says it has and that its builds are told of (default: those that it may use)",
        "N", number(1, MOST_CPUS),
    ),
    "--without": valued(
        "programs that builds are not to find, such as ccache,python3", "TOOLS", tool_names
    ),
    "--delete-leftover-dirs": {
        **switch("delete at the start what is left over of earlier settings, which is named otherwise"), "default": None
    },
    **FOLLOW_OPTIONS,
    "--admin": valued(
        "whom to ask, shown to everybody; an e-mail address is mailed when this machine is missing", "TEXT"
    ),
    "--maxdelay": valued("most seconds between logins (default 300)", "S", number(1, 86400)),
    "--maxretries": valued("end when N logins in a row failed (default: never)", "N", number(1, 10**6)),
    "--max-idle": valued(
        "finish and end when there was nothing to do for S seconds (default: never)", "S", number(1, 10**7)
    ),
    "--keepalive": valued(
        f"seconds between heartbeats, at most a quarter of the lease (default {KEEPALIVE:g})", "S", number(1, 3600)
    ),
}  # fmt: skip
"""What ``add_argument`` takes for each."""

DEFAULTS: Mapping[str, object] = {
    "name": "",
    "max_builds": 1,
    "platforms": None,
    "cross": True,
    "toolchains": None,
    "time_limit": None,
    "secret_files": (),
    "sandbox": None,
    "readable": (),
    "allow_network": (),
    "umask": UMASK,
    "numcpus": None,
    "without": (),
    "delete_leftover_dirs": False,
    **FOLLOW_DEFAULTS,
    "admin": "",
    "maxdelay": 300,
    "maxretries": None,
    "max_idle": None,
    "keepalive": int(KEEPALIVE),
}
"""What holds where neither the command line nor the owner's file says anything; None is no limit, or everything."""


def completed(said: argparse.Namespace, owners: Mapping[str, object]) -> argparse.Namespace:
    """Return what was said on the command line, with what the owner's file and then the defaults say of the rest."""
    spoken = {name: value for name, value in vars(said).items() if value is not None}
    return argparse.Namespace(**{**vars(said), **DEFAULTS, **owners, **spoken})
