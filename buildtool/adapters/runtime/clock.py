"""Wall time."""

from __future__ import annotations

import time


class WallClock:
    """Implements ``ports.Clock`` by the machine's own clock."""

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return time.time()
