"""Many seeds in several processes, each of which ends without tidying up what crashed worlds left."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
from attrs import frozen

from tests.simulation.faults import KINDS
from tests.simulation.world import Report, World

ROOT = Path(__file__).resolve().parent.parent.parent
CHUNK = 20
"""Seeds of one process: what they leave stays in memory until it ends."""


@frozen
class Summary:
    """What came of many seeds."""

    reports: tuple[Report, ...]

    @property
    def failed(self) -> tuple[Report, ...]:
        return tuple(report for report in self.reports if report.violations)

    def as_json(self) -> str:
        """Return the one line with which a run ends."""
        faults: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        for report in self.reports:
            faults.update(report.faults)
        return json.dumps(
            {
                "seeds": len(self.reports),
                "simulated_hours": round(sum(report.hours for report in self.reports), 1),
                "steps": sum(report.steps for report in self.reports),
                "violations": sum(len(report.violations) for report in self.reports),
                "faults": dict(faults),
            }
        )


def simulate(
    seeds: Sequence[int],
    *,
    processes: int | None = None,
    done: Callable[[Report], None] = lambda _: None,
    hash_seed: str = "random",
) -> Summary:
    """Run every seed, in so many processes as there are processors; ``done`` hears of each."""
    count = processes or len(os.sched_getaffinity(0))
    size = max(1, min(CHUNK, -(-len(seeds) // count)))
    chunks = [seeds[start : start + size] for start in range(0, len(seeds), size)]

    def run(chunk: Sequence[int]) -> list[Report]:
        words = [sys.executable, "-m", "tests.simulation", "--share", *map(str, chunk)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        reports = []
        with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                reports.append(_report(json.loads(line)))
                done(reports[-1])
        if [report.seed for report in reports] != list(chunk):
            missing = sorted(set(chunk) - {report.seed for report in reports})
            raise RuntimeError(f"a process of the simulation ended early: seeds {missing} did not come to their end")
        return reports

    with ThreadPoolExecutor(count) as pool:
        found = [report for reports in pool.map(run, chunks) for report in reports]
    return Summary(tuple(found))


def work(seeds: Iterable[int]) -> None:
    """Run seeds in this process, a line of JSON for each, and end it."""
    gc.disable()  # what crashed is garbage that must not be collected: it would be ended as no crash ends it
    for seed in seeds:
        print(json.dumps(attrs.asdict(World(seed).run())), flush=True)
    os._exit(0)


def replay(seed: int) -> None:
    """Run one seed, show its trace and what was wrong, and end this process."""
    gc.disable()
    world = World(seed, keep_trace=True)
    report = world.run()
    print("\n".join(world.trace.lines))
    print(f"seed {seed}: {report.hours:.1f} hours, {report.steps} steps, trace {report.digest}")
    for violation in report.violations:
        print(f"VIOLATION: {violation}")
    sys.stdout.flush()
    os._exit(1 if report.violations else 0)


def command(seed: int) -> str:
    """Return what to type in order to see a seed again."""
    return f"make simulate SEED={seed}"


def _report(plain: dict[str, object]) -> Report:
    return Report(**{**plain, "violations": tuple(plain["violations"])})  # type: ignore[arg-type] # as written above
