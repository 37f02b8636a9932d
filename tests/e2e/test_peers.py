"""What one peer does costs others nothing: machines of one name, invented names, silent connections; real programs."""

import http.client
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from buildtool.protocol.messages import AskHealth
from tests.e2e.control import Control
from tests.e2e.test_operator import operate, standing
from tests.hostile.peer import Peer

SILENT = 450
"""Connections that say nothing: more than the transfer port and the pages hold."""

HONEST = 30


@pytest.mark.long
def test_two_machines_of_one_name_leave_each_other_alone(running: Control, tmp_path: Path) -> None:
    """The first goes on building, the second says once what to do, the operator is told, and later it gets in."""
    running.close_gate("anna")
    anna = running.server("anna")
    build_id = running.ask("ann@example.org")["build_id"]
    anna.wait_for(rf"build {build_id}\.1 of greeter begins")
    words = [str(running.farm.root / "bin" / "buildserver.py"), "--name", "anna", "--no-cross"]
    twin = running.farm.start("twin", words, BUILDTOOL_BUILD_DIR=str(tmp_path / "elsewhere"), E2E_SERVER="anna")
    twin.wait_for("another machine is build server anna: it has been connected from 127.0.0.1 for .* with --name")
    assert any("two machines call themselves anna" in line for line in standing(running)["problems"])
    running.open_gate("anna")
    anna.wait_for(rf"build {build_id}\.1 succeeded")
    assert sum("registered at" in line for line in anna.lines) == 1
    anna.stop()
    twin.wait_for("registered at")
    assert sum("another machine" in line for line in twin.lines) == 1
    secrets = [path.read_text().split()[0] for path in tmp_path.rglob("instance")]
    assert len(set(secrets)) == 2
    said = [line for program in running.farm.programs for line in program.lines]
    assert not [line for line in said if any(secret in line for secret in secrets)]


@pytest.mark.long
def test_a_name_is_forgotten_when_its_machine_has_gone_and_not_before(running: Control) -> None:
    anna = running.server("anna")
    refused = operate(running, "--forget", "anna", code=1)
    assert "is connected from 127.0.0.1 and would be known again at once: stop it there first" in refused
    anna.stop()
    assert operate(running, "--forget", "anna") == "build server anna is forgotten; what it built stays"
    assert standing(running)["servers_known"] == 0
    assert "there is no build server 'anna'; known: none" in operate(running, "--forget", "anna", code=1)
    assert any("session 2" in line for line in running.server("anna").lines), "the numbers of its Sessions go on"


def test_who_says_nothing_on_any_port_keeps_nobody_out(control: Control) -> None:
    """From the very same address, and more of them than two of the ports have room for."""
    control.farm.start_mail()
    control.farm.start_metaserver("--web")
    ports = control.farm.ports
    with ExitStack() as held:
        for port in ports.values():
            for _ in range(SILENT):
                held.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        for _ in range(HONEST):
            with Peer(ports["BUILDTOOL_PB_PORT"]) as asking:
                assert "ok" in asking.asked("health", AskHealth())
            assert asked(ports["BUILDTOOL_TRANSFER_PORT"], "/nothing") == 404
            assert asked(ports["BUILDTOOL_WEB_PORT"], "/health") == 200


def asked(port: int, path: str) -> int:
    """Return the status of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
