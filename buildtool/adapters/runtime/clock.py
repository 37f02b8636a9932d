"""Wall time."""

from __future__ import annotations

import time


class WallClock:
    """The ``ports.Clock`` of the machine."""

    def wall(self) -> float:
        return time.time()
