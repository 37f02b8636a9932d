"""A channel is told by a real server, in the clear and by TLS, and by one that asks for SASL."""

import base64
import os
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from buildtool.adapters.notices.irc import IrcSecrets, IrcTeller
from buildtool.adapters.tls.certificates import certificate_text, key_text, new_authority, new_key, server_certificate
from buildtool.errors import Unavailable
from buildtool.model.notices.targets import IrcLogin, IrcTarget
from buildtool.ports.notices import OutgoingNotice
from tests.support.irc import IrcServer, Listener
from tests.support.notices import notice
from tests.support.smtp import ScriptedServer

reactor: Any = the_reactor
FAILED = OutgoingNotice(notice(state="failure", reason="Error 2"), 1, 0, None)
MENDED = OutgoingNotice(notice(state="success"), 2, 0, FAILED.notice.state)


def teller(port: int, secrets: IrcSecrets | None = None, **more: Any) -> IrcTeller:
    target = IrcTarget("127.0.0.1", port, "#farm", "buildtool", tls=False)
    return IrcTeller(
        evolve(target, **more), secrets or IrcSecrets(), reactor, lambda _notice: "https://farm.test/build/7"
    )


@pytest.mark.world
class RealServerTests(TestCase):
    timeout = 120

    def server(self, **more: Any) -> IrcServer:
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        made = IrcServer(directory, **more)
        self.addCleanup(made.stop)
        return made

    def listen(self, server: IrcServer) -> Listener:
        ear = Listener(server)
        self.addCleanup(ear.close)
        return ear

    async def test_a_channel_with_a_key_is_told_what_fails_and_what_works_again_and_nothing_else(self) -> None:
        server = self.server(password="let me in", key="sesame")
        server.start()
        ear = self.listen(server)
        one = teller(server.port, IrcSecrets("let me in", "sesame"), login=IrcLogin.SERVER)
        assert (await one.tell(FAILED)).told
        assert (await one.tell(evolve(FAILED, before=FAILED.notice.state))).told, "it failed before"
        assert (await one.tell(MENDED)).told
        first = await deferToThread(ear.until, "PRIVMSG #farm")
        second = await deferToThread(ear.until, "PRIVMSG #farm")
        assert first.startswith(":buildtool!")
        assert first.endswith("fails: Error 2 https://farm.test/build/7")
        assert second.endswith("builds https://farm.test/build/7")
        one.close()
        assert "buildtool" in await deferToThread(ear.until, "QUIT")

    async def test_who_is_not_let_in_says_why_and_comes_again(self) -> None:
        server = self.server(password="let me in", key="sesame")
        server.start()
        ear = self.listen(server)
        for secrets, why in (
            (IrcSecrets("wrong", "sesame"), "password"),
            (IrcSecrets("let me in", "wrong"), "the key of the channel is wrong"),
        ):
            wrong = teller(server.port, secrets, login=IrcLogin.SERVER)
            error = await self.assertFailure(_deferred(wrong), Unavailable)
            assert why in str(error).lower(), error
        right = teller(server.port, IrcSecrets("let me in", "sesame"), login=IrcLogin.SERVER)
        assert await right.look() == ""
        server.stop()
        await self.assertFailure(_deferred(right), Unavailable)
        await self.assertFailure(_deferred(right), Unavailable)
        server.start()
        ear = self.listen(server)
        assert (await right.tell(FAILED)).told
        await deferToThread(ear.until, "PRIVMSG #farm")
        right.close()
        await deferToThread(ear.until, "QUIT")

    async def test_by_tls_a_server_is_believed_by_its_certificate_alone(self) -> None:
        server = self.server()
        public, key = new_authority("Public Trust", time.time()), new_key()
        certificate = server_certificate(public, key.public_key(), ["localhost"], time.time())
        roots, shown, own = (server.directory / name for name in ("roots.pem", "shown.pem", "key.pem"))
        roots.write_bytes(certificate_text([public.certificate]))
        shown.write_bytes(certificate_text([certificate]))
        own.write_bytes(key_text(key))
        server.start(shown.absolute(), own.absolute())
        strange = teller(server.tls_port, host="localhost", tls=True)
        error = await self.assertFailure(_deferred(strange), Unavailable)
        assert "certificate" in str(error)
        before = os.environ.get("SSL_CERT_FILE")
        self.addCleanup(lambda: os.environ.pop("SSL_CERT_FILE") and before and os.environ.update(SSL_CERT_FILE=before))
        os.environ["SSL_CERT_FILE"] = str(roots.absolute())
        ear = self.listen(server)
        one = teller(server.tls_port, host="localhost", tls=True)
        assert (await one.tell(FAILED)).told
        await deferToThread(ear.until, "PRIVMSG #farm")
        one.close()
        await deferToThread(ear.until, "QUIT")


def _deferred(one: IrcTeller) -> Any:
    return Deferred.fromCoroutine(one.tell(FAILED))


@pytest.mark.world
class ScriptedTests(TestCase):
    timeout = 60

    def serve(
        self, *, password: str = "secret", sasl: bool = True, joined: bytes = b"", pong: bytes = b"", nick: bytes = b""
    ) -> tuple[ScriptedServer, int]:
        proof = base64.b64encode(f"buildtool\0buildtool\0{password}".encode())

        said = {
            b"CAP REQ :sasl": b":s CAP * ACK :sasl" if sasl else b":s CAP * NAK :sasl",
            b"AUTHENTICATE PLAIN": b"AUTHENTICATE +",
            b"AUTHENTICATE " + proof: b":s 903 buildtool :welcome",
            b"CAP END": b":s 001 buildtool :hello",
            b"JOIN #farm": joined + b":buildtool!b@h JOIN #farm",
        }

        def answer(line: bytes) -> bytes:
            usual = {b"AUTHENTICATE": b":s 904 buildtool :no", b"USER": b"" if sasl else b":s 001 buildtool :hello"}
            if line.startswith(b"PING :told"):
                return (pong or b":s PONG s :" + line.removeprefix(b"PING :")) + b"\r\n"
            if nick and line.startswith((b"NICK", b"USER")):
                return nick + b"\r\n" if line.startswith(b"NICK") else b""
            found = said.get(line) or usual.get(line.split(b" ")[0], b"")
            return found + b"\r\n" if found else b""

        server = ScriptedServer(b"", answer)
        port = server.listen(reactor)
        self.addCleanup(port.stopListening)
        where: Any = port.getHost()
        return server, where.port

    async def test_a_password_is_shown_by_sasl_before_anything_else(self) -> None:
        server, port = self.serve()
        one = teller(port, IrcSecrets("secret"), login=IrcLogin.SASL)
        assert (await one.tell(FAILED)).told
        assert server.heard[0] == b"CAP REQ :sasl"
        assert server.heard.index(b"CAP END") < server.heard.index(b"JOIN #farm")
        said = [line for line in server.heard if line.startswith(b"PRIVMSG")]
        assert said == [
            b"PRIVMSG #farm :lua main at 0123456789ab, buildtool/linux-ppc: fails: Error 2 https://farm.test/build/7"
        ]
        one.close()

    async def test_a_password_that_is_refused_and_a_server_without_sasl_are_said(self) -> None:
        _, port = self.serve()
        error = await self.assertFailure(_deferred(teller(port, IrcSecrets("x"), login=IrcLogin.SASL)), Unavailable)
        assert "the password is wrong" in str(error)
        _, port = self.serve(sasl=False)
        error = await self.assertFailure(_deferred(teller(port, IrcSecrets("x"), login=IrcLogin.SASL)), Unavailable)
        assert "does not take SASL" in str(error)

    async def test_a_password_is_shown_to_nickserv_before_the_channel_is_joined(self) -> None:
        server, port = self.serve(sasl=False)
        one = teller(port, IrcSecrets("secret"), login=IrcLogin.NICKSERV)
        assert (await one.tell(FAILED)).told
        assert server.heard.index(b"PRIVMSG NickServ :IDENTIFY secret") < server.heard.index(b"JOIN #farm")
        one.close()

    async def test_what_others_write_in_any_encoding_leaves_the_channel_told(self) -> None:
        server, port = self.serve(sasl=False, joined=b":caf\xe9!b@h PRIVMSG #farm :d\xe9j\xe0 vu\r\n")
        one = teller(port)
        assert (await one.tell(FAILED)).told
        assert server.heard[-1].startswith(b"PING :told")
        one.close()

    async def test_only_the_answer_about_a_line_is_one(self) -> None:
        _, port = self.serve(sasl=False, pong=b":s PONG s :s\r\n:s 404 buildtool #farm :no")
        error = await self.assertFailure(_deferred(teller(port)), Unavailable)
        assert "nothing may be said in the channel" in str(error)

    async def test_a_server_on_which_each_nick_is_taken_is_left(self) -> None:
        server, port = self.serve(sasl=False, nick=b":s 433 * x :taken")
        error = await self.assertFailure(_deferred(teller(port)), Unavailable)
        assert "our nick is taken" in str(error)
        assert len(server.heard) < 20

    async def test_who_tells_and_who_tries_at_once_share_a_connection(self) -> None:
        server, port = self.serve(sasl=False)
        one = teller(port)
        told, looked = _deferred(one), Deferred.fromCoroutine(one.look())
        assert (await told).told
        assert await looked == ""
        assert server.heard.count(b"NICK buildtool") == 1
        one.close()
        error = await self.assertFailure(_deferred(one), Unavailable)
        assert "this program ends" in str(error)
