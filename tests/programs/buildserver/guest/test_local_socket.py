"""The owner's socket: for the owner alone, one bounded line each way, and nothing that is sent harms it."""

import json
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from buildtool.adapters.control.operator_endpoint import NAME, short_address
from buildtool.errors import NoBuildServer, UsageError
from buildtool.programs.buildserver.guest.local_socket import LONGEST_LINE, ask_server, listen_to_owner


def answer(asked: Mapping[str, object]) -> dict[str, object]:
    if asked.get("act") == "wrong":
        raise UsageError("that is wrong")
    return {"heard": asked.get("act")}


def sent(directory: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(20)
        with short_address(directory / NAME) as address:
            connection.connect(address)
        try:
            connection.sendall(data)
            return connection.recv(100_000)
        except ConnectionError:
            return b""


class Sockets(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(mode=0o700)
        self.directory = self.directory.resolve()
        port = listen_to_owner(cast("ReactorBase", reactor), self.directory, answer)
        self.addCleanup(lambda: maybeDeferred(port.stopListening))

    def asked(self, act: str) -> Deferred[dict[str, object]]:
        return deferToThread(ask_server, self.directory, {"act": act})

    async def test_a_question_is_answered_and_what_is_wrong_is_said(self) -> None:
        self.assertEqual(await self.asked("status"), {"heard": "status"})
        with self.assertRaisesRegex(UsageError, "that is wrong"):
            await self.asked("wrong")

    async def test_only_the_owner_may_open_it(self) -> None:
        self.assertEqual(stat.S_IMODE((self.directory / NAME).stat().st_mode), 0o600)

    async def test_what_is_no_question_is_refused_and_what_is_too_long_ends_the_connection(self) -> None:
        for data in (b"\n", b"[]\n", b"{\n", b"\xff\n", b"[" * 5_000 + b"\n"):
            said = json.loads(await deferToThread(sent, self.directory, data))
            self.assertIn("one JSON object", said["error"])
        self.assertEqual(await deferToThread(sent, self.directory, b"x" * 3 * LONGEST_LINE), b"")
        self.assertEqual(await self.asked("status"), {"heard": "status"})

    async def test_where_none_listens_that_is_said(self) -> None:
        with self.assertRaisesRegex(NoBuildServer, "no build server named nowhere runs in"):
            ask_server(self.directory / "nowhere", {"act": "status"})
