"""The doctors of real programs: well where all is, and each names what was broken."""

import json
from pathlib import Path

from tests.e2e.control import Control
from tests.e2e.test_identities import joined, keyed, program  # noqa: F401 - a fixture
from tests.e2e.test_operator import operate
from tests.e2e.test_reaching import dead_port, pb_port


def troubles(farm: Control, name: str, *words: str, code: int = 0, build_dir: str = "") -> dict[str, str]:
    """Return what a doctor finds wrong, with the mends, after checking its exit code."""
    environment = {"BUILDTOOL_BUILD_DIR": build_dir} if build_dir else {}
    done = program(farm, name, "--doctor", "--json", *words, **environment)
    assert done.returncode == code, f"{done.stderr}{done.stdout}"
    told = json.loads(done.stdout)
    assert told["ok"] is (code == 0)
    return {one["what"]: one["mend"] for one in told["checks"] if one["verdict"] != "ok"}


def test_each_program_of_a_farm_with_keys_is_well_and_tells_what_is_not(keyed: Control) -> None:  # noqa: F811
    anna = joined(keyed, "anna")
    place = str(keyed.farm.directory / "build-anna")
    assert set(troubles(keyed, "metaserver")) <= {"mail", "disk"}
    assert set(troubles(keyed, "buildserver.py", build_dir=place)) <= {"disk"}
    anna.stop()
    (Path(place) / "anna" / "follow" / "of-once").touch()
    assert "left over" in troubles(keyed, "buildserver.py", build_dir=place)
    dead = f"tls:127.0.0.1:{dead_port(keyed)}"
    owners = keyed.farm.directory / "build-anna" / "buildserver.toml"
    owners.write_text('name = "rita"\nplatforms = ["plan9"]\nsecret_files = ["nope"]\n')
    found = troubles(keyed, "buildserver.py", "--host", dead, code=1, build_dir=place)
    assert {"port", "machine", "platforms", "secret files"} <= set(found)
    owners.write_text("max_build = 2\n")
    assert "options" in troubles(keyed, "buildserver.py", code=1, build_dir=place)
    stranger = troubles(keyed, "startcompile.py", code=1)
    assert "protocol" in stranger
    line = operate(keyed, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")
    assert program(keyed, "startcompile.py", "join", BUILDTOOL_JOIN=line).returncode == 0
    assert set(troubles(keyed, "startcompile.py")) <= {"disk"}
    told = program(keyed, "startcompile.py", "doctor").stdout.splitlines()
    assert any(one.startswith("ok       port") and f":{pb_port(keyed)} takes connections" in one for one in told)
    assert "0 problems" in told[-1]
