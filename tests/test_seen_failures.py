"""A failure that nobody awaited fails the test in which it happened, in plain tests and in trial's."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PRELUDE = """
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

async def fails():
    raise ValueError("nobody looks")

def unobserved():
    cycle = [Deferred.fromCoroutine(fails())]
    cycle.append(cycle)

def logged():
    Logger().failure("said aloud", Failure(ValueError("said aloud")))
"""

LOGS_AND_FLUSHES = "        logged()\n        assert len(self.flushLoggedErrors(ValueError)) == 1"

CASES = {
    "a plain test whose coroutine fails unobserved": ("def test(): unobserved()", False),
    "a plain test that logs a failure": ("def test(): logged()", False),
    "a plain test that forgets to await": ("def test(): fails()", False),
    "a plain test that expected the failure": (
        "def test(expected_failures):\n    unobserved()\n    assert expected_failures.flush(ValueError)",
        True,
    ),
    "a plain test that expected another failure": (
        "def test(expected_failures):\n    unobserved()\n    assert not expected_failures.flush(KeyError)",
        False,
    ),
    "an async trial case whose coroutine fails unobserved": (
        "class T(TestCase):\n    async def test(self): unobserved()",
        False,
    ),
    "an async trial case that logs a failure": (
        "class T(TestCase):\n    async def test(self): logged()",
        False,
    ),
    "an async trial case that expected it": (
        f"class T(TestCase):\n    async def test(self):\n{LOGS_AND_FLUSHES}",
        True,
    ),
    "a synchronous trial case whose coroutine fails unobserved": (
        "class T(SynchronousTestCase):\n    def test(self): unobserved()",
        False,
    ),
    "a synchronous trial case that expected it": (
        f"class T(SynchronousTestCase):\n    def test(self):\n{LOGS_AND_FLUSHES}",
        True,
    ),
    "a test of which nothing is to be said": ("def test(): pass", True),
}


def test_only_expected_failures_pass(tmp_path: Path) -> None:
    """One run for all of them: what one test leaves behind may not fall upon the next either."""
    for number, (body, _) in enumerate(CASES.values()):
        (tmp_path / f"test_{number:02}.py").write_text(f"{PRELUDE}\n{body}\n")
    options = ["-rA", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.conftest"]
    command = [sys.executable, "-m", "pytest", *options, "-c", str(ROOT / "pyproject.toml"), str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    passed = set(re.findall(r"^PASSED .*test_([0-9]{2})\.py", run.stdout, re.MULTILINE))
    failed = set(re.findall(r"^(?:FAILED|ERROR) .*test_([0-9]{2})\.py", run.stdout, re.MULTILINE))
    for number, (case, (_, passes)) in enumerate(CASES.items()):
        assert (f"{number:02}" not in failed) is passes, (case, run.stdout + run.stderr)
        assert f"{number:02}" in passed | failed, (case, run.stdout + run.stderr)
