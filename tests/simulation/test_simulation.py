"""The whole farm under every fault that there is: the invariants of the design hold, and it comes to rest."""

import json
import secrets
import subprocess
import sys
from typing import Any

import pytest

from tests.simulation.driver import ROOT, Summary, command, simulate
from tests.simulation.faults import KINDS

FIXED = (3, 29, 51)
"""In these worlds nearly every kind of fault happens; what does not happens in one of ``NEXT``, tried by turns."""

NEXT = range(40, 60)

FRESH = 3
"""So many more with every change; `make long` and `make simulate` have a thousand."""


def _assert_sound(summary: Summary) -> None:
    told = [f"{command(report.seed)}: {report.violations[0]}" for report in summary.failed]
    assert not told, "\n".join(told)


def test_a_fixed_set_of_seeds_violates_nothing_and_comes_to_rest() -> None:
    happened = set[str]()
    for seeds in (FIXED, *((seed, seed + 1) for seed in NEXT[::2])):
        summary = simulate(seeds)
        _assert_sound(summary)
        happened |= {kind for report in summary.reports for kind in report.faults}
        if set(KINDS) <= happened:
            return
    raise AssertionError(f"these kinds of faults happen in no world: {sorted(set(KINDS) - happened)}")


def test_fresh_seeds_violate_nothing_and_come_to_rest() -> None:
    first = secrets.randbelow(10**9)
    print(f"fresh seeds: {first} to {first + FRESH - 1}")
    _assert_sound(simulate(range(first, first + FRESH)))


def crowd(many: int, mutant: str = "") -> dict[str, Any]:
    """Return what comes of it that one asks for so many builds, another for one, and then a crowd for one each."""
    words = [sys.executable, "-m", "tests.simulation.crowds", str(many), *([mutant] if mutant else [])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def _assert_single_one_is_next(seen: dict[str, Any]) -> None:
    assert seen["violations"] == []
    assert seen["begun_before"] == 0, "what is being built is delivered, and then it is the single one's turn"
    assert 0 <= seen["waited"] <= seen["length"]


def test_three_hundred_requests_of_one_delay_the_single_one_of_another_by_one_build_at_most() -> None:
    _assert_single_one_is_next(crowd(300))


@pytest.mark.long
def test_three_thousand_requests_of_one_delay_the_single_one_of_another_by_one_build_at_most() -> None:
    _assert_single_one_is_next(crowd(3_000))


@pytest.mark.long
@pytest.mark.parametrize("mutant", ["ageing-off", "no-turns"])
def test_a_crowd_notices_an_order_that_is_not_fair(mutant: str) -> None:
    assert crowd(300, mutant)["violations"]


@pytest.mark.long
def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    """Also where sets of texts have another order, which only the hash seed decides, and other worlds came before."""
    seeds = range(1_000, 1_002)
    there = {report.seed: report.digest for report in simulate(seeds, hash_seed="1").reports}
    back = {report.seed: report.digest for report in simulate(seeds[::-1], processes=1, hash_seed="2").reports}
    assert there == back
    assert len(set(there.values())) == len(seeds), "and different seeds give different ones"
