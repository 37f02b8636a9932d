"""The words for how things stand with a configuration that is followed: the same wherever they are shown.

Covered by tests/programs/buildserver/following/test_starting.py.
"""

from __future__ import annotations

from buildtool.buildserver.following import ConfigurationFollower
from buildtool.model.guest.follow_record import FollowRecord
from buildtool.model.guest.following import SHORT
from buildtool.model.text import moment_words


def record_words(record: FollowRecord, trouble: str = "") -> str:
    """Return in a line what holds, and what is in the way of what is new."""
    holds = "no commit of it is used yet"
    if record.holds:
        holds = f"{record.holds[:SHORT]} holds since {moment_words(record.since)}"
    if record.lost:
        holds = f"{record.holds[:SHORT]}, which held, was not loaded: {record.lost}"
    words = [holds, record.words, trouble]
    if record.failed and record.failed[:SHORT] not in record.words:
        words.insert(1, f"{record.failed[:SHORT]} could not be used: {record.failed_words}")
    return "; ".join(one for one in words if one)


def following_status(follower: ConfigurationFollower) -> dict[str, object]:
    """Return how things stand, as plain values."""
    record = follower.record
    return {
        "of": follower.name,
        "holds": record.holds,
        "since": record.since or None,
        "tip": record.tip,
        "seen_at": record.seen_at or None,
        "trouble": follower.trouble,
        "words": record_words(record, follower.trouble),
    }
