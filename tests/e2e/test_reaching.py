"""How real programs reach a metaserver: by endpoint strings in every place, over several addresses, with keys."""

import json
from pathlib import Path

import pytest

from tests.e2e.control import Control
from tests.e2e.test_identities import joined, keyed, program  # noqa: F401 - a fixture
from tests.e2e.test_operator import operate


def pb_port(farm: Control) -> int:
    return farm.farm.ports["BUILDTOOL_PB_PORT"]


def dead_port(farm: Control) -> int:
    """Return a port at which nothing listens: the pages are not served."""
    return farm.farm.ports["BUILDTOOL_WEB_PORT"]


def files_of(directory: Path) -> str:
    """Return the part of an endpoint string that shows the key of an identity, as other programs keep them."""
    said = json.loads((directory / "identity.json").read_text())
    roots = directory / "roots"
    roots.mkdir(exist_ok=True)
    (roots / "farm.pem").write_text("".join(said["authorities"]))
    (directory / "own.pem").write_text(said["certificate"])
    return f"trustRoots={roots}:certificate={directory}/own.pem:privateKey={directory}/key.pem"


def test_endpoint_strings_work_on_the_command_line_and_in_the_environment_and_a_build_is_delivered(
    keyed: Control,  # noqa: F811
) -> None:
    anna = joined(keyed, "anna")
    assert anna.stop() == 0
    at = f"TLS:127.0.0.1:{pb_port(keyed)}"
    identity = keyed.farm.directory / "build-anna" / "identity"
    told = files_of(identity)
    identity.rename(keyed.directory / "elsewhere")
    told = told.replace(str(identity), str(keyed.directory / "elsewhere"))
    again = keyed.farm.start(
        "again",
        [str(keyed.farm.root / "bin" / "buildserver.py"), "--name", "anna", "--host", f"{at}:{told}"],
        E2E_SERVER="anna",
    )
    again.wait_for(f"registered at 127.0.0.1:{pb_port(keyed)}")
    line = operate(keyed, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")
    assert program(keyed, "startcompile.py", "join", line).returncode == 0
    (home,) = (keyed.directory / "home" / "buildtool" / "metaservers").iterdir()
    own = home.rename(keyed.directory / "ben")
    done = program(
        keyed, "startcompile.py", "--json", "--foreground", "ben@example.org", BUILDTOOL_HOST=f"{at}:{files_of(own)}"
    )
    assert json.loads(done.stdout.splitlines()[-1])["build_state"] == "succeeded", done.stderr


def test_a_farm_that_trusts_takes_plain_connections_by_tcp_and_passes_over_a_dead_address(control: Control) -> None:
    control.farm.start_metaserver()
    ways = ("--host", f"tcp:127.0.0.1:{dead_port(control)}", "--host", f"tcp:127.0.0.1:{pb_port(control)}")
    control.server("anna", *ways)
    done = program(control, "startcompile.py", "--json", "--foreground", *ways, "ben@example.org")
    assert json.loads(done.stdout.splitlines()[-1])["build_state"] == "succeeded", done.stderr


def test_a_config_py_names_endpoints_beside_which_files_lie(keyed: Control) -> None:  # noqa: F811
    line = operate(keyed, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")
    assert program(keyed, "startcompile.py", "join", line).returncode == 0
    (home,) = (keyed.directory / "home" / "buildtool" / "metaservers").iterdir()
    own = home.rename(keyed.directory / "ben")
    beside = files_of(own).replace(f"{keyed.directory}/", "")
    config = keyed.directory / "ben.py"
    config.write_text(
        f"host = ['tls:127.0.0.1:{dead_port(keyed)}:{beside}', 'tls:127.0.0.1:{pb_port(keyed)}:{beside}']\n"
        f"projects = [load({str(keyed.farm.config)!r})]\n"
    )
    environment = {"BUILDTOOL_CONFIG": str(config), "BUILDTOOL_HOST": ""}
    done = program(keyed, "startcompile.py", "explain", "--json", **environment)
    assert done.returncode == 0, done.stderr


def test_whoever_joins_a_farm_that_the_configuration_does_not_name_is_told_how_to_ask_there(
    keyed: Control,  # noqa: F811
) -> None:
    line = operate(keyed, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")
    told = program(keyed, "startcompile.py", "join", line, BUILDTOOL_HOST="192.0.2.1")
    place = f"tls:127.0.0.1:{pb_port(keyed)}"
    assert told.stdout.endswith(f"so say --host {place}, or set BUILDTOOL_HOST to that\n"), told
    assert program(keyed, "startcompile.py", "explain", BUILDTOOL_HOST=place).returncode == 0


def test_use_tls_and_whoever_is_not_believed_are_told_in_one_line(keyed: Control) -> None:  # noqa: F811
    done = program(keyed, "startcompile.py", "explain", "--use-tls")
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "its certificate is of no authority that this machine's system believes" in done.stderr
    empty = keyed.directory / "empty"
    empty.mkdir()
    (empty / "x.pem").write_text("x")
    done = program(keyed, "startcompile.py", "explain", "--host", f"tls:localhost:1:trustRoots={empty}")
    assert done.stderr == f"startcompile.py: {empty}/x.pem: it holds no certificate (PEM)\n"


@pytest.mark.parametrize("name", ["startcompile.py", "buildserver.py"])
def test_an_endpoint_string_with_a_port_is_refused_in_one_line(control: Control, name: str) -> None:
    words = () if name == "buildserver.py" else ("explain",)
    done = program(control, name, *words, "--host", "tls:farm:1", "--port", "2")
    assert done.returncode == 2
    assert done.stderr == (
        f"{name}: --port goes with a plain host: --host is an endpoint string, which says that itself\n"
    )
