"""The table of figures follows the conventions of Prometheus."""

import re

import pytest

from buildtool.model.metrics.table import TABLE, Metric, MetricKind


@pytest.mark.parametrize("metric", TABLE.values(), ids=lambda metric: metric.name)
def test_a_name_says_its_unit_and_whether_it_only_grows(metric: Metric) -> None:
    assert re.fullmatch(r"buildtool_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
    assert ("_seconds" in metric.name) == (metric.unit == "s")
    assert ("_bytes" in metric.name) == (metric.unit == "bytes")
    assert metric.help.endswith(".")
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert bool(metric.bounds) == (metric.kind is MetricKind.HISTOGRAM)
