"""Peers that write to terminals, logs, mails and pages what these would act on: real programs show none of it."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import pytest
from attrs import evolve

from buildtool.adapters.control.decoder import Bounds, Expressions
from buildtool.adapters.control.encoder import call_bytes, encoded
from buildtool.configuration.settings import load_settings
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import ProjectSkill
from buildtool.protocol.codec import decode, encode, text_of
from buildtool.protocol.messages import Accepted, Draining, Ended, Goodbye, Order, Refused
from tests.e2e.control import Control
from tests.hostile.peer import Peer, registration
from tests.support.smtp import mail_text

HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202eevil\r\ntwo\u2028three\u2066\x08\x1b[5"
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def harmless(said: str) -> str:
    """Return what was said, which holds no control character but tabs and LF, nor any that turns writing around."""
    assert not HARMFUL.search(said), ascii(said)
    return said


@contextmanager
def liar(control: Control, name: str) -> Iterator[Peer]:
    """A build server all of whose texts are hostile."""
    environment = control.farm.environment()
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("E2E_CONTROL", "E2E_REPOSITORY"):
            patch.setenv(variable, control.farm.extra[variable])
        (project,) = load_settings(control.farm.config).projects
    skill = ProjectSkill(project.name, project.recipe.version, project.options.digest())
    announced = registration(name, skill, offers=2, host_info=HOSTILE)
    (native, other) = announced.capability.offers
    odd = evolve(other, platform=(("arch", HOSTILE), ("os", "linux")))
    offers = (evolve(native, tools=(("CC_VERSION", HOSTILE),)), odd)
    capability = evolve(announced.capability, offers=offers, admin=HOSTILE, software="x\x1b[2J\u202e")
    with Peer(int(environment["BUILDTOOL_PB_PORT"]), "build server") as peer:
        answer = peer.call("register", text_of(evolve(announced, capability=capability)))
        assert isinstance(answer, dict)
        assert answer["type"] == "Welcome", answer
        yield peer


def ordered(peer: Peer) -> Order:
    """Take the next order, as a build server does."""
    while True:
        name, arguments, number = peer.order()
        assert isinstance(arguments, list | tuple)
        if name == b"build":
            order = decode(Order, arguments[0])
            peer.reply(number, Accepted(order.build_id, order.epoch))
            return order


def test_nothing_that_a_build_server_says_reaches_a_terminal_a_log_a_mail_or_a_page_as_it_is(control: Control) -> None:
    running = control
    running.farm.start_mail()
    running.farm.start_metaserver("--web")
    with liar(running, "liar") as peer:
        asked = running.farm.request("ann@example.org")
        harmless(asked.stdout + asked.stderr)
        order = ordered(peer)
        said = Ended(order.build_id, order.epoch, AttemptEnd.REFUSED, HOSTILE, HOSTILE)
        assert isinstance(peer.call("ended", text_of(said)), dict)
        order = ordered(peer)
        for more in ((), ("--arch=s390x",)):
            again = running.farm.request(*more, "bob@example.org")
            harmless(again.stdout + again.stderr)
        status = subprocess.run(
            [sys.executable, str(running.farm.root / "bin" / "metaserver"), "--status"],
            env=running.farm.environment(), capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        harmless(status.stdout)
        said = Ended(order.build_id, order.epoch, AttemptEnd.FAILED, HOSTILE, HOSTILE)
        assert isinstance(peer.call("ended", text_of(said)), dict)
        running.farm.programs[0].wait_for("mail for ann")
        for mail in running.mails():
            assert "evil" in harmless(mail_text(mail))
            assert "evil" not in harmless(str(mail["Subject"]))
        for page in ("/", "/builds", f"/build/{order.build_id}", "/buildservers", f"/logs/{order.build_id}"):
            with urlopen(running.farm.public_url + page, timeout=30) as answer:  # noqa: S310 - the farm's own
                harmless(answer.read().decode())
        failed = running.farm.request("ann@example.org")
        assert "evil" in harmless(failed.stdout)
        peer.call("draining", text_of(Draining(HOSTILE)))
        peer.call("goodbye", text_of(Goodbye(HOSTILE)))
    metaserver = running.farm.programs[1]
    metaserver.wait_for("build server liar left")
    log = "\n".join(metaserver.lines)
    assert log.count("evil") >= 3
    harmless(log)


@contextmanager
def impostor() -> Iterator[int]:
    """Something that answers at a port, and refuses every hello in words of its own."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"\x01\x80\x02\x82pb")
            reading = Expressions(Bounds(10**6, 10**5, 50))
            connection.sendall(call_bytes((b"version", 6)))
            while data := connection.recv(65_536):
                for came in reading.feed(data):
                    if isinstance(came, list) and came[0] == b"message":
                        refused = encode(Refused("usage", HOSTILE))
                        connection.sendall(call_bytes((b"answer", came[1], encoded(refused, lambda _: 0))))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()


def test_whoever_answers_at_the_port_writes_nothing_on_a_terminal(control: Control) -> None:
    root = control.farm.root
    with impostor() as port:
        environment = control.farm.environment(BUILDTOOL_PB_PORT=str(port), E2E_SERVER="anna")
        for words in (("startcompile.py", "ann@example.org"), ("startcompile.py", "--explain", "ann@example.org"),
                      ("buildserver.py", "--name", "anna", "--no-cross", "--maxretries", "1")):  # fmt: skip
            done = subprocess.run(
                [sys.executable, str(root / "bin" / words[0]), *words[1:]],
                env=environment, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert done.returncode != 0
            assert "evil" in harmless(done.stderr), done.stderr
            harmless(done.stdout)
