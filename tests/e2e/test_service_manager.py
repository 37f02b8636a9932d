"""Real programs under a service manager: they serve at its sockets, say so, and live while they do their work."""

import http.client
import signal
import socket
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.demo.local_farm import FarmError
from tests.e2e.control import Control
from tests.support.service_manager import Handing, listening_at, short_place

SILENCE = 0.6
"""Six signs of life fit in."""


def answered(port: int, path: str) -> int:
    """The status with which a path is answered."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as asking:
        asking.request("GET", path)
        return asking.getresponse().status


def test_a_metaserver_serves_at_sockets_that_are_handed_over_and_lives_while_its_commits_do(control: Control) -> None:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=5)) for _ in range(3)]
        ports = [one.getsockname()[1] for one in sockets]
        control.farm.ports |= dict(
            zip(("BUILDTOOL_PB_PORT", "BUILDTOOL_TRANSFER_PORT", "BUILDTOOL_WEB_PORT"), ports, strict=True)
        )
        waiting = held.enter_context(socket.create_connection(("127.0.0.1", ports[2]), 30))  # nobody is refused
        heard = held.enter_context(listening_at(place := short_place(control.directory)))
        beginning, control.farm.popen = control.farm.popen, Handing(sockets)
        control.farm.extra |= {
            "LISTEN_FDS": "3",
            "LISTEN_FDNAMES": "control:transfer:web",
            "NOTIFY_SOCKET": place,
            "WATCHDOG_USEC": "300000",
        }
        metaserver = control.farm.start_metaserver("--web")
        control.farm.popen = beginning
        for name in ("LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC"):
            del control.farm.extra[name]
        assert heard.next() == {"READY": "1", "STATUS": "serves 1 projects"}
        assert answered(ports[2], "/health") == 200
        waiting.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert waiting.recv(100).startswith(b"HTTP/1.")
        control.server("elm")
        assert control.ask("ben@example.org", "--foreground")["build_state"] == "succeeded"
        heard.wait_for("WATCHDOG")
        heard.wait_for("WATCHDOG")

        database = control.directory / "farm" / "metaserver" / DATABASE
        other = held.enter_context(closing(sqlite3.connect(database, timeout=30, isolation_level=None)))
        other.execute("BEGIN IMMEDIATE")
        assert heard.silent(SILENCE), "the thread that commits waits for the database"
        other.execute("ROLLBACK")
        heard.wait_for("WATCHDOG")
        metaserver.send(signal.SIGTERM)
        assert heard.wait_for("STOPPING")["STATUS"].startswith("stopping: metaserver was told to stop")
        assert metaserver.ended() == 0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("metaserver.socket", "a socket named 'metaserver.socket' was handed over: say FileDescriptorName="),
        ("web", "a socket named web was handed over, and nothing is served there: disable its socket unit, or say"),
    ],
)
def test_a_socket_at_which_nothing_would_answer_is_refused_by_name(control: Control, names: str, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        control.farm.popen = Handing([given])
        control.farm.extra |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": names}
        with pytest.raises(FarmError) as refused:
            control.farm.start_metaserver()
        assert words in str(refused.value)
        assert control.farm.programs[-1].ended() == 2


def test_pages_and_a_build_server_say_when_they_are_ready_and_that_they_live(control: Control) -> None:
    control.farm.start_metaserver()
    with ExitStack() as held:
        given = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        heard = held.enter_context(listening_at(place := short_place(control.directory)))
        told = {"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "300000"}
        beginning, control.farm.popen = control.farm.popen, Handing([given])
        words = [str(control.farm.root / "bin" / "webserver")]
        pages = control.farm.start("pages", words, LISTEN_FDS="1", LISTEN_FDNAMES="x", **told)
        control.farm.popen = beginning
        port = given.getsockname()[1]
        assert heard.next() == {"READY": "1", "STATUS": f"pages on http://127.0.0.1:{port}/"}
        assert answered(port, "/") == 200
        heard.wait_for("WATCHDOG")
        assert pages.stop() == 0
        heard.wait_for("STOPPING")
        build = Path(control.directory / "build")
        words = [str(control.farm.root / "bin" / "buildserver.py"), "--name", "elm", "--sandbox", "none"]
        server = control.farm.start("elm", words, BUILDTOOL_BUILD_DIR=str(build), **told)
        assert heard.wait_for("READY")["STATUS"].startswith("elm offers itself to 127.0.0.1")
        heard.wait_for("WATCHDOG")
        assert server.stop() == 0
        heard.wait_for("STOPPING")
