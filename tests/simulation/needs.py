"""C libraries in a simulated farm: machines that have another version each, and files that need an older one than that.

A witness knows which version each machine announced, what the files need that an honest one packed, and what was asked
for, and compares versions as numbers of its own: whoever has an older library is given what needs no newer one, waits
for nothing that lies there, and what a machine announced is not taken for what was measured.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from attrs import define, evolve, field

from buildtool.model.binaries.judging import MeasuredFile
from buildtool.model.binaries.need import FileNeed
from buildtool.model.binaries.target import BinaryFormat, BinaryKind, BinaryTarget
from buildtool.model.records import Artifact, Request, RequestState
from buildtool.model.servers import Capability
from buildtool.protocol.messages import RequestStatus, Submit
from tests.simulation.invariants import Watch

MATTERS = 0.4
"""In how many worlds machines have versions of a C library, and somebody asks for an older one."""

VERSIONS = ("2.9", "2.17", "2.28", "2.36")
"""What there is, oldest first: as numbers, for as texts the first would be the last."""

PROPERTY = "libc_version"


def _rank(version: object) -> int:
    return VERSIONS.index(str(version))


@define(eq=False)
class Needs:
    """The versions of one world. ``measured`` is what an honest machine found in what it packed, by its digest."""

    seed: int
    watch: Watch
    measured: dict[tuple[str, str], str] = field(factory=dict)
    rng: random.Random | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        rng = random.Random(f"{self.seed} needs")
        self.rng = rng if rng.random() < MATTERS else None

    # --- what is drawn --------------------------------------------------------------------------------------

    def announced(self, name: str, found: Capability) -> Capability:
        """Return what a machine announces, with the version of its C library, which it keeps for life."""
        if self.rng is None:
            return found
        version = random.Random(f"{self.seed} {name} library").choice(VERSIONS[1:])
        offers = tuple(
            evolve(offer, platform=tuple(sorted((*offer.platform, (PROPERTY, version))))) for offer in found.offers
        )
        return evolve(found, offers=offers)

    def asked(self, item: Submit) -> Submit:
        """Return what somebody asks for, some of them for an old system."""
        if self.rng is None or self.rng.random() < 0.5:
            return item
        return evolve(item, system={**item.system, PROPERTY: self.rng.choice(VERSIONS)})

    def of(self, revision: str, colour: str) -> str:
        """Return what the program needs, wherever it is made: what its sources call."""
        return random.Random(f"{self.seed} {revision} {colour} symbols").choice(VERSIONS[:2])

    def files(self, key: tuple[int, int] | None, revision: str, colour: str) -> tuple[MeasuredFile, ...]:
        """Return what is measured in what was packed by the Attempt of this key."""
        if self.rng is None or key is None:
            return ()
        arch = str(dict(self.watch.attempts[key].platform)["arch"])
        bits, order = (64, "little") if arch == "x86_64" else (32, "big")
        target = BinaryTarget(BinaryFormat.ELF, BinaryKind.PROGRAM, "linux", arch, bits, order)
        return (MeasuredFile("program", (FileNeed(target, "glibc", self.of(revision, colour), whole=True),)),)

    # --- what happens ---------------------------------------------------------------------------------------

    def packed(self, server: str, digest: str, revision: str, colour: str) -> None:
        """An honest build server has packed this."""
        self.measured[server, digest] = self.of(revision, colour)

    def committed(self, rows: Sequence[Any]) -> None:
        """These rows are committed, and the watch has taken them in."""
        if self.rng is None:
            return
        for row in rows:
            if type(row) is Artifact:
                self._artifact(row)
            elif type(row) is Request and row.state is RequestState.SATISFIED:
                self._satisfied(row)

    def told(self, told: RequestStatus) -> None:
        """Somebody was told how a Request stands."""
        if self.rng is None:
            return
        row = self.watch.artifacts.get(self._artifact_id(told)) if told.artifact is not None else None
        if row is None or told.artifact is None or self._measured(row) is None:
            return
        measured, announced = self._measured(row), dict(row.platform).get(PROPERTY)
        told_of = dict(told.artifact.need).get(PROPERTY)
        right = measured if announced is not None and _rank(measured) < _rank(announced) else None
        self._check(told_of == right, f"artifact {row.id} is told to need {told_of}, and it is {right}")

    # --- checks ---------------------------------------------------------------------------------------------

    def _artifact(self, row: Artifact) -> None:
        measured = self._measured(row)
        if measured is not None:
            said = dict(row.need).get(PROPERTY)
            self._check(said == measured, f"artifact {row.id} is kept as one that needs {said}, and it is {measured}")

    def _satisfied(self, row: Request) -> None:
        artifact, wanted = self.watch.artifacts.get(row.artifact_id or 0), dict(row.demand.spec.platform)
        if artifact is None or PROPERTY not in wanted:
            return
        has = self._measured(artifact) or dict(artifact.platform).get(PROPERTY, VERSIONS[-1])
        fits = artifact.server not in self.watch.honest or _rank(has) <= _rank(wanted[PROPERTY])
        self._check(fits, f"request {row.id} asks for {wanted[PROPERTY]}, and is given what needs {has}")

    def _measured(self, row: Artifact) -> str | None:
        return self.measured.get((row.server, row.digest)) if row.server in self.watch.honest else None

    def _artifact_id(self, told: RequestStatus) -> int:
        digest = told.artifact.digest if told.artifact is not None else ""
        return next((one.id for one in self.watch.artifacts.values() if one.digest == digest), 0)

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            self.watch.wrong(what)
