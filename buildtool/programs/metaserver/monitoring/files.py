"""``bin/metaserver monitoring``: what Prometheus and Grafana need to watch this farm, written into a directory.

Tested by tests/programs/metaserver/monitoring/test_files.py and tests/e2e/test_monitoring.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from buildtool.adapters.storage.whole_text import replace_text
from buildtool.configuration.settings import Settings
from buildtool.errors import UsageError
from buildtool.model.metrics import alerts, dashboard
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.output import say
from buildtool.programs.common.subcommands import Subcommand

DASHBOARD_FILE, SCRAPE_FILE = "buildtool-dashboard.json", "prometheus.yml"

NEW = ".new"
"""Ends the name of what is written beside a file that is not ours."""

_MARKS: Mapping[str, bytes] = {
    alerts.RULES_FILE: b"# Made by `bin/metaserver monitoring`",
    DASHBOARD_FILE: b'{\n "title": "Build farm",\n "uid": "buildtool",',
}
"""How files begin that are made anew. A ``prometheus.yml`` has what somebody merged into it."""


def _monitoring(said: argparse.Namespace) -> int:
    """Write the files, and say where they are. Raises ConfigurationError, UsageError."""
    if not said.target:
        raise UsageError("monitoring needs the name of a directory, such as /etc/prometheus/buildtool")
    target, settings = Path(said.target), settings_of(said, secrets=False)
    written, lines = [], []
    for name, text in files(settings).items():
        path = target / name
        try:
            kept = _is_kept(path, text)
            place = target / f"{name}{NEW}" if kept else path
            replace_text(place, text)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
        written.append(str(place))
        lines.append(f"{place} ({path} is there and stays: merge this into it)" if kept else str(place))
    say(json.dumps({"files": written}) if said.json else "\n".join(lines))
    return EXIT_OK


def _is_kept(path: Path, text: str) -> bool:
    """Return whether a file is there that is not ours to replace. Raises OSError."""
    if not path.is_file():  # a pipe is not opened: that would wait for somebody to write
        return path.exists()
    with path.open("rb") as stream:
        there = stream.read(len(text.encode()) + 1)
    mark = _MARKS.get(path.name)
    return there != text.encode() and (mark is None or not there.startswith(mark))


def files(settings: Settings) -> Mapping[str, str]:
    """Return the text of each file by its name."""
    place = urlsplit(settings.public_url)
    return {
        SCRAPE_FILE: alerts.scrape(place.scheme, place.netloc, f"{place.path.rstrip('/')}/metrics"),
        alerts.RULES_FILE: alerts.rules(settings.public_url),
        DASHBOARD_FILE: dashboard.dashboard(),
    }


COMMAND = Subcommand(
    "monitoring", "write into DIR what Prometheus and Grafana need to watch this farm: scrape, rules, dashboard",
    "monitoring /etc/prometheus/buildtool", _monitoring, "DIR", options=("--json",),
)  # fmt: skip
