"""What goes wrong, how often in this world, and how often it did."""

from __future__ import annotations

import random
from collections import Counter

KINDS = (
    "loss", "delay", "reorder", "resend", "half_open", "partition", "metaserver_crash", "server_crash", "slow_disk",
    "full_disk", "failed_write", "torn_write", "failing_commit", "refusal", "lie_late", "lie_double",
    "lie_contradiction", "lie_foreign", "mail_defer", "mail_drop", "mail_duplicate", "requester_resend",
    "requester_cancel", "requester_leave", "clock_step", "freeze", "herd", "second_start",
    "failing_enrolment", "intrusion", "revocation", "reinstall", "restore", "meddling", "barring",
    "visit", "mail_return", "mail_forged", "ref_move", "owner", "downtime", "raise",
)  # fmt: skip
"""Every kind of fault, as the report names it."""

RATES = {
    "delay": 0.01, "loss": 0.02, "reorder": 0.02, "resend": 0.05, "slow_disk": 0.003, "full_disk": 0.004,
    "failed_write": 0.004, "failing_commit": 0.02, "refusal": 0.08, "mail_defer": 0.1, "mail_drop": 0.08,
    "mail_duplicate": 0.08, "requester_cancel": 0.08, "requester_leave": 0.15, "requester_resend": 0.1,
    "crash_here": 0.02, "lie_late": 0.3, "lie_double": 0.3, "lie_contradiction": 0.3, "lie_foreign": 0.3,
}  # fmt: skip
"""How likely a fault is where it could be, on average over all worlds."""


class Faults:
    """One world's faults. Worlds differ: in each, some kinds are frequent, some rare and some absent."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.on = False
        self.counts: Counter[str] = Counter()
        self.rates = {kind: rate * rng.choice((0.0, 0.5, 1.0, 1.0, 2.0)) for kind, rate in RATES.items()}
        self.rates["failing_enrolment"] = 0.1

    def happens(self, kind: str, *, count: bool = True) -> bool:
        """Say whether a fault of this kind happens here and now."""
        if not self.on or self.rng.random() >= self.rates[kind]:
            return False
        if count:
            self.count(kind)
        return True

    def count(self, kind: str, times: int = 1) -> None:
        self.counts[kind] += times

    def stop(self) -> None:
        """From now on nothing goes wrong."""
        self.on = False
