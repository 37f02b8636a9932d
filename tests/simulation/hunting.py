"""``make mutants``: each guard of the program off in turn, and which seed of the simulation notices.

A seed counts when it is sound without the mutant: then it is the missing guard that was noticed.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.simulation.driver import ROOT
from tests.simulation.mutants import MUTANTS, Mutant, changed, switched
from tests.simulation.world import World

SEEDS_MOST = 200
"""How many seeds are tried before a mutant counts as not found."""


def work(name: str, first: int, most: int) -> None:
    """Try one mutant in this process, print the seed that found it and what it did, and end."""
    gc.disable()
    mutant = next(one for one in MUTANTS if one.name == name)
    for seed in range(first, first + most):
        with switched(mutant):
            report = World(seed).run()
        if not report.violations:
            continue
        with changed(mutant.circumstances):
            sound = not World(seed).run().violations
        if sound:  # else it is not the mutant that was found
            print(seed, report.violations[0].splitlines()[0], flush=True)
            break
    os._exit(0)


def hunt(mutant: Mutant, most: int = SEEDS_MOST) -> tuple[int, str] | None:
    """Return the first seed that finds a mutant, and by what, or None."""
    for first in range(0, most, 20):
        words = [sys.executable, "-m", "tests.simulation.hunting", mutant.name, str(first), str(min(20, most - first))]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            return first, f"the process ended: {done.stderr.strip().splitlines()[-1:]}"
        if done.stdout:
            seed, _, what = done.stdout.strip().partition(" ")
            return int(seed), what
    return None


def main(names: Sequence[str]) -> int:
    """Hunt all mutants, or those that are named, and say which seed found which; 1 when one was not found, 2 for
    a name that is none.
    """
    if len(names) == 3 and names[1].isdigit():
        work(names[0], int(names[1]), int(names[2]))
    known = [mutant.name for mutant in MUTANTS]
    if unknown := [name for name in names if name not in known]:
        print(f"no such mutant: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    wanted = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    missed = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for mutant, found in zip(wanted, pool.map(hunt, wanted), strict=True):
            if found is None:
                missed += 1
                print(f"NOT FOUND  {mutant.name}: {mutant.guard}", flush=True)
            else:
                print(f"seed {found[0]:<4}  {mutant.name}: {mutant.guard}\n           {found[1][:150]}", flush=True)
    print(f"{len(wanted) - missed} of {len(wanted)} mutants found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
