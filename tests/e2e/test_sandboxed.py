"""Builds in a real sandbox of a real farm: what they fetch, what they may use, and how they wait for an owner."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen

from buildtool.adapters.processes.procfs import SeenProcess, descendants
from buildtool.programs.buildserver.guest.local_socket import ask_server
from tests.e2e.conftest import farm
from tests.e2e.control import CONFIG, Control
from tests.e2e.test_operator import wait_until
from tests.support.packages import require

pytestmark = [pytest.mark.xdist_group("sandboxed")]  # the tests share a farm

GET = """\
set -e
curl -sS --max-time 20 -o fetched "http://localhost:$NAMED/"
test "$(curl -sS --max-time 20 -o refused -w '%{http_code}' "http://localhost:$OTHER/")" = 403
"""
FETCH = """\
set -e
if curl -sS --max-time 20 "http://localhost:$NAMED/"; then echo "the network goes on"; exit 1; fi
cp fetched made
"""
SWELL = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo big enough > made\n"
WAIT = """\
(while test -e "$CONTROL/work"; do (:) & wait; done) &
echo forking
wait
echo done > made
"""


class Hello(http.server.BaseHTTPRequestHandler):
    """Says hello."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Log nothing."""


@contextmanager
def host() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@frozen
class Boxed:
    """A farm with one build server, whose builds run in a sandbox; ``named`` and ``other`` are ports of two hosts."""

    control: Control
    named: int
    other: int


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxed]:
    require("curl", "curl")
    with farm(tmp_path_factory.mktemp("boxed")) as made, host() as named, host() as other:
        made.farm.config = CONFIG.with_name("sandboxed_config.py")
        made.farm.extra |= {"E2E_NAMED": str(named), "E2E_OTHER": str(other)}
        del made.farm.extra["PATH"]  # which leads where no sandbox lets builds look
        made.commit(**{"get.sh": GET, "fetch.sh": FETCH, "swell.sh": SWELL, "wait.sh": WAIT})
        made.farm.start_metaserver()
        words = ("--memory", "64MiB", "--allow-network", "boxed", "--readable", str(made.control("")), "--no-cross")
        made.server("anna", "--sandbox", "best", *words)
        yield Boxed(made, named, other)


def test_what_a_build_fetches_comes_from_named_hosts_through_the_proxy_which_ends_before_it_builds(
    boxed: Boxed,
) -> None:
    asked = boxed.control.ask("--what=fetch", "ann@example.org", "--foreground", "--no-download")
    assert asked["state"] == "satisfied", asked
    log = boxed.control.farm.request("log", asked["cancel_id"]).stdout
    assert f"[network: localhost:{boxed.named} reached]" in log
    assert f"[network: localhost:{boxed.other} refused, which the recipe does not name]" in log


def test_the_last_line_of_a_log_says_which_limit_of_the_machine_was_exceeded_its_value_and_the_peak(
    boxed: Boxed,
) -> None:
    asked = boxed.control.ask("--what=swell", "ann@example.org")
    number = asked["cancel_id"]
    said = boxed.control.farm.request
    wait_until(lambda: "it exceeded" in said("log", number).stdout)
    last = said("log", number).stdout.strip().splitlines()[-1]
    assert "it exceeded the limit of memory: on this machine a build may use 64.0 MiB, its peak was " in last
    said("cancel", number)


def waiting(server: int) -> list[SeenProcess]:
    """Return the processes of the build that waits, which all bear its name."""
    return [seen for seen in descendants(server) if b"wait.sh" in said_by(seen.pid, "cmdline")]


def said_by(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""  # it has ended


def is_frozen(seen: SeenProcess) -> bool:
    """Return whether the kernel or a signal has stopped a process."""
    groups = [line.split(":", 2) for line in said_by(seen.pid, "cgroup").decode().splitlines()]
    place = next((path.strip("/") for _, name, path in groups if name == "freezer"), None)
    if place is not None and (state := Path("/sys/fs/cgroup/freezer", place, "freezer.state")).exists():
        return state.read_text() == "FROZEN\n"
    return seen.stopped or seen.waits or not seen.alive


def test_a_build_that_forks_all_the_time_stands_still_in_its_sandbox_and_is_delivered_once_it_may_go_on(
    boxed: Boxed,
) -> None:
    control = boxed.control
    control.control("work").touch()
    asked = control.ask("--what=wait", "ann@example.org")
    anna = next(one for one in control.farm.programs if one.name == "anna").process.pid
    place = control.farm.directory / "build-anna" / "anna"
    wait_until(lambda: "forking" in control.farm.request("log", asked["cancel_id"]).stdout)

    assert ask_server(place, {"act": "pause"})["frozen"] is True
    wait_until(lambda: all(map(is_frozen, waiting(anna))))
    assert len(waiting(anna)) > 1, "they are all there"
    control.control("work").unlink()
    assert ask_server(place, {"act": "status"})["running"] == 1, "it cannot see that"
    ask_server(place, {"act": "resume"})
    assert control.ask("follow", asked["cancel_id"], "--no-download")["state"] == "satisfied"
