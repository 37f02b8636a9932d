"""Rules, figures, dashboard and runbooks belong together: each names what there is, and nothing is left alone."""

import json
import re
from pathlib import Path

import pytest

from buildtool.model.metrics.alerts import ALERTS, Alert, rules
from buildtool.model.metrics.dashboard import ROWS, dashboard, queries
from buildtool.model.metrics.table import TABLE, Metric, MetricKind

RUNBOOKS = Path(__file__).resolve().parents[3] / "docs" / "runbooks"
PARTS = ["What it means", "What to look at", "What to do"]
NAMED = re.compile(r"buildtool_[a-z_]+")


def metrics_in(text: str) -> set[str]:
    """The metrics that a text names; of a histogram it may name a part."""
    found = set()
    for name in NAMED.findall(text):
        whole = re.sub(r"_(bucket|sum|count)\Z", "", name)
        found.add(whole if whole in TABLE and TABLE[whole].kind is MetricKind.HISTOGRAM else name)
    return found


def labels_in(expr: str) -> set[tuple[str, str]]:
    """Each metric of an expression with each value that it is asked for."""
    return {
        (name, value)
        for name, within in re.findall(r"(buildtool_[a-z_]+)\{([^}]*)\}", expr)
        for _, values in re.findall(r'(\w+)=~?"([^"]*)"', within)
        for value in values.split("|")
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_a_rule_asks_for_figures_that_there_are_and_its_runbook_is_about_them(alert: Alert) -> None:
    page = (RUNBOOKS / f"{alert.runbook}.rst").read_text("utf-8")
    assert page.startswith(f"{alert.name}\n")
    assert re.findall(r"^(.+)\n-+$", page, re.MULTILINE) == PARTS
    asked = metrics_in(alert.expr)
    assert asked <= set(TABLE)
    assert asked <= metrics_in(page), "the page says which figure it is"
    assert metrics_in(page) <= set(TABLE)
    for name, value in labels_in(alert.expr):
        assert value in TABLE[name].values


def test_each_runbook_belongs_to_one_rule_and_is_listed() -> None:
    pages = sorted(file.stem for file in RUNBOOKS.glob("*.rst") if file.stem != "index")
    assert pages == sorted(alert.runbook for alert in ALERTS)
    listed = (RUNBOOKS / "index.rst").read_text("utf-8")
    assert re.findall(r"`(\w+) <([\w-]+)\.rst>`_", listed) == [(one.name, one.runbook) for one in ALERTS]
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


def test_the_file_of_rules_has_each_with_a_link_to_its_page_on_the_farm() -> None:
    text = rules("https://farm.example.org/builds/")
    links = re.findall(r'runbook_url: "([^"]*)"', text)
    assert links == [f"https://farm.example.org/builds/runbooks/{alert.runbook}" for alert in ALERTS]


def test_the_dashboard_shows_every_figure_once_and_asks_for_no_other() -> None:
    shown = [metric.name for row in ROWS.values() for metric in row]
    assert sorted(shown) == sorted(TABLE)
    made = json.loads(dashboard())
    panels = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert [panel["description"] for panel in panels] == shown
    assert metrics_in(" ".join(one["expr"] for panel in panels for one in panel["targets"])) == set(TABLE)


def test_panels_lie_side_by_side_and_none_on_another() -> None:
    places = set[tuple[int, int]]()
    for panel in json.loads(dashboard())["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = {(at["x"] + right, at["y"] + down) for right in range(at["w"]) for down in range(at["h"])}
        assert not own & places
        places |= own


@pytest.mark.parametrize("metric", TABLE.values(), ids=lambda metric: metric.name)
def test_what_only_grows_is_shown_as_how_fast_it_grows(metric: Metric) -> None:
    for expr, _ in queries(metric):
        grows = metric.kind is not MetricKind.GAUGE
        assert ("rate(" in expr or "increase(" in expr) == grows
