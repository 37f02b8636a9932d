"""``python -m tests.hostile``: attack a farm; what is attacked stands in JSON on stdin, with ``attacks``, the names.

Prints ``under way`` when all attacks have begun and ``over`` when their time is.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from buildtool.model.servers import ProjectSkill
from tests.hostile.attacks import ATTACKS, Target


def main() -> int:
    """Run what stdin asks for, each attack in a thread of its own."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    until = time.monotonic() + asked["seconds"]
    skill = ProjectSkill(*asked["skill"])
    ports = asked["control"], asked["transfer"], asked["web"]
    threads = []
    for name in asked["attacks"]:
        target = Target(*ports, skill, asked["commit"], asked["option"], until)
        threads.append(threading.Thread(target=ATTACKS[name], args=(target,), name=name, daemon=True))
    for thread in threads:
        thread.start()
    print("under way", flush=True)
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()) + 1.0)
    print("over", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
