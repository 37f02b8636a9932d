"""Real programs under the operator's hand: acts over the local socket, SIGHUP, and an end that comes in time."""

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from buildtool.demo.local_farm import Program
from buildtool.model.tickets import Ticket, TicketKind, sign
from tests.e2e.control import CONFIG, Control
from tests.support.smtp import mail_text

IN_TIME = 10.0
"""Seconds within which the metaserver has ended after SIGTERM, whatever is connected."""


def operate(farm: Control, *arguments: str, code: int = 0) -> str:
    """Run bin/metaserver with an act, which must end with ``code``; return what it said."""
    done = farm.farm.run("metaserver", *arguments)
    assert done.returncode == code, f"{done.returncode} instead of {code}: {done.stderr}{done.stdout}"
    return (done.stdout if code == 0 else done.stderr).strip()


def standing(farm: Control) -> dict[str, Any]:
    found = json.loads(operate(farm, "--status", "--json"))
    assert isinstance(found, dict)
    return found


def begin(farm: Control, *arguments: str) -> tuple[Program, int]:
    """Ask for a build that waits at anna's gate; return anna and the build's number."""
    farm.close_gate("anna")
    anna = farm.server("anna", "--maxdelay", "1", *arguments)
    build_id = farm.ask("ann@example.org")["build_id"]
    anna.wait_for(r"waiting at the gate|build \d+\.1 of greeter begins")
    assert isinstance(build_id, int)
    return anna, build_id


def test_the_running_metaserver_does_what_the_operator_says(running: Control) -> None:
    """One story: pause, abort, rebuild, purge; each is done before it is answered."""
    anna, build_id = begin(running)
    assert operate(running, "--pause", "anna", "--reason", "its disk is full").startswith("build server anna is paused")
    assert f"{build_id}.1 greeter" in operate(running, "--status")
    assert "turns of the reactor in the last minutes: half within " in operate(running, "--status")
    turns = json.loads(operate(running, "--status", "--json"))["turns"]
    assert turns["count"] > 0
    assert 0 < turns["p50_ms"] <= turns["p99_ms"] <= turns["p999_ms"] <= turns["max_ms"]
    assert "known: anna" in operate(running, "--pause", "ana", code=1)

    assert "1 request is told" in operate(running, "--abort", str(build_id), "--reason", "the wrong branch")
    anna.wait_for(rf"build {build_id}\.1 .*abort")
    running.farm.programs[0].wait_for("mail for ann@example.org")
    assert "Aborted by the operator: the wrong branch." in mail_text(running.mail_to("ann@example.org"))
    assert "is not open: it was cancelled" in operate(running, "--abort", str(build_id), code=1)
    running.control("gate-anna").unlink(missing_ok=True)

    again = json.loads(operate(running, "--rebuild", str(build_id), "--json"))["build_id"]
    assert again != build_id
    (waits,) = standing(running)["waiting"]
    assert (waits["build_id"], "its disk is full" in " ".join(waits["why"])) == (again, True)
    operate(running, "--resume", "anna")
    anna.wait_for(rf"build {again}\.1 succeeded")
    wait_until(lambda: not standing(running)["running"])
    hit = running.ask("--no-download", "bob@example.org")
    assert (hit["answer"], hit["build_id"]) == ("hit", again)

    artifacts = running.farm.directory / "metaserver" / "artifacts"
    assert len(list(artifacts.glob("*/*.zip"))) == 1
    operate(running, "--purge", hit["artifact"]["digest"], "--reason", "nobody trusts it")
    assert list(artifacts.glob("*/*.zip")) == []
    assert running.ask("carl@example.org")["answer"] == "dispatched"


@pytest.mark.long
def test_a_metaserver_that_drains_finishes_what_runs_and_ends_by_itself(running: Control) -> None:
    anna, build_id = begin(running)
    assert "(now 1)" in operate(running, "--drain")
    assert running.ask("--greeting=goodbye", "bob@example.org")["answer"] == "queued"
    operate(running, "--undrain")
    operate(running, "--drain")
    running.open_gate("anna")
    anna.wait_for(rf"build {build_id}\.1 succeeded")
    metaserver = running.farm.programs[1]
    assert metaserver.ended() == 0
    assert any("it was drained by" in line for line in metaserver.lines)
    said = operate(running, "--status", code=7)
    assert "no metaserver runs with" in said
    assert "start it with bin/metaserver" in said


@pytest.mark.long
def test_sighup_takes_another_configuration_over_whole_or_not_at_all(control: Control) -> None:
    config = control.directory / "farm.py"
    own = f"exec(open({str(CONFIG)!r}).read())\n"
    config.write_text(own)
    control.farm.config = config
    control.farm.start_mail()
    metaserver = control.farm.start_metaserver("--web")
    control.server("anna")
    config.write_text(own + "public_url = 'https://farm.example'\npb_port = 4\nmail = 3\n")
    metaserver.send(signal.SIGHUP)
    metaserver.wait_for(r"error the configuration stays as it was: .*mail = 3")
    config.write_text(own + "public_url = 'https://farm.example'\nlease = 30\n")
    metaserver.send(signal.SIGHUP)
    metaserver.wait_for(r"error the configuration stays as it was: lease cannot be changed")
    assert control.ask("ann@example.org")["page_url"].startswith("http://127.0.0.1")
    another = "projects.append(__import__('attrs').evolve(projects[0], name='second'))\n"
    config.write_text(f"{own}public_url = 'https://farm.example'\n{another}")
    metaserver.send(signal.SIGHUP)
    metaserver.wait_for(r"info  the configuration was read again and holds now: .*, greeter, second")
    assert standing(control)["servers_connected"] == 1, "nobody's connection ended"
    assert ">second<" in shown(control, "/builds")
    assert "https://farm.example/buildservers" in shown(control, "/buildservers")
    asked = control.ask("--project=second", "bob@example.org")
    assert (asked["answer"], asked["page_url"][:20]) == ("queued", "https://farm.example")
    control.server("bert").wait_for(rf"build {asked['build_id']}\.1 succeeded")
    control.farm.programs[0].wait_for("mail for bob@example.org")
    assert "https://farm.example/build/" in mail_text(control.mail_to("bob@example.org"))


def shown(farm: Control, path: str) -> str:
    """A page of the farm."""
    with urllib.request.urlopen(farm.farm.public_url + path, timeout=20) as page:  # noqa: S310 - its own
        text: str = page.read().decode()
    return text


@contextmanager
def deaf(called: threading.Event | None = None) -> Iterator[int]:
    """A server that takes connections and never says anything; its port. ``called`` tells of the first."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as taken:

        def take() -> None:
            while True:
                try:
                    taken.enter_context(listening.accept()[0])
                    if called is not None:
                        called.set()
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def uploading(farm: Control, build_id: int) -> socket.socket:
    """A connection over which an artifact is just being sent, and does not come to its end."""
    key = (farm.farm.directory / "metaserver" / "key").read_bytes()
    ticket = sign(Ticket(TicketKind.ARTIFACT, build_id, 1, 10**6, int(time.time()) + 600), key)
    size = 1_000_000
    head = [
        f"PUT /uploads/{build_id}/1 HTTP/1.1",
        "Host: a",
        f"Authorization: Ticket {ticket}",
        f"Content-Length: {size}",
        f"Upload-Length: {size}",
        "Upload-Offset: 0",
        f"Upload-Digest: {hashlib.sha256().hexdigest()}",
    ]
    sending = socket.create_connection(("127.0.0.1", farm.farm.ports["BUILDTOOL_TRANSFER_PORT"]))
    sending.sendall("\r\n".join([*head, "", ""]).encode() + b"x" * (size // 5))
    return sending


@pytest.mark.long
def test_the_metaserver_ends_in_time_whatever_is_connected(control: Control) -> None:
    """A build server that reads nothing, a follower, a log that is waited for, an upload, a mail server that hangs."""
    with deaf() as mail_port, ExitStack() as open_:
        control.farm.mail_port = mail_port
        metaserver = control.farm.start_metaserver("--web")
        bert = control.server("bert")
        assert control.ask("--greeting=goodbye", "ann@example.org")["answer"] == "dispatched"
        bert.wait_for(r"build 1\.1 succeeded")
        bert.stop()
        anna, build_id = begin(control)
        log_port = control.farm.ports["BUILDTOOL_TRANSFER_PORT"]
        polling = http.client.HTTPConnection("127.0.0.1", log_port)
        open_.callback(polling.close)
        polling.request("GET", f"/logs/{build_id}/1?offset=1000000&wait=30")
        open_.enter_context(uploading(control, build_id))
        follower = control.farm.start(
            "follower", [str(control.farm.root / "bin" / "startcompile.py"), "--foreground", "eve@example.org"]
        )
        follower.wait_for("joined|waits|build")
        anna.send(signal.SIGSTOP)
        open_.callback(anna.send, signal.SIGCONT)
        assert metaserver.stop(seconds=IN_TIME) == 0
        for what in (
            r"\d connections? of the transfer port",
            r"\d connections, since the metaserver stops",
            "mail under way",
        ):
            assert any(re.search(f"cut off: {what}", line) for line in metaserver.lines), metaserver.lines
        follower.kill()


STUBBORN = """\
#!{python}
import signal, sys, time
if "version" in sys.argv[-1]:
    print("git version 2.40.1")
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open({deaf!r}, "w").close()
    time.sleep(300)
"""


@pytest.mark.parametrize("stubborn", [False, True], ids=["a git that obeys", "one that does not"])
def test_the_metaserver_ends_in_time_while_a_repository_does_not_answer(control: Control, stubborn: bool) -> None:
    called = threading.Event()
    with deaf(called) as port:
        control.farm.extra["E2E_REPOSITORY"] = f"git://127.0.0.1:{port}/greeter.git"
        ignores = control.directory / "ignores"
        if stubborn:
            git = control.directory / "own" / "git"
            git.parent.mkdir()
            git.write_text(STUBBORN.format(python=sys.executable, deaf=str(ignores)))
            git.chmod(0o755)
            control.farm.extra["PATH"] = f"{git.parent}:{os.environ['PATH']}"
        metaserver = control.farm.start_metaserver()
        asking = control.farm.start("asking", [str(control.farm.root / "bin" / "startcompile.py"), "ann@example.org"])
        # A git that was asked for its version is one as well, but has ended by the time that it would be cut off.
        wait_until(ignores.exists if stubborn else called.is_set)
        gits = children(metaserver.process.pid)
        assert metaserver.stop(seconds=IN_TIME) == 0
        assert any(re.search(r"cut off: git \(\d+ running\)", line) for line in metaserver.lines), metaserver.lines
        assert not any(Path(f"/proc/{pid}").exists() for pid in gits), "no git is left"
        asking.kill()


def wait_until(so: Callable[[], bool], seconds: float = 30.0) -> None:
    """Look again and again until something is so."""
    until = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(number) for each in found for number in each.read_text().split()]
