"""The newest binary that there is, by the real programs: found at once, fetched, and nothing built for it."""

import hashlib
import json
import platform
import subprocess
from pathlib import Path

from tests.e2e.control import Control
from tests.support.packages import require


def test_the_newest_binary_of_a_branch_is_fetched_and_it_is_said_how_far_it_is_behind(
    control: Control, tmp_path: Path
) -> None:
    control.farm.start_metaserver()
    control.server("anna")
    first = control.commits[0]
    none = control.refused("--latest", "--greeting=hello", code=15)
    assert "has no binary of HEAD that would do: all of it was looked at" in none
    assert "--revision HEAD" in none
    control.ask("--revision=main", "--greeting=hello", "--wait", "--no-download", "ann@example.org")

    for words in ("second", "third"):
        control.commit(**{"main.c": control.source(words)})
    control.git("branch", "feature/one", first)
    told = control.ask("--latest", "--greeting=hello", f"--output={tmp_path}")
    assert (told["artifact"]["revision"], told["branch"], told["looked"]) == (first, "HEAD", told["behind"] + 1)
    assert Path(told["path"]).is_file()
    control.ask("--revision=main", "--greeting=goodbye", "--wait", "--no-download", "ann@example.org")
    for branch, words in (("main", "2 commits behind main"), ("feature/one", "which is where feature/one is")):
        said = control.farm.request(f"--revision=latest:{branch}", "--greeting=hello", "--no-download")
        assert f"newest of {branch} with a binary: {first[:12]}, {words}, of " in said.stdout, said.stderr

    assert control.ask("--latest", "--greeting=hello", "--greeting=goodbye", "--no-download")["exit"] == 0
    refused = control.ask("--latest", "--greeting=hello", "--arch=ppc", "--no-download", code=15)
    assert refused["error"]["code"] == "not-found"
    assert "did you mean main?" in control.refused("--revision=latest:mian", "--greeting=hello", code=8)
    assert "--force is about building" in control.refused("--latest", "--greeting=hello", "--force", code=2)
    assert "--revision latest:main" in control.refused("--latest", "--revision=main", "--greeting=hello", code=2)
    assert "builds nothing" in control.refused("explain", "--latest", "--greeting=hello", code=2)
    asked = control.ask("--greeting=hello", "--arch=ppc", "ann@example.org")
    assert asked["build_id"] == 3, "none was made in between"


def test_a_dockerfile_names_the_newest_binary_by_an_address_that_stays(control: Control, tmp_path: Path) -> None:
    curl = require("curl", "curl")
    control.farm.start_metaserver("--web")
    control.server("anna")
    here = platform.machine()
    stays = f"{control.farm.public_url}/get/greeter/feature/one/linux-{here}?greeting=hello"
    control.git("branch", "feature/one")

    def fetched(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([curl, "-sS", *words], capture_output=True, text=True, check=False, cwd=tmp_path)

    none = fetched("-w", "%{http_code}", stays)
    assert none.stdout.startswith("greeter has no binary of feature/one for linux-"), none.stderr
    assert none.stdout.endswith("\n404")
    assert fetched("-f", "-L", "-o", "none.zip", stays).returncode != 0
    made = control.ask("--revision=feature/one", "--greeting=hello", "--wait", "--no-download", "ann@example.org")

    got = fetched("-f", "-L", "-D", "headers", "-o", "greeter.zip", stays)
    assert got.returncode == 0, got.stderr
    digest = hashlib.sha256((tmp_path / "greeter.zip").read_bytes()).hexdigest()
    assert digest == made["artifact"]["digest"]
    headers = (tmp_path / "headers").read_text().lower()
    assert f"x-artifact-sha256: {digest}" in headers
    assert "repr-digest: sha-256=:" in headers, "of what is sent in the end"
    tag = next(line.split()[1] for line in headers.splitlines() if line.startswith("etag:"))
    assert fetched("-w", "%{http_code}", "-H", f"If-None-Match: {tag}", stays).stdout == "304"
    assert json.loads(fetched("-H", "Accept: application/json", stays).stdout)["artifact"]["digest"] == digest

    nightly = f"{control.farm.public_url}/get/greeter/channel:nightly/linux-{here}?greeting=hello"
    assert f"x-artifact-sha256: {digest}" in fetched("-I", nightly).stdout.lower()
    told = json.loads(fetched(f"{control.farm.public_url}/api/v1/projects/greeter/channels").stdout)
    (channel,) = told["found"]
    assert (channel["name"], channel["revision"], channel["missing"]) == ("nightly", made["revision"], [])
    assert "there is no channel" in fetched(nightly.replace("nightly", "nightyl")).stdout
