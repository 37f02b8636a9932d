"""The figures of the farm in the text of Prometheus, or of OpenMetrics for who asks for that.

Those of the metaserver come from the metaserver itself, so several processes with pages tell the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import cast

from attrs import frozen
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import CollectorRegistry

from buildtool.model.metrics import table
from buildtool.model.metrics.counts import Counts, Sample, known
from buildtool.model.metrics.table import Metric, MetricKind
from buildtool.ports.pages import Overview
from buildtool.protocol.pages.figures import FiguresTold


def exposition(told: FiguresTold | None, overview: Overview | None, accept: str) -> tuple[bytes, str]:
    """Return the body for who accepts these content types, and its content type.

    ``told`` is what the metaserver says, None where it does not answer; ``overview`` what the database has.
    """
    own = Counts()
    own.set(table.UP, to=told is not None)
    if overview is not None:
        own.set(table.ARTIFACTS, to=overview.artifacts)
        own.set(table.ARTIFACT_BYTES, to=overview.artifact_bytes)
    others = (Sample(one.name, one.labels, one.numbers) for one in (told.figures if told is not None else ()))
    found: dict[str, list[Sample]] = {}
    for metric, sample in (*known(own.samples()), *known(others)):
        found.setdefault(metric.name, []).append(sample)
    encode, content_type = choose_encoder(accept)
    return encode(cast(CollectorRegistry, _Collected(found))), content_type


@frozen
class _Collected:
    """What stands for a registry, of which nothing but ``collect`` is asked."""

    found: Mapping[str, Sequence[Sample]]

    def collect(self) -> Iterator[Family]:
        """Yield all metrics, in the order of the table."""
        for metric in table.TABLE.values():
            if metric.name in self.found:
                yield _family(metric, self.found[metric.name])


def _family(metric: Metric, samples: Sequence[Sample]) -> Family:
    if metric.kind is MetricKind.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*map(str, metric.bounds), "+Inf"]
        for one in samples:
            buckets = list(zip(bounds, accumulate(one.numbers[:-1]), strict=True))
            histogram.add_metric(one.labels, buckets, one.numbers[-1])
        return histogram
    kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for one in samples:
        family.add_metric(one.labels, one.numbers[0])
    return family
