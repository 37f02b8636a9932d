"""``bin/metaserver monitoring``: what Prometheus and Grafana need to watch this farm, written into a directory.

Tested by tests/e2e/test_monitoring.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from buildtool.configuration.settings import Settings, load_settings
from buildtool.errors import UsageError
from buildtool.model.metrics import alerts, dashboard
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.output import say
from buildtool.programs.common.subcommands import Subcommand

DASHBOARD_FILE, SCRAPE_FILE = "buildtool-dashboard.json", "prometheus.yml"


def _monitoring(said: argparse.Namespace) -> int:
    """Write the files, and say where they are. Raises ConfigurationError, UsageError."""
    target, settings = Path(said.target), load_settings(said.config, secrets=False)
    written = []
    for name, text in files(settings).items():
        try:
            target.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(text, "utf-8")
        except OSError as error:
            raise UsageError(f"{target / name} cannot be written: {error.strerror}") from error
        written.append(str(target / name))
    say(json.dumps({"files": written}) if said.json else "\n".join(written))
    return EXIT_OK


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
