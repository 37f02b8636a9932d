"""The options that choose many builds or requests at once, for command lines.

Tested by tests/programs/operating/test_several.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from buildtool.errors import UsageError
from buildtool.model.addresses import valid_address
from buildtool.programs.common.subcommands import How, Several, switch, valued

CHOOSING: Mapping[str, How] = {
    "--project": valued("of this project only; may be repeated", "NAME", action=Several),
    "--platform": valued("of this platform only, such as ppc or linux-ppc; may be repeated", "NAME", action=Several),
    "--person": valued(
        "of whoever has this e-mail address only; may be repeated", "ADDRESS", valid_address, action=Several
    ),
    "--yes": switch("end them without asking, as where nobody is at a terminal"),
    "--dry-run": switch("say how many there are, and end nothing"),
}
"""The options of what ends many things at once."""


def check_alone(said: argparse.Namespace, one: str) -> None:
    """Raise UsageError where one thing is named, and many as well."""
    several = isinstance(said.project, tuple)  # else it says whose configuration is meant, as everywhere
    for flag, value in (("--project", several), ("--platform", said.platform), ("--person", said.person)):
        if value:
            raise UsageError(f"{one} names one thing and {flag} many: choose one")
