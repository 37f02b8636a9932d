"""A farm that forgets, with real programs: what has expired is said to have, when and why, wherever one asks."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.e2e.control import Control

pytestmark = pytest.mark.world

PATIENCE = 60.0


def wait_until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def refused(url: str) -> tuple[int, str]:
    """Return the status with which a URL is refused, and what it says."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - the farm's own
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_what_has_expired_is_said_to_have_by_pages_api_transfers_and_requester(control: Control) -> None:
    farm = control.farm
    metaserver = farm.start_metaserver("--web")
    control.server("anna")
    first = control.ask("ann@example.org")
    metaserver.wait_for(rf"build {first['build_id']}\.1 on anna: succeeded")
    hit = control.ask("--no-download", "bob@example.org")
    assert hit["answer"] == "hit"
    control.commit(**{"main.c": control.source("second")})
    second = control.ask("ann@example.org")
    metaserver.wait_for(rf"build {second['build_id']}\.1 on anna: succeeded")
    assert second["build_id"] != first["build_id"]

    assert "logs of 2 builds: " in farm.run("metaserver", "keeping").stdout
    keep = {"logs": {"size": 0}, "artifacts": {"size": 1}, "grace": "0s"}
    dry = farm.run("metaserver", "keeping", "--json", E2E_KEEP=json.dumps(keep))
    told = json.loads(dry.stdout)
    assert [one["number"] for one in told["logs"]["going"]] == [first["build_id"], second["build_id"]]
    assert told["artifacts"]["count"] == len(told["artifacts"]["going"]) == 2
    kept = {int(path.name.partition("-")[0]) for path in (farm.directory / "metaserver/logs").iterdir()}
    assert kept == {first["build_id"], second["build_id"]}  # nothing went by that

    metaserver.stop()
    farm.extra["E2E_KEEP"] = json.dumps(keep)
    farm.start_metaserver("--web")
    state = farm.directory / "metaserver"
    wait_until(lambda: not list((state / "logs").iterdir()) and not list((state / "artifacts").glob("*/*.zip")))

    day = r"expired on \d{4}-\d\d-\d\d \(rule: "
    line = control.refused("--log", first["cancel_id"], code=8)
    said = rf"startcompile.py: the log of build {first['build_id']}, attempt 1, {day}logs of more than 0 B together"
    assert re.match(said, line)
    pages = f"http://127.0.0.1:{farm.ports['BUILDTOOL_WEB_PORT']}"
    code, text = refused(f"{pages}/logs/{first['build_id']}")
    assert (code, bool(re.search(day, text))) == (410, True)
    code, text = refused(f"{pages}/api/v1/builds/{first['build_id']}/log")
    assert (code, json.loads(text)["code"]) == (410, "expired")
    code, text = refused(hit["artifact"]["url"])
    assert (code, bool(re.search(day + "artifacts of more than 1 B together", text))) == (410, True)
    code, text = refused(f"{pages}/build/{first['build_id']}/file?name=program")
    assert (code, bool(re.search(day, text))) == (410, True)

    again = control.ask("ann@example.org")  # it is built again, and not pointed at what is gone
    assert again["answer"] != "hit"
    assert again["build_id"] not in (first["build_id"], second["build_id"])
