"""The dashboard for Grafana, made of the table of figures: a panel a figure, in rows by what one looks for.

Tested by tests/model/metrics/test_alerts.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from buildtool.model.metrics import table
from buildtool.model.metrics.table import Metric, MetricKind

ROWS: Mapping[str, Sequence[Metric]] = {
    "Is it well": (table.UP, table.PROBLEMS, table.INFO, table.STARTED),
    "What waits": (table.WAITING, table.OLDEST, table.REQUESTS_OPEN, table.DISPATCH),
    "What is built": (
        table.RUNNING, table.ENDED, table.DURATION, table.ATTEMPTS, table.REQUESTS, table.SAVED, table.HOOKS,
    ),
    "Machines": (table.SERVERS, table.SLOTS, table.LEASES, table.LEASES_ENDED),
    "Mail": (table.MAILS, table.OUTBOX, table.REFUSED),
    "Store": (
        table.COMMIT, table.COMMITS_FAILED, table.DATABASE, table.ARTIFACTS, table.ARTIFACT_BYTES, table.FREE,
        table.DISK, table.BACKUP, table.BACKUP_WITHIN,
    ),
    "The metaserver": (
        table.EVENTS, table.TURN, table.PAUSE, table.DESCRIPTORS, table.DESCRIPTORS_MOST, table.MEMORY,
        table.PROCESSOR,
    ),
}  # fmt: skip
"""Which figures are looked at together; each stands in one row."""

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT, _IN_ROW = 8, 7, 3


def dashboard() -> str:
    """Return the dashboard as JSON, to be imported into Grafana."""
    panels, line = list[dict[str, object]](), 0
    for title, metrics in ROWS.items():
        panels.append({"type": "row", "title": title, "gridPos": _place(0, line, 24, 1), "panels": []})
        line += 1
        for number, metric in enumerate(metrics):
            at = _place(number % _IN_ROW * _WIDTH, line + number // _IN_ROW * _HEIGHT, _WIDTH, _HEIGHT)
            panels.append(_panel(metric, at))
        line += -(-len(metrics) // _IN_ROW) * _HEIGHT
    whole = {
        "title": "Build farm",
        "uid": "buildtool",
        "tags": ["buildtool"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [{"id": number, **one} for number, one in enumerate(panels, 1)],
    }
    return json.dumps(whole, indent=1) + "\n"


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(metric: Metric, at: dict[str, int]) -> dict[str, object]:
    targets = [
        {"refId": chr(ord("A") + number), "datasource": _DATASOURCE, "expr": expr, "legendFormat": legend}
        for number, (expr, legend) in enumerate(queries(metric))
    ]
    per_second = metric.kind is MetricKind.COUNTER
    unit = {"s": "s", "bytes": "bytes"}.get(metric.unit, "short")
    return {
        "type": "timeseries",
        "title": f"{metric.help.rstrip('.')}{', an hour' if per_second else ''}",
        "description": metric.name,
        "datasource": _DATASOURCE,
        "gridPos": at,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
    }


def queries(metric: Metric) -> Iterator[tuple[str, str]]:
    """Yield what a panel asks for a figure, and how what it gets is called."""
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels) or "all"
    by = f"by ({', '.join(metric.labels)}) " if metric.labels else ""
    match metric.kind:
        case MetricKind.HISTOGRAM:
            for part, words in ((0.5, "half within"), (0.99, "99 % within")):
                within = ", ".join(("le", *metric.labels))
                expr = f"histogram_quantile({part}, sum by ({within}) (rate({metric.name}_bucket[$__rate_interval])))"
                yield expr, f"{legend}: {words}" if metric.labels else words
        case MetricKind.COUNTER:
            yield f"sum {by}(increase({metric.name}[1h]))", legend
        case MetricKind.GAUGE:
            yield f"max {by}({metric.name})", legend
