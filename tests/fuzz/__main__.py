"""``make fuzz``: look for input that does what it must not, target by target, several at once.

Each target first gets what is kept (tests/fuzz/corpus), then what atheris draws, or the plain engine where that is not
there.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

from tests.fuzz.engine import MADE, Report, guided, guided_is_there, keep, mutate, replay, write
from tests.fuzz.table import TARGETS
from tests.fuzz.target import Target


def looked(target: Target, seconds: float, seed: int) -> Iterator[Report]:
    """Yield what comes of each way of feeding a target."""
    yield replay(target)
    if guided_is_there():
        yield guided(target, seconds)
    else:
        yield mutate(target, seconds, seed)


def main() -> int:
    """Run the program and return its exit code: 1 when something was found."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of each target (default 60)")
    parser.add_argument("--minutes", type=float, metavar="N", help="of all together, shared among them")
    parser.add_argument("--processes", type=int, metavar="N", help="at once (default: one for each processor)")
    parser.add_argument("--keep", action="store_true", help="move what takes new branches into the corpus")
    parser.add_argument("--see", metavar="FILE", help="feed the one target this file, and show what happens")
    said = parser.parse_args()
    unknown = set(said.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}: there are {', '.join(TARGETS)}")
    wanted = [TARGETS[name] for name in said.targets or TARGETS]
    if said.see:
        with open(said.see, "rb") as file:  # noqa: PTH123 - one file that somebody names
            wanted[0].feed(file.read())
        return 0
    many = said.processes or len(os.sched_getaffinity(0))
    seconds = said.seconds if said.minutes is None else max(1.0, said.minutes * 60 * many / len(wanted))
    if not guided_is_there():
        print(f"without atheris (no wheel for Python {sys.version.split()[0]} here): only the plain engine looks")
    seed, began, bad = random.getrandbits(32), time.monotonic(), 0
    with ThreadPoolExecutor(many) as pool:
        for done in as_completed([pool.submit(lambda one: list(looked(one, seconds, seed)), one) for one in wanted]):
            for report in done.result():
                print(report.line, flush=True)
                if report.found:
                    bad += 1
                    path = write(MADE / report.target, report.data, "found-")
                    print(f"  to see it again: python -m tests.fuzz {report.target} --see {path}", flush=True)
    if said.keep and guided_is_there():
        for one in wanted:
            print(f"{one.name}: {keep(one)} inputs are kept")
    print(f"{len(wanted)} targets in {time.monotonic() - began:.0f} s, {bad} found something")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
