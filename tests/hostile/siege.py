"""``python -m tests.hostile.siege``: 500 connections from as many addresses do their worst to a port that speaks TLS.

What is attacked stands in JSON on stdin: ``port``, ``seconds``, ``connections``, and ``revoked``, a file with a revoked
key and its certificate; ``kinds`` may name the kinds that there are to be. Prints ``under way``, and at the end how
many connections were made, by kind.
"""

from __future__ import annotations

import json
import random
import secrets
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field
from OpenSSL import SSL

from buildtool.adapters.control.encoder import call_bytes, encoded
from buildtool.adapters.tls.certificates import (
    Identified,
    client_certificate,
    new_authority,
    new_key,
    read_certificate,
    read_key,
)
from buildtool.adapters.tls.contexts import ANY_HTTP
from buildtool.adapters.tls.signer import request_text
from buildtool.adapters.tls.words import CONTROL
from buildtool.protocol.codec import encode, text_of
from buildtool.protocol.enrolment import Join
from buildtool.protocol.hello import PROTOCOL_VERSION, Hello

PAUSE = 0.5
"""Seconds between two connections of one attacker, about: an attack is many connections, not many processors."""

HOLD = 4.0
"""Seconds for which a connection is held that does nothing."""

_LATE = 5.0


@define(eq=False)
class Enemy:
    """One attacker at an address of its own, who makes one connection after the other."""

    port: int
    source: str
    revoked: Identified
    strange: Identified
    until: float
    draw: random.Random = field(factory=random.Random)

    def connected(self) -> socket.socket:
        """Return one more connection."""
        return socket.create_connection(("127.0.0.1", self.port), _LATE, source_address=(self.source, 0))

    def hold(self, there: socket.socket, seconds: float = HOLD) -> None:
        """Keep a connection, reading nothing, until the other side ends it or the time is over."""
        there.settimeout(max(0.1, min(seconds, self.until - time.monotonic())))
        with suppress(OSError):
            while there.recv(4_096):
                pass


@define(eq=False)
class Secured:
    """TLS over a connection, of which every byte can be had: pyOpenSSL in memory."""

    there: socket.socket
    tls: SSL.Connection

    @classmethod
    def over(
        cls, there: socket.socket, names: list[bytes], shown: Identified | None = None, *, old: bool = False
    ) -> Secured:
        """Shake hands. Raises OSError, SSL.Error."""
        context = SSL.Context(SSL.TLS_METHOD)
        if old:
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_alpn_protos(names)
        if shown is not None:
            context.use_certificate(shown.certificate)
            context.use_privatekey(shown.key)
        made = cls(there, SSL.Connection(context, None))
        made.tls.set_connect_state()
        made.shake()
        return made

    def shake(self) -> None:
        """Go on with a handshake until it is over."""
        while True:
            try:
                self.tls.do_handshake()
                self.flush()
                return
            except SSL.WantReadError:
                self.flush()
                self.feed()

    def flush(self) -> None:
        with suppress(SSL.WantReadError):
            while True:
                self.there.sendall(self.tls.bio_read(65_536))

    def feed(self) -> None:
        data = self.there.recv(65_536)
        if not data:
            raise ConnectionResetError
        self.tls.bio_write(data)

    def say(self, data: bytes) -> None:
        self.tls.send(data)
        self.flush()

    def hear(self) -> bytes:
        while True:
            try:
                return self.tls.recv(65_536)
            except SSL.WantReadError:
                self.feed()


def _hello(names: list[bytes]) -> bytes:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_alpn_protos(names)
    tls = SSL.Connection(context, None)
    tls.set_connect_state()
    with suppress(SSL.WantReadError):
        tls.do_handshake()
    return tls.bio_read(65_536)


HELLO = _hello([CONTROL])


def silent(enemy: Enemy) -> None:
    """Say nothing."""
    with enemy.connected() as there:
        enemy.hold(there)


def unfinished(enemy: Enemy) -> None:
    """Begin a handshake and never answer."""
    with enemy.connected() as there:
        there.sendall(HELLO)
        time.sleep(min(HOLD, max(0.0, enemy.until - time.monotonic())))


def slow(enemy: Enemy) -> None:
    """Begin a handshake with a byte a second."""
    with enemy.connected() as there:
        for byte in HELLO[:12]:
            there.sendall(bytes((byte,)))
            time.sleep(1.0)
            if time.monotonic() > enemy.until:
                return


def garbage(enemy: Enemy) -> None:
    """Send records in which there is anything."""
    with enemy.connected() as there:
        there.sendall(b"\x16\x03\x01\x02\x00" + secrets.token_bytes(512) + secrets.token_bytes(4_096))
        enemy.hold(there)


def huge_hello(enemy: Enemy) -> None:
    """Announce a ClientHello of 16 MiB, and send much of it."""
    with enemy.connected() as there:
        there.sendall(b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff\x03\x03" + bytes(0x4000 - 6))
        for _ in range(16):
            there.sendall(b"\x16\x03\x01\x40\x00" + bytes(0x4000))
        enemy.hold(there)


def garbage_later(enemy: Enemy) -> None:
    """Shake hands, and then send records that nobody encrypted."""
    with enemy.connected() as there:
        Secured.over(there, [CONTROL])
        there.sendall(b"\x17\x03\x03\x01\x00" + secrets.token_bytes(256))
        enemy.hold(there)


def renegotiation(enemy: Enemy) -> None:
    """Ask for one handshake after the other over one connection of TLS 1.2."""
    with enemy.connected() as there:
        spoken = Secured.over(there, [ANY_HTTP], old=True)
        for _ in range(20):
            spoken.tls.renegotiate()
            spoken.shake()


def wrong_name(enemy: Enemy) -> None:
    """Name a protocol that is not spoken there."""
    with enemy.connected() as there:
        Secured.over(there, [b"h2", b"x" * 200])


def strange_key(enemy: Enemy) -> None:
    """Show a certificate of an authority of one's own."""
    with enemy.connected() as there:
        Secured.over(there, [CONTROL], enemy.strange).hear()


def revoked_key(enemy: Enemy) -> None:
    """Show a key that was revoked, and go on asking."""
    with enemy.connected() as there:
        spoken = Secured.over(there, [CONTROL], enemy.revoked)
        spoken.say(_first(random.choice(("requester", "renewing", "build server"))))
        spoken.hear()
        enemy.hold(there, 1.0)


def invented_token(enemy: Enemy) -> None:
    """Ask to join with an invitation that nobody made, and a key that is new each time."""
    with enemy.connected() as there:
        spoken = Secured.over(there, [CONTROL])
        spoken.say(_first("joining"))
        for _ in range(3):
            spoken.hear()
        wanted = Join(secrets.token_urlsafe(32), request_text(new_key(), "anna"))
        spoken.say(_call(1, b"join", text_of(wanted), 2))
        spoken.hear()


def half_closed(enemy: Enemy) -> None:
    """Shake hands, end one's own half, and stay."""
    with enemy.connected() as there:
        Secured.over(there, [CONTROL])
        there.shutdown(socket.SHUT_WR)
        time.sleep(min(HOLD, max(0.0, enemy.until - time.monotonic())))


def no_farewell(enemy: Enemy) -> None:
    """Ask for a page, and neither read the answer nor end TLS when the other side does."""
    with enemy.connected() as there:
        Secured.over(there, [ANY_HTTP]).say(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(min(2 * HOLD, max(0.0, enemy.until - time.monotonic())))


def slow_headers(enemy: Enemy) -> None:
    """Ask over HTTP, a byte a second."""
    with enemy.connected() as there:
        spoken = Secured.over(there, [ANY_HTTP])
        for byte in b"GET / HTTP/1.1":
            spoken.say(bytes((byte,)))
            time.sleep(1.0)
            if time.monotonic() > enemy.until:
                return


def plain(enemy: Enemy) -> None:
    """Speak no TLS at all."""
    with enemy.connected() as there:
        there.sendall(b"GET /builds HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        enemy.hold(there)


def deep(enemy: Enemy) -> None:
    """Speak Perspective Broker over TLS, as nested and as long as it gets."""
    with enemy.connected() as there:
        spoken = Secured.over(there, [CONTROL])
        spoken.say(b"\x01\x80" * 3_000)
        spoken.hear()
        enemy.hold(there, 1.0)


KINDS: tuple[Callable[[Enemy], None], ...] = (
    silent, unfinished, slow, garbage, huge_hello, garbage_later, renegotiation, wrong_name, strange_key, revoked_key,
    invented_token, half_closed, no_farewell, slow_headers, plain, deep,
)  # fmt: skip


def _call(number: int, name: bytes, message: object, target: object = b"root") -> bytes:
    arguments = encoded((message,), _none)
    return call_bytes((b"message", number, target, name, 1, arguments, encoded({}, _none)))


def _first(role: str) -> bytes:
    """Return the first bytes of a connection in a role: dialect, version, hello."""
    return (
        b"\x02\x82pb" + call_bytes((b"version", 6)) + _call(1, b"hello", encode(Hello(PROTOCOL_VERSION, role, "siege")))
    )


def _none(_: object) -> int:
    raise TypeError("no object of ours is sent")


def _identified(path: str) -> Identified:
    text = Path(path).read_bytes()
    return Identified(read_key(text), read_certificate(text)[0])


def main() -> int:
    """Besiege what stdin names."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.stack_size(256 * 1024)
    revoked, now = _identified(asked["revoked"]), time.time()
    key = new_key()
    strange = Identified(key, client_certificate(new_authority("elsewhere", now), key.public_key(), "anna", now))
    until = time.monotonic() + asked["seconds"]
    made: Counter[str] = Counter()
    kinds = [kind for kind in KINDS if kind.__name__ in asked.get("kinds", (kind.__name__,))]

    def besiege(number: int) -> None:
        kind = kinds[number % len(kinds)]
        source = f"127.{1 + number % 250}.{1 + number // 250}.{1 + number % 199}"
        enemy = Enemy(asked["port"], source, revoked, strange, until)
        time.sleep(enemy.draw.random() * 2 * PAUSE)
        while time.monotonic() < until:
            made[kind.__name__] += 1
            with suppress(OSError, SSL.Error):
                kind(enemy)
            time.sleep(PAUSE * (0.5 + enemy.draw.random()))

    threads = [threading.Thread(target=besiege, args=(number,), daemon=True) for number in range(asked["connections"])]
    for thread in threads:
        thread.start()
    print("under way", flush=True)
    for thread in threads:
        thread.join(max(0.0, until + 2.0 - time.monotonic()))
    print("over " + json.dumps(made), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
