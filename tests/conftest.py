"""Fixtures for every test: no failure goes unseen; and the lanes, see ``tests/support/lanes.py``."""

import os
import signal
from collections.abc import Iterator

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.support.failures import LoggedFailures, keep_young, left_to_reactor
from tests.support.lanes import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_ignore_collect,
    pytest_xdist_auto_num_workers,
)

__all__ = [
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_ignore_collect",
    "pytest_xdist_auto_num_workers",
]

IGNORED = "BUILDTOOL_TESTS_IGNORE"
"""Names the signals that whoever runs the tests had ignored, for the processes that pytest-xdist starts."""


def _hand_down_no_ignored_signal() -> None:
    """Go on ignoring what ``nohup`` or a shell's ``&`` let these tests ignore, but not in the programs that they start.

    An ignored signal stays ignored in every program that is started; one that is caught is as it always was there.
    """
    told = set(os.environ.get(IGNORED, "").split())
    for which in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(which) is signal.SIG_IGN or which.name in told:
            told.add(which.name)
            signal.signal(which, lambda *_: None)
    os.environ[IGNORED] = " ".join(sorted(told))


_hand_down_no_ignored_signal()


def pytest_collection_finish() -> None:
    """Leave what is loaded by now out of the collections that follow each test."""
    keep_young()


@pytest.fixture(autouse=True)
def expected_failures(request: pytest.FixtureRequest) -> Iterator[LoggedFailures]:
    """Fail a test that leaves a logged failure behind, one from a coroutine that nobody awaited included.

    So does one that leaves the reactor with something to do.

    A test that provokes one says so: ``expected_failures.flush(SomeError)``, or in a trial case
    ``self.flushLoggedErrors(SomeError)``.  Trial reports what was logged while its case ran,
    so in its cases only what comes to light afterwards is counted here.
    """
    failures = LoggedFailures()
    case = request.instance
    if isinstance(case, SynchronousTestCase):
        case.addCleanup(failures.forget)  # registered first, hence called last: from here on it is not trial's
    failures.start()
    try:
        yield failures
        left = failures.left()
    finally:
        failures.stop()
    if left:
        pytest.fail("\n".join(["logged failures that the test did not expect:", *map(str, left)]), pytrace=False)
    # Trial would find it in its next case, which may be anybody's.
    if calls := left_to_reactor():
        pytest.fail("\n".join(["the test left calls to the reactor:", *calls]), pytrace=False)


@pytest.fixture(autouse=True)
def trial_directory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a trial case's ``mktemp``, which makes directories where it stands, stand in a temporary one."""
    if isinstance(request.instance, SynchronousTestCase):
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))
