"""A farm is watched by a real Prometheus, with the files that the metaserver writes for it."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from buildtool.demo.local_farm import free_ports
from buildtool.model.metrics.alerts import ALERTS
from buildtool.model.metrics.table import TABLE
from tests.e2e.control import Control
from tests.support.packages import require

PATIENCE = 60.0

UNIT = """
rule_files: [buildtool-rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {series: buildtool_metaserver_up, values: "1 1 0 0 0 0 0"}
  - {series: 'buildtool_builds_waiting{platform="linux-ppc",reason="never"}', values: "2x90"}
  - {series: 'buildtool_builds_waiting{platform="linux-ppc",reason="busy"}', values: "7x90"}
  - {series: 'buildtool_last_backup_time_seconds{job="old"}', values: "0x90"}
  - {series: 'buildtool_backup_within_seconds{job="old"}', values: "3000x90"}
  - {series: 'buildtool_last_backup_time_seconds{job="anyage"}', values: "0x90"}
  - {series: 'buildtool_backup_within_seconds{job="anyage"}', values: "0x90"}
  alert_rule_test:
  - {alertname: BuildtoolMetaserverDown, eval_time: 3m, exp_alerts: []}
  - alertname: BuildtoolMetaserverDown
    eval_time: 5m
    exp_alerts:
    - exp_labels: {severity: page}
      exp_annotations:
        summary: The pages get no answer from the metaserver.
        runbook_url: PUBLIC/runbooks/metaserver-down
  - alertname: BuildtoolNothingCanBuild
    eval_time: 61m
    exp_alerts:
    - exp_labels: {severity: ticket, platform: linux-ppc}
      exp_annotations:
        summary: 2 builds for linux-ppc wait, and nothing that is known could build them.
        runbook_url: PUBLIC/runbooks/nothing-can-build
  - {alertname: BuildtoolBackupOld, eval_time: 64m, exp_alerts: []}
  - alertname: BuildtoolBackupOld
    eval_time: 80m
    exp_alerts:
    - exp_labels: {severity: ticket, job: old}
      exp_annotations:
        summary: No good backup was made for 1h 20m 0s.
        runbook_url: PUBLIC/runbooks/backup-old
"""


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - http, as the tests say
        text: str = answer.read().decode()
        return text


def checked(*words: str, **how: Any) -> None:
    """Run promtool; what it says is the failure."""
    done = subprocess.run(
        [require("promtool", "prometheus"), *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **how,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def eventually(found: Callable[[], Any]) -> Any:
    """Return what is found, as soon as it is."""
    until = time.monotonic() + PATIENCE
    while not (seen := found()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)
    return seen


@contextmanager
def prometheus(directory: Path) -> Iterator[Callable[[str], list[Any]]]:
    """Run a Prometheus by the files of a directory; yield what asks it."""
    (port,) = free_ports(1)
    words = [require("prometheus", "prometheus"), f"--web.listen-address=127.0.0.1:{port}"]
    words += [f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'data'}"]
    with (directory / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as running:

        def ask(query: str) -> list[Any]:
            try:
                told = fetch(f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
            except ConnectionError:
                return []
            except urllib.error.HTTPError as error:
                if error.code == 503:  # it starts
                    return []
                raise AssertionError(f"{query}: {error.read().decode()}") from error
            except urllib.error.URLError:
                assert running.poll() is None, (directory / "log").read_text()
                return []
            found: list[Any] = json.loads(told)["data"]["result"]
            return found

        try:
            yield ask
        finally:
            running.terminate()


def test_prometheus_takes_the_files_that_are_written_for_a_farm_and_finds_its_figures(
    control: Control, tmp_path: Path
) -> None:
    promtool = require("promtool", "prometheus")
    assert promtool
    control.farm.extra["BUILDTOOL_LOG"] = "json"
    metaserver, anna = control.farm.start_metaserver("--web"), control.server("anna")
    control.ask("ann@example.org", "--foreground")
    control.ask("ann@example.org", "--foreground")

    for program, words in ((metaserver, "is given to anna"), (anna, "begins")):
        told = [json.loads(line) for line in program.lines]
        (given,) = (one for one in told if words in one["message"])
        assert (given["request"], given["build"], given["attempt"]) == (1, 1, 1), "the ids are the same in all programs"
        assert {one["level"] for one in told} <= {"info", "warn"}

    said = control.farm.run("metaserver", "monitoring", str(tmp_path), "--json")
    assert said.returncode == 0, said.stderr
    written = [Path(name) for name in json.loads(said.stdout)["files"]]
    assert sorted(file.name for file in written) == [
        "buildtool-dashboard.json", "buildtool-rules.yml", "prometheus.yml",
    ]  # fmt: skip
    site = control.farm.public_url
    checked("check", "config", str(tmp_path / "prometheus.yml"))
    (tmp_path / "unit.yml").write_text(UNIT.replace("PUBLIC", site))
    checked("test", "rules", "unit.yml", cwd=tmp_path)
    metrics = fetch(f"{site}/metrics")
    checked("check", "metrics", input=metrics)
    assert set(TABLE) - {line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE")} <= {
        "buildtool_builds_waiting", "buildtool_builds_running", "buildtool_hook_deliveries_total",
    }, "what has not happened is not there, everything else is"  # fmt: skip
    assert fetch(f"{site}/runbooks/disk-full").startswith("BuildtoolDiskFull\n")
    assert fetch(f"{site}/ready") == "ready\n"

    file = tmp_path / "prometheus.yml"
    file.write_text(file.read_text().replace("15s", "1s"))
    with prometheus(tmp_path) as ask:
        (ended,) = eventually(lambda: ask('buildtool_builds_ended_total{outcome="succeeded"}'))
        assert ended["value"][1] == "1"
        (hits,) = ask('buildtool_requests_total{answer="hit"}')
        assert hits["value"][1] == "1"
        (up,) = ask("buildtool_metaserver_up")
        assert up["value"][1] == "1"
        firing = {alert.name for alert in ALERTS if ask(alert.expr)}
        assert firing <= {"BuildtoolCommitsSlow", "BuildtoolReactorSlow", "BuildtoolDiskFull"}, "a farm that is well"
        for panel in json.loads((tmp_path / "buildtool-dashboard.json").read_text())["panels"]:
            for target in panel.get("targets", ()):
                ask(target["expr"].replace("$__rate_interval", "1m"))
