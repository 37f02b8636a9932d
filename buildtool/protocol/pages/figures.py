"""What pages ask for monitoring; the same rules as for ``messages``. Times are in seconds."""

from __future__ import annotations

from attrs import field, frozen

FIGURES_TOLD = 3_000
"""Most figures in one answer; the first, which are those that all farms have."""


@frozen
class AskFigures:
    """A question for the figures of the farm and of the metaserver."""


@frozen
class Figure:
    """The numbers of a metric (``model.metrics.table``) for some values of its labels, in the order of the table."""

    name: str = field(metadata={"most": 100, "sent": 100})
    labels: tuple[str, ...] = field(metadata={"most": 200, "sent": 200, "members": 4})
    numbers: tuple[float, ...] = field(metadata={"members": 40})


@frozen
class FiguresTold:
    """An answer: all figures. Who asks may not understand each: a newer metaserver has others."""

    figures: tuple[Figure, ...] = field(metadata={"members": FIGURES_TOLD, "whole": 500_000})
