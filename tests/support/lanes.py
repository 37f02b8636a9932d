"""The lanes of the tests: which test runs in which, how hard it tries there, and what the quick one may not do.

A pytest plugin; ``tests/conftest.py`` takes its hooks over.  Without ``--lane`` everything that is named runs.
"""

import os
import random
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import SupportsIndex

import pytest
from hypothesis import HealthCheck, settings

from tests.support import warm_starts

EXAMPLES = {"quick": 25, "test": 100, "long": 300}
"""How many examples a property is tried with in each lane, where it says nothing itself (see `examples`)."""

QUICK = (
    "tests/buildserver",
    "tests/concurrency",
    "tests/configuration",
    "tests/metaserver",
    "tests/model",
    "tests/ports",
    "tests/project",
    "tests/protocol",
    "tests/requester",
    "tests/scheduling",
    "tests/web",
)
"""Where the tests of ``make quick`` are, but for those that are marked ``world`` or ``long``."""

MARKS = {
    "long": "takes real toolchains or minutes, and runs in `make long` only",
    "world": "starts a process, opens a socket or waits, and is left out of `make quick`",
}

FORBIDDEN = {
    "os.exec": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.system": "starts a process",
    "subprocess.Popen": "starts a process",
    "socket.__new__": "opens a socket",
}
"""The interpreter's audit events of what no test of the quick lane does."""


def examples(usual: int, long: int = 0) -> int:
    """Return how many examples a property tries in this lane that tries `usual` ones in `make test`.

    In `make long` these are three times as many, or `long`: what takes seconds an example is tried there.
    """
    tried = settings().max_examples
    return long if long and tried >= EXAMPLES["long"] else max(1, usual * tried // EXAMPLES["test"])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--lane``, ``--shuffle`` and ``--cold``."""
    parser.addoption("--lane", choices=sorted(EXAMPLES), help="run the tests of one lane (default: all, as in `test`)")
    parser.addoption(
        "--shuffle", metavar="SEED", help="run modules, and the tests of each, in an order drawn from SEED"
    )
    parser.addoption(
        "--cold", action="store_true", help="load each program of end-to-end tests anew, as `make long` does"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Set how hard Hypothesis tries, before any test is read, and begin to watch in the quick lane.

    This machine's speed is no property of the code: no deadline, no health check on time.  Where CI is set the
    examples are the same in every run; elsewhere they differ, and a failure prints how to repeat it.
    """
    for mark, why in MARKS.items():
        config.addinivalue_line("markers", f"{mark}: {why}")
    lane = config.getoption("--lane")
    warm_starts.cold[0] = lane == "long" or config.getoption("--cold")
    settings.register_profile(
        "buildtool",
        deadline=None,
        print_blob=True,
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=[HealthCheck.too_slow],
        max_examples=EXAMPLES[lane or "test"],
    )
    settings.load_profile("buildtool")
    if lane == "quick":
        config.pluginmanager.register(Watch())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Let ``-n auto`` take five workers for two processors, since real programs are waited for."""
    return None if config.getoption("--lane") == "quick" else len(os.sched_getaffinity(0)) * 5 // 2


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Read nothing that is not in the quick lane for the quick lane."""
    if config.getoption("--lane") != "quick" or collection_path.is_dir():
        return None
    return None if _in_quick(collection_path, config) else True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of the lane, in another order where one is asked for.

    The long one tries each property again, with more examples.
    """
    lane, seed = config.getoption("--lane"), config.getoption("--shuffle")
    if lane is not None:
        sorted_out: dict[bool, list[pytest.Item]] = {True: [], False: []}
        for item in items:
            sorted_out[_belongs(item, lane)].append(item)
        config.hook.pytest_deselected(items=sorted_out[False])
        items[:] = sorted_out[True]
    items[:] = sorted(items, key=_is_short) if seed is None else shuffled(items, seed)


def shuffled(items: list[pytest.Item], seed: str) -> list[pytest.Item]:
    """Return tests in an order that is drawn from `seed` alone: in all processes of a run the same.

    The tests of one module stay together, since they may share what takes seconds to make.
    """
    draw = random.Random(seed)  # noqa: S311 - no cryptography
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    for module in modules.values():
        draw.shuffle(module)
    chosen = list(modules.values())
    draw.shuffle(chosen)
    return [item for module in chosen for item in module]


def _is_short(item: pytest.Item) -> bool:
    """Return whether a test may come late: one that takes long, alone or with its group, would end alone."""
    return item.get_closest_marker("xdist_group") is None and "e2e" not in item.path.parts


def _belongs(item: pytest.Item, lane: str) -> bool:
    long = item.get_closest_marker("long") is not None
    if lane == "long":
        return long or item.get_closest_marker("hypothesis") is not None
    return not long and not (lane == "quick" and item.get_closest_marker("world"))


def _in_quick(path: Path, config: pytest.Config) -> bool:
    return path.name == "conftest.py" or any(path.is_relative_to(config.rootpath / folder) for folder in QUICK)


class Watch:
    """Fails a test that does what its lane does not."""

    def __init__(self) -> None:
        self._running = False
        self._done: list[str] = []
        self._sleep, time.sleep = time.sleep, self._sleeps  # which has an audit event since Python 3.13 only
        sys.addaudithook(self._heard)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Watch while a test runs, its fixtures included."""
        reactor = sys.modules.get("twisted.internet.reactor")
        if reactor is not None:
            reactor.run = self._waits  # type: ignore[attr-defined]  # what turns it is in no audit event
        self._running = True
        try:
            return (yield)
        finally:
            self._running = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """Fail the test also where the code that it runs caught what was raised at the place."""
        try:
            return (yield)
        finally:
            done, self._done = self._done, []
            if done:
                pytest.fail(done[0], pytrace=False)

    def _heard(self, event: str, _: tuple[object, ...]) -> None:
        if self._running and event in FORBIDDEN:
            self._forbid(FORBIDDEN[event])

    def _sleeps(self, seconds: float | SupportsIndex, /) -> None:
        if self._running:
            self._forbid("sleeps")
        self._sleep(seconds)

    def _waits(self) -> None:
        self._forbid("waits for the reactor")

    def _forbid(self, what: str) -> None:
        self._done.append(f"this test {what}: mark it `pytest.mark.world`, or give it a simulated one")
        pytest.fail(self._done[-1])
