"""Which of the revisions that would do has an artifact, the first of them: the rule of a hit, and of ``latest``.

Tested by tests/metaserver/latest/test_finding.py and tests/scheduling/state/test_hits.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from buildtool.model.matching.satisfaction import satisfies
from buildtool.model.matching.shelves import Shelf
from buildtool.model.properties import Comparison
from buildtool.model.records import Artifact, Demand


def fitting(demand: Demand, shelves: Iterable[Shelf], comparisons: Mapping[str, Comparison]) -> Iterator[Artifact]:
    """Yield the artifacts that satisfy a demand: those of the first shelf first, of one shelf the newest."""
    return (one for shelf in shelves for one in shelf.artifacts if not satisfies(one, demand, comparisons))
