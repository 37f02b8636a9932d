"""``make simulate``: many seeds and one line of JSON, or one seed and all that happened."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.driver import command, replay, simulate, work
from tests.simulation.world import Report


def main() -> int:
    """Run the program and return its exit code: 1 when something was violated."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="run so many seeds (default 100)")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, metavar="S", help="run this one and show its trace")
    parser.add_argument("--processes", type=int, metavar="N", help="(default: one for each processor)")
    parser.add_argument("--share", type=int, nargs="+", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.share is not None:
        work(said.share)
    if said.seed is not None:
        replay(said.seed)
    ended = 0

    def done(report: Report) -> None:
        nonlocal ended
        ended += 1
        if report.violations:
            print(f"seed {report.seed}: {report.violations[0]}", file=sys.stderr)
            print(f"  to see it again: {command(report.seed)}", file=sys.stderr)
        if ended % 50 == 0:
            print(f"# {ended} of {said.seeds} seeds", file=sys.stderr, flush=True)

    summary = simulate(range(said.first, said.first + said.seeds), processes=said.processes, done=done)
    print(summary.as_json())
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
