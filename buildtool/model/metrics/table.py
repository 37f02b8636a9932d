"""Every figure that ``/metrics`` has: one table, of which the page, the dashboard and the alerts are made.

Names follow the conventions of Prometheus: units are seconds and bytes, and what only grows ends in ``_total``. Values
of labels are few: of platforms and projects those that are met first, of everything else a fixed list.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import frozen

from buildtool.model.hooks.signing import HookRefusal
from buildtool.model.matching.reasons import Cause
from buildtool.model.records import AttemptEnd, BuildState

OTHER = "other"
"""The value of a label for all that have no place of their own."""

MOST = 40
"""So many values of a label that others make up have places of their own: of platforms, and of projects."""


class MetricKind(enum.Enum):
    """The kind of a figure: the values are Prometheus's words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@frozen
class Metric:
    """A figure: its name, kind and meaning, the labels that it is told by, and for a histogram its bounds.

    ``unit`` is what a dashboard shows it in. ``values`` are those that a label may have, but for labels that others
    make up.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    unit: str = "short"
    values: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers a sample has: one; of a histogram one a bucket, the last without bound, and the sum."""
        return len(self.bounds) + 2 if self.kind is MetricKind.HISTOGRAM else 1


_COUNTER, _GAUGE, _HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds in seconds of what should take milliseconds."""

TURNS = tuple(0.00001 * 2.0**power for power in range(6, 21, 2))
"""Bounds in seconds of the turns of the reactor, among those that are counted: from 0.6 ms to 10 s."""

LONG = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 10_800.0, 43_200.0)
"""Bounds in seconds of what takes minutes or hours."""

SAME_AS_WAITING = tuple(sorted({"halted", "never", *(cause.value for cause in Cause)}))
ANSWERS = ("hit", "joined", "queued", "dispatched", "known-failure", "unconfirmed", OTHER)
SERVER_STATES = ("idle", "building", "paused", "quarantined", "missing", "away")
"""The states of a build server: of several that hold, the one that stands last here."""

UP = Metric("buildtool_metaserver_up", _GAUGE, "Whether the metaserver answers the pages.")
INFO = Metric("buildtool_metaserver_info", _GAUGE, "The version that runs, as a label; always 1.", ("version",))
PROBLEMS = Metric("buildtool_problems", _GAUGE, "Problems that /health and status tell of.")
WAITING = Metric(
    "buildtool_builds_waiting", _GAUGE, "Builds that wait, by platform and by what they wait for.",
    ("platform", "reason"), values=(*SAME_AS_WAITING, "unseen", OTHER),
)  # fmt: skip
OLDEST = Metric("buildtool_oldest_waiting_build_seconds", _GAUGE, "For how long the oldest build waits.", unit="s")
RUNNING = Metric("buildtool_builds_running", _GAUGE, "Builds that run, by platform.", ("platform",))
REQUESTS_OPEN = Metric("buildtool_requests_waiting", _GAUGE, "Requests that wait.")
REQUESTS = Metric(
    "buildtool_requests_total", _COUNTER, "Requests, by what was answered.", ("project", "answer"), values=ANSWERS
)
SAVED = Metric("buildtool_saved_seconds_total", _COUNTER, "Seconds of building that hits made needless.", unit="s")
DISPATCH = Metric(
    "buildtool_dispatch_seconds", _HISTOGRAM, "From when a build was asked for to its first offer.",
    ("platform",), LONG, "s",
)  # fmt: skip
DURATION = Metric(
    "buildtool_build_seconds", _HISTOGRAM, "From when a build server took a build to its end, successes only.",
    ("project",), LONG, "s",
)  # fmt: skip
ENDED = Metric(
    "buildtool_builds_ended_total", _COUNTER, "Builds that ended, by outcome.", ("project", "outcome"),
    values=tuple(one.value for one in BuildState if one not in {BuildState.QUEUED, BuildState.RUNNING}),
)  # fmt: skip
ATTEMPTS = Metric(
    "buildtool_attempts_ended_total", _COUNTER, "Attempts that ended, by how.", ("end",),
    values=tuple(one.name.lower() for one in AttemptEnd),
)  # fmt: skip
LEASES = Metric(
    "buildtool_leases", _GAUGE, "Attempts that are believed to go on, and those not heard of in time.", ("state",),
    values=("live", "missing"),
)  # fmt: skip
LEASES_ENDED = Metric("buildtool_leases_expired_total", _COUNTER, "Attempts that were not heard of for a lease.")
SERVERS = Metric("buildtool_build_servers", _GAUGE, "Build servers, by state.", ("state",), values=SERVER_STATES)
SLOTS = Metric(
    "buildtool_slots", _GAUGE, "Slots of connected build servers.", ("state",), values=("busy", "free"),
)  # fmt: skip
MAILS = Metric("buildtool_mails_unsent", _GAUGE, "Mails in the outbox that are to be sent.")
OUTBOX = Metric("buildtool_oldest_unsent_mail_seconds", _GAUGE, "For how long the oldest mail is to be sent.", unit="s")
REFUSED = Metric("buildtool_mails_refused", _GAUGE, "Mails that a mail server refused for good.")
COMMIT = Metric(
    "buildtool_commit_seconds", _HISTOGRAM, "What a durable commit takes, the way there and back included.", (),
    QUICK, "s",
)  # fmt: skip
COMMITS_FAILED = Metric("buildtool_commits_failed_total", _COUNTER, "Commits that failed.")
EVENTS = Metric("buildtool_events_total", _COUNTER, "Events that were decided.")
TURN = Metric("buildtool_reactor_turn_seconds", _HISTOGRAM, "What a turn of the reactor takes.", (), TURNS, "s")
PAUSE = Metric(
    "buildtool_garbage_pause_seconds", _GAUGE, "The longest pause for garbage in the last minutes.", unit="s"
)
DATABASE = Metric("buildtool_database_bytes", _GAUGE, "Size of the database, its log included.", unit="bytes")
FREE = Metric("buildtool_state_free_bytes", _GAUGE, "Free bytes on the disk of the state directory.", unit="bytes")
DISK = Metric("buildtool_state_disk_bytes", _GAUGE, "All bytes of that disk.", unit="bytes")
BACKUP = Metric(
    "buildtool_last_backup_time_seconds", _GAUGE, "When the last good backup was made, 0 if none is known of.", unit="s"
)
BACKUP_WITHIN = Metric(
    "buildtool_backup_within_seconds", _GAUGE, "How old it may be, as backup_within says; 0 for any age.", unit="s"
)
ARTIFACTS = Metric("buildtool_artifacts", _GAUGE, "Artifacts that are given out.")
ARTIFACT_BYTES = Metric("buildtool_artifact_bytes", _GAUGE, "Bytes of these artifacts.", unit="bytes")
DESCRIPTORS = Metric("buildtool_metaserver_open_fds", _GAUGE, "Files and connections that the metaserver has open.")
DESCRIPTORS_MOST = Metric("buildtool_metaserver_max_fds", _GAUGE, "As many as it may have open.")
MEMORY = Metric("buildtool_metaserver_resident_memory_bytes", _GAUGE, "Memory of the metaserver.", unit="bytes")
PROCESSOR = Metric("buildtool_metaserver_cpu_seconds_total", _COUNTER, "Processor time of the metaserver.", unit="s")
HOOKS = Metric(
    "buildtool_hook_deliveries_total", _COUNTER, "Deliveries of forges, by what became of them.",
    ("project", "outcome"), values=("taken", "repeated", "ping", "ignored", *(one.value for one in HookRefusal)),
)  # fmt: skip
STARTED = Metric("buildtool_metaserver_start_time_seconds", _GAUGE, "When the metaserver was started.", unit="s")

TABLE: Mapping[str, Metric] = {
    one.name: one
    for one in (
        UP, INFO, PROBLEMS, WAITING, OLDEST, RUNNING, REQUESTS_OPEN, REQUESTS, SAVED, DISPATCH, DURATION, ENDED,
        ATTEMPTS, LEASES, LEASES_ENDED, SERVERS, SLOTS, MAILS, OUTBOX, REFUSED, COMMIT, COMMITS_FAILED, EVENTS, TURN,
        PAUSE, DATABASE, FREE, DISK, ARTIFACTS, ARTIFACT_BYTES, DESCRIPTORS, DESCRIPTORS_MOST, MEMORY, PROCESSOR,
        STARTED, BACKUP, BACKUP_WITHIN, HOOKS,
    )
}  # fmt: skip
"""Every figure by its name."""
