"""Which figures there are, and how one is said: a JSON line with value, unit, single values, and its limit.

A limit is what the same machine does, in the same run, when nothing but the one thing is done that the figure cannot
do without: starting processes, committing, one round trip. The target is what was set out to be reached.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from attrs import define, field, frozen

from tests.hostile.attacks import ATTACKS


@frozen
class Spec:
    """One figure: its name and unit, the name of its limit, and its target ("" and None where there is none)."""

    name: str
    unit: str
    limit: str = ""
    target: float | None = None
    least: bool = True
    """Whether the target is the least that will do, or the most."""


def _most(name: str, unit: str, target: float | None, limit: str = "") -> Spec:
    return Spec(name, unit, limit, target, least=False)


LIMITS = (
    Spec("limit_process_starts_per_s", "1/s"),
    Spec("limit_durable_commits_per_s", "1/s"),
    Spec("limit_pb_round_trips_per_s", "1/s"),
    Spec("limit_http_stream_mib_per_s", "MiB/s"),
    Spec("limit_http_stream_at_60ms_mib_per_s", "MiB/s"),
    Spec("limit_klein_pages_per_s", "1/s"),
    Spec("limit_git_switched_tree_ms_p50", "ms"),
)

ATTACKED = {name: f"attack_{name}_ms_p99" for name in (*ATTACKS, "all")}
"""The figure of what honest people notice meanwhile, by the name of the attack."""

TLS = "tls_"
"""How the name of a figure begins that is taken with keys and TLS, in the same run as that without."""

BOXED = "boxed_"
"""The same of one whose builds run in sandboxes; all others run without."""

FIGURES = (
    *LIMITS,
    Spec("noop_builds_per_s_1", "1/s", "limit_process_starts_per_s"),
    Spec("noop_builds_per_s_4", "1/s", "limit_process_starts_per_s"),
    Spec("noop_builds_per_s_16", "1/s", "limit_process_starts_per_s", 80),
    Spec("tls_noop_builds_per_s_1", "1/s", "noop_builds_per_s_1"),
    Spec("tls_noop_builds_per_s_4", "1/s", "noop_builds_per_s_4"),
    Spec("boxed_noop_builds_per_s_1", "1/s", "noop_builds_per_s_1"),
    Spec("boxed_noop_builds_per_s_16", "1/s", "noop_builds_per_s_16"),
    _most("submit_to_start_ms_p50", "ms", 15),
    _most("tls_submit_to_start_ms_p50", "ms", None, "submit_to_start_ms_p50"),
    _most("boxed_submit_to_start_ms_p50", "ms", None, "submit_to_start_ms_p50"),
    _most("submit_to_start_ms_p95", "ms", None),
    _most("submit_branch_to_start_ms_p50", "ms", 30),
    _most("submit_to_start_behind_5000_ms_p50", "ms", 15),
    Spec("hits_per_s", "1/s", "limit_pb_round_trips_per_s", 1_500),
    _most("hit_ms_p99", "ms", 15),
    Spec("tls_hits_per_s", "1/s", "hits_per_s"),
    _most("decision_submission_ms_p99", "ms", 1),
    _most("decision_server_idle_ms_p99", "ms", 1),
    _most("decision_server_registers_ms_p99", "ms", 1),
    _most("decision_artifact_finished_ms_p99", "ms", 1),
    _most("decision_ms_p99", "ms", 1),
    _most("scrape_ms_10000_queued", "ms", 50),
    _most("scrape_away_ms_10000_queued", "ms", 50),
    _most("switched_tree_ms_p50", "ms", 120, "limit_git_switched_tree_ms_p50"),
    _most("cancel_to_term_ms_p99", "ms", 1_000),
    _most("owner_back_to_frozen_ms_p99", "ms", 1_000),
    Spec("upload_mib_per_s", "MiB/s", "limit_http_stream_mib_per_s", 300),
    Spec("download_mib_per_s", "MiB/s", "limit_http_stream_mib_per_s"),
    Spec("upload_at_60ms_mib_per_s", "MiB/s", "limit_http_stream_at_60ms_mib_per_s"),
    _most("metaserver_rss_mib_idle", "MiB", 110),
    _most("metaserver_rss_mib_50000_queued", "MiB", 200),
    _most("restart_s_20000_queued", "s", 2),
    _most("herd_1000_registered_s", "s", 10),
    _most("herd_request_ms_p99", "ms", 1_000),
    _most("tls_herd_1000_registered_s", "s", 10, "herd_1000_registered_s"),
    _most("tls_herd_request_ms_p99", "ms", 1_000, "herd_request_ms_p99"),
    Spec("page_requests_per_s", "1/s", "limit_klein_pages_per_s", 500),
    Spec("lists_per_s", "1/s", "limit_klein_pages_per_s", 500),
    _most("list_ms_p99", "ms", 50),
    _most("list_cold_ms_p99", "ms", 50),
    Spec("live_ms_p50", "ms"),
    _most("live_last_ms", "ms", 200, "live_ms_p50"),
    _most("live_web_mib", "MiB", 60),
    _most("live_burst_messages", "", 20),
    _most("page_first_paint_ms", "ms", 250),
    _most("page_first_view_kb", "KB", 40),
    _most("log_first_error_ms", "ms", 700),
    _most("log_any_line_ms", "ms", 200),
    _most("log_search_ms", "ms", 700),
    _most("log_heap_mib", "MiB", 30),
    Spec("start_python_cpu_ms", "ms"),
    Spec("start_reactor_cpu_ms", "ms"),
    _most("start_help_cpu_ms", "ms", None, "start_python_cpu_ms"),
    _most("start_hit_cpu_ms", "ms", 150, "start_reactor_cpu_ms"),
    _most("start_hit_ms", "ms", 150),
    Spec("attack_rest_ms_p99", "ms"),
    *(_most(name, "ms", 250, "attack_rest_ms_p99") for name in ATTACKED.values()),
    _most("attack_failed_visits", "", 0),
    _most("attack_left_mib", "MiB", 50),
    _most("attack_log_kib", "KiB", 1_024),
    _most("attack_end_s", "s", 10),
    Spec("siege_rest_ms_p99", "ms"),
    _most("siege_ms_p99", "ms", None, "siege_rest_ms_p99"),
    _most("siege_failed_visits", "", 0),
    _most("siege_mib", "MiB", 50),
    _most("siege_log_lines_a_connection", "", 1),
    _most("siege_log_kib_an_hour", "KiB", 1_024),
    _most("siege_descriptors_left", "", 0),
)

BY_LIMIT: Mapping[str, Callable[[float], float]] = {
    "upload_at_60ms_mib_per_s": lambda limit: limit / 2,
    "siege_ms_p99": lambda limit: 2 * limit,
    "tls_noop_builds_per_s_1": lambda limit: 0.85 * limit,
    "tls_noop_builds_per_s_4": lambda limit: 0.85 * limit,
    "tls_submit_to_start_ms_p50": lambda limit: limit + 2,
    "boxed_noop_builds_per_s_16": lambda limit: 0.85 * limit,
    "boxed_submit_to_start_ms_p50": lambda limit: limit + 8,
}
"""Figures whose target follows from their limit, and how."""

BY_NAME = {spec.name: spec for spec in FIGURES}


@frozen
class Figure:
    """A figure that was taken: its value, its limit's value (None where it has none), and the single values."""

    spec: Spec
    value: float
    limit: float | None
    runs: tuple[float, ...]

    def line(self) -> str:
        """Return the figure as one line of JSON."""
        return json.dumps(
            {
                "name": self.spec.name,
                "value": _rounded(self.value),
                "unit": self.spec.unit,
                "limit": None if self.limit is None else _rounded(self.limit),
                "runs": [_rounded(value) for value in self.runs],
            }
        )

    def target(self) -> float | None:
        """Return what was to be reached."""
        follows = BY_LIMIT.get(self.spec.name)
        if follows is not None and self.limit is not None:
            return follows(self.limit)
        return self.spec.target

    def words(self) -> str:
        """Return the figure for people, with its target and whether it was reached."""
        said = f"{self.spec.name:<38} {_rounded(self.value):>10} {self.spec.unit}"
        if self.limit is not None:
            said += f", limit {_rounded(self.limit)}"
        target = self.target()
        if target is None:
            return said
        reached = self.value >= target if self.spec.least else self.value <= target
        sign = "at least" if self.spec.least else "at most"
        return f"{said}; {sign} {_rounded(target)}: {'reached' if reached else 'NOT REACHED'}"


def _rounded(value: float) -> float:
    return round(value, 1 if value >= 100 else 3)


@define
class Board:
    """The figures taken so far. ``wanted`` are the names to take; each is said once, to ``say``, when it is known."""

    wanted: frozenset[str]
    say: Callable[[Figure], None]
    taken: dict[str, Figure] = field(factory=dict)

    def wants(self, *names: str) -> bool:
        """Say whether any of these figures is wanted."""
        return not self.wanted.isdisjoint(names)

    def put(self, name: str, runs: Sequence[float], value: float | None = None) -> None:
        """Note a figure: the median of ``runs`` unless ``value`` says something else of them."""
        if name in self.taken or not runs:
            raise ValueError(f"{name} was taken already, or has no values")
        spec = BY_NAME[name]
        limit = self.taken.get(spec.limit)
        figure = Figure(spec, median(runs) if value is None else value, limit.value if limit else None, tuple(runs))
        self.taken[name] = figure
        if name in self.wanted:
            self.say(figure)


def chosen(words: Iterable[str]) -> frozenset[str]:
    """Return the names meant by ``words``, each a name or the beginning of some, and their limits; all for none.

    Raises LookupError for a word that means nothing.
    """
    found: set[str] = set()
    for word in words:
        meant = {word} if word in BY_NAME else {name for name in BY_NAME if name.startswith(word)}
        if not meant:
            raise LookupError(f"there is no figure {word!r}; there are {', '.join(BY_NAME)}")
        found |= meant
    names = found or set(BY_NAME)
    return frozenset(names | {BY_NAME[name].limit for name in names} - {""})
