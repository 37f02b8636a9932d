"""A disk that changes what it holds: nobody is given wrong bytes, the operator is told, and it is built again."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.e2e.control import Control
from tests.support.rewriting import rewrite


@pytest.fixture
def watched(control: Control) -> Control:
    control.farm.start_mail()
    control.farm.start_metaserver("--web")
    return control


def health(control: Control) -> tuple[int, dict[str, Any]]:
    """What monitoring is told."""
    try:
        with urllib.request.urlopen(f"{control.farm.public_url}/health", timeout=20) as answer:  # noqa: S310 - its own
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_corrupt_artifact_is_quarantined_told_on_health_and_made_again(watched: Control) -> None:
    watched.server("anna")
    metaserver = watched.farm.programs[1]
    watched.ask("--foreground", "--output", "one.zip", "ann@example.org")
    assert health(watched)[0] == 200
    state = watched.farm.directory / "metaserver"
    (path,) = (state / "artifacts").glob("*/*.zip")
    rewrite(path, path.read_bytes()[:-1] + b"\xff")

    watched.ask("--output", "two.zip", "bob@example.org", code=9)
    metaserver.wait_for("is damaged, in quarantine, and withdrawn")
    assert not path.exists()
    assert (state / "quarantine" / path.name).exists()

    again = watched.ask("--foreground", "--output", "two.zip", "bob@example.org")
    assert again["answer"] == "dispatched"
    one, two = watched.farm.directory / "one.zip", watched.farm.directory / "two.zip"
    assert two.read_bytes() == one.read_bytes()

    metaserver.wait_for(r"trouble: a file waits in quarantine/")
    code, told = health(watched)
    assert (code, told["status"], told["metaserver"]) == (503, "troubled", "troubled")
    assert "quarantine/" in told["problems"][0]
    (state / "quarantine" / path.name).unlink()
    metaserver.wait_for(r"over: a file waits in quarantine/")
    assert health(watched)[0] == 200
