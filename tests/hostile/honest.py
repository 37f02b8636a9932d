"""``python -m tests.hostile.honest``: somebody who uses a farm on all three ports, and tells how long that took.

What is asked for stands in JSON on stdin: the ports, ``seconds``, ``rate`` (of each kind of visit a second), and the
submissions, each for an artifact that is there; ``key`` is a file with a key and its certificate where TLS is spoken
on the control port, which then is the only one. Prints, by kind, the milliseconds of each visit and why others failed.
"""

from __future__ import annotations

import json
import random
import ssl
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

import attrs
from attrs import define, field

from buildtool.adapters.tls.contexts import ANY_HTTP
from buildtool.adapters.tls.words import CONTROL
from buildtool.errors import BuildToolError
from buildtool.protocol.codec import decode
from buildtool.protocol.messages import AskExplain, Submit
from tests.hostile.peer import Gone, Peer

PATIENCE = 20.0
"""Seconds after which a visit has failed."""


@define(eq=False)
class Visitor:
    """One kind of visit, made at a steady rate however long each takes."""

    visit: Callable[[], None]
    rate: float
    took: list[float] = field(factory=list)
    failed: list[str] = field(factory=list)

    def go_on(self, until: float) -> None:
        """Visit until the time is over."""
        due = time.monotonic()
        while (now := time.monotonic()) < until:
            if now < due:
                time.sleep(due - now)
            due = max(due + 1 / self.rate, time.monotonic() - 1.0)
            began = time.monotonic()
            try:
                self.visit()
            except (Gone, OSError, HTTPException, BuildToolError, ValueError) as error:
                self.failed.append(f"{type(error).__name__}: {error}"[:200])
            else:
                self.took.append((time.monotonic() - began) * 1_000)


@define(eq=False)
class Honest:
    """What honest people do with a farm."""

    asked: dict[str, Any]
    draw: random.Random = field(factory=random.Random)
    _kept: Peer | None = None
    _tls: dict[bytes, ssl.SSLContext] = field(factory=dict)
    _artifact: SplitResult = field(factory=lambda: urlsplit(""))

    def submit(self, peer: Peer) -> None:
        """Ask for what there is. Raises ValueError if it is not given."""
        wanted = decode(Submit, self.draw.choice(self.asked["submissions"]))
        answer = peer.asked("submit", attrs.evolve(wanted, client_id=f"{self.draw.getrandbits(128):032x}"))
        found = answer.get("artifact")
        if answer.get("answer") != "hit" or not isinstance(found, dict):
            raise ValueError(f"answered {answer.get('answer') or answer}")
        self._artifact = urlsplit(found["url"])

    def on_one_connection(self) -> None:
        """Ask on a connection that stays."""
        if self._kept is None:
            self._kept = self._peer()
        try:
            self.submit(self._kept)
        except (Gone, OSError):
            self._kept = None
            raise

    def anew(self) -> None:
        """Ask on a new connection."""
        with self._peer() as peer:
            self.submit(peer)

    def resolve(self) -> None:
        """Ask what a branch would be answered, which its repository has to be asked for. Raises ValueError."""
        wanted = decode(Submit, self.asked["submissions"][0])
        question = AskExplain(wanted.project, "", "main", "", wanted.compile, wanted.system, wanted.local)
        with self._peer() as peer:
            answer = peer.asked("explain", question)
        if answer.get("type") != "Explanation":
            raise ValueError(f"answered {answer}")

    def look(self) -> None:
        """Look at a page."""
        self._get(self.asked["web"], "/builds")

    def fetch(self) -> None:
        """Fetch what was found last."""
        self._get(self.asked["transfer"], f"{self._artifact.path}?{self._artifact.query}")

    def _peer(self) -> Peer:
        return Peer(self.asked["control"], seconds=PATIENCE, tls=self._context(CONTROL))

    def _context(self, name: bytes) -> ssl.SSLContext | None:
        """Return how TLS is spoken, with a name for ALPN; None where it is not."""
        if "key" not in self.asked:
            return None
        made = self._tls.get(name)
        if made is None:
            made = self._tls[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
            made.load_cert_chain(self.asked["key"])
            made.set_alpn_protocols([name.decode()])
        return made

    def _get(self, port: int, path: str) -> None:
        tls = self._context(ANY_HTTP)
        connection = (
            HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            if tls is None
            else HTTPSConnection("127.0.0.1", self.asked["control"], timeout=PATIENCE, context=tls)
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"{path} was answered {answer.status}")


def main() -> int:
    """Do what stdin asks for and print what came of it."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    honest = Honest(asked)
    visits = (honest.on_one_connection, honest.anew, honest.resolve, honest.look, honest.fetch)
    visitors = {visit.__name__: Visitor(visit, asked["rate"]) for visit in visits}
    until = time.monotonic() + asked["seconds"]
    honest.anew()
    threads = [threading.Thread(target=visitor.go_on, args=(until,)) for visitor in visitors.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({name: {"took": one.took, "failed": one.failed} for name, one in visitors.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
