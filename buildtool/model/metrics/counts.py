"""Figures while they are counted: of each metric one row of numbers for each set of values of its labels.

To count is to look a row up and add to it. What others make up (platforms, projects) has ``table.MOST`` values of its
own, those that were met first; all further ones are counted together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from attrs import define, field, frozen

from buildtool.model.metrics.table import MOST, OTHER, TABLE, Metric, MetricKind

OPEN_LABELS = ("platform", "project")
"""The labels whose values others make up."""


@frozen
class Sample:
    """The numbers of a metric for some values of its labels: one, or those of a histogram (see ``Metric.width``)."""

    name: str
    labels: tuple[str, ...]
    numbers: tuple[float, ...]


@define(eq=False)
class Counts:
    """A table of figures. Rows of a gauge are there while it is ``set``; ``clear`` drops them."""

    _rows: dict[tuple[str, tuple[str, ...]], list[float]] = field(factory=dict, init=False)
    _seen: dict[tuple[str, str], set[str]] = field(factory=dict, init=False)

    def add(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Add to a counter, or a gauge: a number, or seconds or bytes where its name says so."""
        self._row(metric, labels)[0] += by

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Set a gauge, or a counter that is counted elsewhere: a number, or seconds or bytes where its name says so."""
        self._row(metric, labels)[0] = float(to)

    def observe(self, metric: Metric, *labels: str, took: float) -> None:
        """Count one duration in seconds."""
        row = self._row(metric, labels)
        row[bisect_left(metric.bounds, took)] += 1
        row[-1] += took

    def put(self, metric: Metric, numbers: list[float]) -> None:
        """Take a whole histogram without labels, counted elsewhere."""
        self._row(metric, ())[:] = numbers

    def samples(self) -> Iterator[Sample]:
        """Yield all rows."""
        for (name, labels), row in self._rows.items():
            yield Sample(name, labels, tuple(row))

    def _row(self, metric: Metric, labels: tuple[str, ...]) -> list[float]:
        row = self._rows.get((metric.name, labels))
        if row is None:
            kept = tuple(self._kept(metric, *pair) for pair in zip(metric.labels, labels, strict=True))
            row = self._rows.setdefault((metric.name, kept), [0.0] * metric.width)
        return row

    def _kept(self, metric: Metric, label: str, value: str) -> str:
        """Return a value of a label, or that of all others."""
        if label not in OPEN_LABELS:
            return value if not metric.values or value in metric.values or label == "version" else OTHER
        seen = self._seen.setdefault((metric.name, label), set())
        if value not in seen and len(seen) >= MOST:
            return OTHER
        seen.add(value)
        return value


def known(samples: Iterator[Sample]) -> Iterator[tuple[Metric, Sample]]:
    """Yield the samples that this program understands, of whatever version the one is that counted them."""
    for one in samples:
        metric = TABLE.get(one.name)
        if metric is None or len(one.labels) != len(metric.labels) or len(one.numbers) != metric.width:
            continue
        if metric.kind is MetricKind.GAUGE or all(number >= 0 for number in one.numbers):
            yield metric, one
