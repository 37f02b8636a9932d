"""``bin/buildserver.py add-toolchain zig``: installs a compiler for nearly every platform, and says which.

Tested by tests/programs/buildserver/zig/test_adding.py.
"""

from __future__ import annotations

import argparse
import json
import os

from buildtool.adapters.host.zig.finding import find_zig, installed_at
from buildtool.adapters.host.zig.installing import install, pinned_versions
from buildtool.errors import ConfigurationError, UsageError
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.output import complain, say
from buildtool.programs.common.subcommands import Subcommand

TOOLCHAINS = ("zig",)


def add_toolchain(said: argparse.Namespace) -> int:
    """Install a toolchain into the build directory, unless it is there. Raises UsageError, ConfigurationError."""
    if said.target not in TOOLCHAINS:
        raise UsageError(f"there is no toolchain {said.target[:40]!r} to add; there is {', '.join(TOOLCHAINS)}")
    build_dir = settings_of(said, secrets=False).build_dir
    new = install(build_dir, complain)
    zig = find_zig(build_dir, os.defpath)
    if zig is None or zig.path.parents[1] != installed_at(build_dir).resolve():
        raise ConfigurationError(
            f"ziglang {pinned_versions()['ziglang']} in {installed_at(build_dir)} does not run on this machine"
        )
    by_libc: dict[str, list[str]] = {}
    for target in zig.known.targets:
        by_libc.setdefault(target.libc, []).append(target.arch)
    if said.json:
        told = {
            "path": str(zig.path),
            "version": zig.version,
            "new": new,
            "platforms": by_libc,
            "glibc": zig.known.glibc,
        }
        say(json.dumps(told, sort_keys=True))
        return EXIT_OK
    say(f"zig {zig.version} {'is installed' if new else 'was there already'}: {zig.path}")
    for libc, arches in by_libc.items():
        versions = f" {zig.known.glibc[0]} to {zig.known.glibc[-1]}" if libc == "glibc" else ""
        say(f"  {libc}{versions}: {', '.join(sorted(arches))}")
    say(
        "A build server that is started now tries each of them once, beside its builds, and offers those that work; "
        "--platforms chooses."
    )
    return EXIT_OK


ADD_COMMAND: Subcommand[int] = Subcommand(
    "add-toolchain", "install a compiler for nearly every platform into the build directory, without root",
    "add-toolchain zig", add_toolchain, "NAME", options=("--json",),
)  # fmt: skip
