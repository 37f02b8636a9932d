"""The rules by which Prometheus says that something needs the operator, each with the page that says what to do."""

from __future__ import annotations

import json
from collections.abc import Sequence

from attrs import frozen

JOB = "buildtool"
"""What the scrape is called, in ``prometheus.yml`` and in the rules."""

PAGE, TICKET = "page", "ticket"
"""How soon somebody has to look: at once, or in the next days."""


@frozen
class Alert:
    """A rule: what has to hold for how long, how soon an operator has to look, and which runbook says what to do."""

    name: str
    runbook: str
    expr: str
    lasts: str
    severity: str
    summary: str


def _quantile(part: float, name: str) -> str:
    return f"histogram_quantile({part}, sum by (le) (rate({name}_bucket[10m])))"


ALERTS: Sequence[Alert] = (
    Alert(
        "BuildtoolMetaserverDown", "metaserver-down", "buildtool_metaserver_up == 0", "2m", PAGE,
        "The pages get no answer from the metaserver.",
    ),
    Alert(
        "BuildtoolPagesDown", "pages-down", f'up{{job="{JOB}"}} == 0', "5m", PAGE,
        "The pages do not answer Prometheus.",
    ),
    Alert(
        "BuildtoolRestartsOften", "restarts-often", "changes(buildtool_metaserver_start_time_seconds[1h]) > 2", "0m",
        TICKET, "The metaserver was started {{ $value }} times within an hour.",
    ),
    Alert(
        "BuildtoolProblems", "problems", "buildtool_problems > 0", "15m", TICKET,
        "The metaserver tells of {{ $value }} problems.",
    ),
    Alert(
        "BuildtoolNothingCanBuild", "nothing-can-build",
        'sum by (platform) (buildtool_builds_waiting{reason=~"never|halted"}) > 0', "1h", TICKET,
        "{{ $value }} builds for {{ $labels.platform }} wait, and nothing that is known could build them.",
    ),
    Alert(
        "BuildtoolQueueLong", "queue-long", "buildtool_oldest_waiting_build_seconds > 4 * 3600", "15m", TICKET,
        "A build has waited for {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "BuildtoolNoBuildServer", "no-build-server", "sum(buildtool_slots) == 0", "10m", PAGE,
        "No build server is connected.",
    ),
    Alert(
        "BuildtoolServersMissing", "servers-missing", 'buildtool_build_servers{state="missing"} > 0', "1h", TICKET,
        "{{ $value }} build servers are missing.",
    ),
    Alert(
        "BuildtoolServersQuarantined", "servers-quarantined", 'buildtool_build_servers{state="quarantined"} > 0', "1h",
        TICKET, "{{ $value }} build servers are in quarantine.",
    ),
    Alert(
        "BuildtoolAttemptsBreak", "attempts-break",
        'sum(increase(buildtool_attempts_ended_total{end=~"broken|lost|limited"}[1h])) > 5', "5m", TICKET,
        "{{ $value | humanize }} attempts within an hour ended by no fault of their project.",
    ),
    Alert(
        "BuildtoolLeasesExpire", "leases-expire", "increase(buildtool_leases_expired_total[1h]) > 5", "5m", TICKET,
        "{{ $value | humanize }} attempts within an hour were not heard of for a lease.",
    ),
    Alert(
        "BuildtoolBuildsFail", "builds-fail",
        'sum by (project) (increase(buildtool_builds_ended_total{outcome=~"failed|unbuildable"}[6h])) > 10 and '
        'sum by (project) (increase(buildtool_builds_ended_total{outcome="succeeded"}[6h])) == 0', "15m", TICKET,
        "{{ $value | humanize }} builds of {{ $labels.project }} failed within six hours, and none succeeded.",
    ),
    Alert(
        "BuildtoolMailStuck", "mail-stuck", "buildtool_oldest_unsent_mail_seconds > 3600", "10m", TICKET,
        "A mail has been waiting for {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "BuildtoolMailsRefused", "mails-refused", "buildtool_mails_refused - (buildtool_mails_refused offset 1h) > 5",
        "0m", TICKET, "A mail server refused {{ $value }} mails for good within an hour.",
    ),
    Alert(
        "BuildtoolCommitsFail", "commits-fail", "increase(buildtool_commits_failed_total[10m]) > 0", "0m", PAGE,
        "What is decided cannot be committed.",
    ),
    Alert(
        "BuildtoolCommitsSlow", "commits-slow", f"{_quantile(0.99, 'buildtool_commit_seconds')} > 0.5", "15m", TICKET,
        "One commit in a hundred takes longer than {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "BuildtoolReactorSlow", "reactor-slow", f"{_quantile(0.999, 'buildtool_reactor_turn_seconds')} > 0.5", "15m",
        TICKET, "One turn of the reactor in a thousand takes longer than {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "BuildtoolDiskFull", "disk-full",
        "buildtool_state_free_bytes < 0.05 * buildtool_state_disk_bytes or "
        "predict_linear(buildtool_state_free_bytes[6h], 86400) < 0", "30m", PAGE,
        "The disk of the state directory is full, or is by tomorrow.",
    ),
    Alert(
        "BuildtoolBackupOld", "backup-old",
        "time() - buildtool_last_backup_time_seconds > buildtool_backup_within_seconds and "
        "buildtool_backup_within_seconds > 0", "15m", TICKET,
        "No good backup was made for {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "BuildtoolDescriptorsShort", "descriptors-short",
        "buildtool_metaserver_open_fds / buildtool_metaserver_max_fds > 0.8", "5m", PAGE,
        "The metaserver has {{ $value | humanizePercentage }} of the files and connections open that it may have.",
    ),
)  # fmt: skip
"""Every rule."""


def rules(public_url: str) -> str:
    """Return the file of rules for a farm whose pages, which have the runbooks, are at ``public_url``."""
    runbooks = f"{public_url.rstrip('/')}/runbooks"
    lines = ["# Made by `bin/metaserver monitoring`: make it anew after an upgrade.", "groups:", "- name: buildtool"]
    lines.append("  rules:")
    for one in ALERTS:
        lines += [
            f"  - alert: {one.name}",
            f"    expr: {_quoted(one.expr)}",
            f"    for: {one.lasts}",
            "    labels:",
            f"      severity: {one.severity}",
            "    annotations:",
            f"      summary: {_quoted(one.summary)}",
            f"      runbook_url: {_quoted(f'{runbooks}/{one.runbook}')}",
        ]
    return "\n".join(lines) + "\n"


def scrape(scheme: str, target: str, path: str) -> str:
    """Return the part of ``prometheus.yml`` that has the figures of a farm read, and these rules looked at."""
    return f"""# Made by `bin/metaserver monitoring`: merge it into prometheus.yml.
# Where `rights` lets nobody see the farm without a key: bin/metaserver token prometheus --may "see farm" > farm.token,
# and add to the job  authorization: {{credentials_file: farm.token}}
rule_files:
- {RULES_FILE}
scrape_configs:
- job_name: {JOB}
  scrape_interval: 15s
  scheme: {scheme}
  metrics_path: {_quoted(path)}
  static_configs:
  - targets: [{_quoted(target)}]
"""


RULES_FILE = "buildtool-rules.yml"


def _quoted(text: str) -> str:
    """Return a text as YAML has it, which is as JSON has it."""
    return json.dumps(text, ensure_ascii=False)
