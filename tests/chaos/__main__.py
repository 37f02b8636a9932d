"""``make chaos``: some minutes of it. MINUTES and SEED say how many, and which; the last line is JSON.

Exit code 0 when every request ended once and nothing was left over, 1 when not; 2 for a wrong command line or a
machine without what it takes.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import shutil
import sys
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.python.failure import Failure

from buildtool.programs.common.program import monotonic_reactor
from tests.chaos.run import Report, Run, say
from tests.chaos.script import LONG, SHORT, Script, scripted

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Real programs, real faults, every request ends.")
    parser.add_argument("--minutes", type=float, default=LONG.seconds / 60, help="how long things go wrong")
    parser.add_argument("--seed", type=int, default=None, help="of what happens (default: another every time)")
    parser.add_argument("--short", action="store_true", help="the short run of the tests")
    parser.add_argument("--directory", type=Path, default=ROOT / ".chaos", help="where it takes place")
    parser.add_argument("--keep", action="store_true", help="keep logs and directories also when all went well")
    parser.add_argument("--list", action="store_true", help="only say what would go wrong")
    said = parser.parse_args()
    seed = secrets.randbelow(10**6) if said.seed is None else said.seed
    script = scripted(seed, SHORT if said.short else evolve(LONG, seconds=said.minutes * 60))
    if said.list:
        print("\n".join(fault.words() for fault in script.faults))
        return 0
    missing = [name for name in ("git", "gcc") if shutil.which(name) is None]
    if missing or not Path("/proc/self/environ").exists():
        say(f"it takes git, gcc and /proc; there is no {missing[0] if missing else '/proc'} here")
        return 2
    again = f"make chaos SEED={seed} " + ("ARGS=--short" if said.short else f"MINUTES={said.minutes:g}")
    say(f"seed {seed}; again: {again}")
    directory = said.directory.resolve() / f"run-{seed}-{secrets.token_hex(3)}"
    report = live(script, directory)
    if report is None:
        return 1
    for line in report.problems:
        say(line)
    if report.good and not said.keep:
        shutil.rmtree(directory)
    else:
        say(f"what the programs said is in {directory / 'logs'}, all they left in {directory}; again: {again}")
    print(report.line(), flush=True)
    return 0 if report.good else 1


def live(script: Script, directory: Path) -> Report | None:
    """Run it in the reactor; None when the run itself broke down, which is said."""
    reactor = monotonic_reactor()
    reports: list[Report] = []
    gone: Deferred[None] = Deferred()

    def broke(failure: Failure) -> None:
        say(failure.getTraceback())

    def over(_: object) -> None:
        gone.callback(None)
        with contextlib.suppress(ReactorNotRunning):  # it was interrupted, and stops already
            reactor.stop()

    def begin() -> None:
        living = Deferred.fromCoroutine(Run(script, directory, reactor).live())
        living.addCallbacks(reports.append, broke)
        living.addBoth(over)

        def interrupted() -> Deferred[None]:
            living.cancel()
            return gone  # whoever interrupts waits until all that was started is gone

        reactor.addSystemEventTrigger("before", "shutdown", interrupted)

    reactor.callWhenRunning(begin)
    reactor.run()
    return reports[0] if reports else None


if __name__ == "__main__":
    sys.exit(main())
