"""Checks a start of the build server before it, and says what set each value that is not the default.

Covered by tests/e2e/test_settings_file.py.
"""

from __future__ import annotations

import argparse
import json

from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.given.settings_of import origin_lines, origin_objects, origins, settings_of
from buildtool.programs.common.output import say


def check_config(said: argparse.Namespace) -> int:
    """Print what set each value that is not the default, where nothing is wrong. Raises BuildToolError."""
    check_start(said)
    settings = settings_of(said, secrets=False)
    found = origins(said, settings)
    if said.json:
        say(json.dumps({"configuration": str(settings.path), "set": origin_objects(found)}))
    else:
        say("\n".join([f"configuration   {settings.path}", *origin_lines(found)]))
    return EXIT_OK


def check_start(said: argparse.Namespace) -> None:
    """Raise BuildToolError for a start that would be refused before this machine is looked at."""
    settings = settings_of(said, secrets=False)
    store = CredentialStore(settings.build_dir / "identity")
    start = Start.of(settings, said, store, store.load())
    start.name()
    start.addresses()
    start.secrets()
