"""Checks that the quick lane takes enough of the branches of each pure part; `make branches` runs it.

Branches, not lines: a line that runs says little of what it does in the other case.
"""

import json
import sys
from collections import Counter
from pathlib import Path

FLOOR = 80
"""Per cent of the branches of each room that the quick lane takes at least."""

PURE = ("concurrency", "configuration", "metaserver", "model", "project", "protocol", "requester", "scheduling")
"""The rooms that need neither a process nor a socket nor a clock to be tried."""


def taken(report: str) -> dict[str, float]:
    """Return for each room how many per cent of its branches were taken, from what coverage reports as JSON."""
    covered: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for path, file in json.loads(report)["files"].items():
        room = Path(path).parts[1] if path.startswith("buildtool/") else ""
        covered[room] += file["summary"]["covered_branches"]
        there[room] += file["summary"]["num_branches"]
    return {room: 100 * covered[room] / there[room] if there[room] else 0.0 for room in PURE}


def main(path: str) -> int:
    """Print each room's share; return 1 where one is below the floor."""
    found = taken(Path(path).read_text("utf-8"))
    for room, share in found.items():
        print(f"{room:14} {share:5.1f} % of its branches{'' if share >= FLOOR else f': fewer than {FLOOR} %'}")
    return int(min(found.values()) < FLOOR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
