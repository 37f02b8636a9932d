"""What an owner types while their build server runs: ``status``, ``pause``, ``resume``, ``reload`` and ``drain``.

Covered by tests/programs/buildserver/guest/test_hosting.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial

from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.programs.buildserver.guest.desk import pause_seconds, status_lines
from buildtool.programs.buildserver.guest.local_socket import ask_server
from buildtool.programs.buildserver.owner_file import SAMPLE_COMMAND
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.output import say
from buildtool.programs.common.subcommands import Subcommand


def _act(act: str, said: argparse.Namespace) -> int:
    settings = settings_of(said, secrets=False)
    store = CredentialStore(settings.build_dir / "identity")
    place = Start.of(settings, said, store, store.load()).place()
    asked = {"act": act, "for": getattr(said, "target", None) or ""}
    answer = ask_server(place.top, asked)
    say(json.dumps(answer) if said.json else "\n".join(status_lines(answer)))
    return EXIT_OK


def pause_words(text: str) -> str:
    """Return for how long a pause is asked for, as it was said. Raises UsageError, whether a build server runs or not.

    A pause belongs to the program that runs: none is kept for the next start, since it would hold back a machine
    whose owner has forgotten it.
    """
    pause_seconds(text)
    return text


def _command(
    act: str, words: str, example: str, argument: str = "", read: Callable[[str], str] = str
) -> Subcommand[int]:
    run: Callable[[argparse.Namespace], int] = partial(_act, act)
    return Subcommand(act, words, example, run, argument, read, options=("--name", "--json"))


OWNER_COMMANDS: tuple[Subcommand[int], ...] = (
    _command("status", "say what a running build server does, and why not", "status --name attic --json"),
    _command("pause", "freeze what builds and take nothing more, for a while such as 2h, or until resume", "pause 2h",
             "[FOR]", pause_words),
    _command("resume", "take builds again after a pause", "resume"),
    _command("reload", "read the owner's settings again", "reload"),
    _command("drain", "finish what builds, deliver it, and end", "drain"),
    SAMPLE_COMMAND,
)  # fmt: skip
"""Each but the last, which needs no build server, answers with how things stand then."""
