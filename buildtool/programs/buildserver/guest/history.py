"""``history``: what this machine did for whom, told by the build server that runs, or by what it left.

Covered by tests/programs/buildserver/guest/test_history.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.storage.history.work_book import read_history
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.errors import NotRunning, UsageError
from buildtool.model.guest.history import (
    EARLIER,
    WorkHistory,
    first_month,
    lines,
    month_said,
    of_plain,
    told,
)
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.guest.desk import history_answer
from buildtool.programs.buildserver.guest.local_socket import ask_server
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.output import say
from buildtool.programs.common.subcommands import How, Subcommand, number, valued

HISTORY_OPTIONS: Mapping[str, How] = {
    "--since": valued("only from this month on, such as 2026-11", "MONTH", month_said),
    "--months": valued("only so many months, the running one included", "N", number(1, 1200)),
}
"""What ``add_argument`` takes for each."""


def _history(said: argparse.Namespace) -> int:
    if said.since is not None and said.months is not None:
        raise UsageError("--since and --months say the same in two ways: say one of them")
    settings = settings_of(said, secrets=False)
    store = CredentialStore(settings.build_dir / "identity")
    place = Start.of(settings, said, store, store.load()).place()
    since = said.since or (EARLIER if said.months is None else first_month(WallClock().wall(), said.months))
    answer = _answer(place)
    history = _decoded(answer).since(since)
    damaged = str(answer.get("damaged", ""))
    if said.json:
        rows = [told(work, key) for key, work in sorted(history.rows.items())]
        about = {"name": place.top.name, "since": since, "damaged": damaged}
        say(json.dumps({**about, "rows": rows, "total": told(history.total())}))
    else:
        say("\n".join([*lines(history), *([damaged] if damaged else [])]))
    return EXIT_OK


def _answer(place: BuildDirectory) -> Mapping[str, object]:
    """Return what the build server that runs answers, or what stands in its directory. Blocks.

    Raises UsageError, StorageUnavailable.
    """
    try:
        return ask_server(place.top, {"act": "history"})
    except NotRunning:
        if not place.top.is_dir():
            raise UsageError(f"{place.top}: no build server of this name has worked here (--name says which)") from None
    found = read_history(place.history)
    return history_answer(place.top.name, found.history, found.words(place.history))


def _decoded(answer: Mapping[str, Any]) -> WorkHistory:
    history = WorkHistory()
    try:
        for row in answer["rows"]:
            history.add(*of_plain(row))
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("the build server that runs is of another version: start it anew") from error
    return history


HISTORY_COMMAND: Subcommand[int] = Subcommand(
    "history", "say what this machine did, by farm, month and project: builds, processor hours and bytes",
    "history --name attic --months 12", _history, options=("--name", "--json", *HISTORY_OPTIONS),
)  # fmt: skip
"""It needs no build server that runs, and no farm."""
