"""A peer on a plain blocking socket that speaks Perspective Broker and does with it what no program of ours would."""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import attrs
from attrs import define, field, frozen

from buildtool.adapters.control.decoder import Bounds, Expressions, plain
from buildtool.adapters.control.encoder import Encoded, call_bytes, encoded
from buildtool.model.platforms import Value
from buildtool.model.servers import Capability, Held, Offer, OfferKind, ProjectSkill
from buildtool.protocol.codec import encode, text_of
from buildtool.protocol.hello import PROTOCOL_VERSION, Hello
from buildtool.protocol.json_text import TextBounds, parsed
from buildtool.protocol.messages import Register, Submit

LOCAL: dict[str, Value] = {
    "os": "linux",
    "arch": "x86_64",
    "bits": 64,
    "byteorder": "little",
    "libc": "glibc",
    "libc_version": "2.36",
    "cpu_level": "x86-64-v1",
}
"""What the requester's machine is in every submission made here."""

_BOUNDS = Bounds(10**8, 10**7, 200)
_TEXTS = TextBounds(10**7, 200)
_OURS = 7
"""The number under which a peer says that an object of its own can be called."""


class Gone(Exception):
    """The connection is closed, or a call was answered with an error."""


@frozen
class Reference:
    """An object of the other side, by its number."""

    number: int


@define(eq=False)
class Peer:
    """One connection in a role, by TLS where ``tls`` is given; ``hello=False`` leaves it before the first message."""

    port: int
    role: str = "requester"
    seconds: float = 30.0
    hello: bool = True
    source: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    orders: list[Sequence[object]] = field(factory=list)
    _socket: socket.socket = field(init=False)
    _read: Expressions = field(init=False)
    _came: list[object] = field(factory=list)
    _calls: int = 0
    _door: object = b"root"

    def __attrs_post_init__(self) -> None:
        self._read = Expressions(_BOUNDS)
        self._socket = socket.create_connection(("127.0.0.1", self.port), self.seconds, source_address=(self.source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None:
            self._socket = self.tls.wrap_socket(self._socket)
        if self.hello:
            self._begin()

    def _begin(self) -> None:
        self._next()  # the dialects
        self.write(b"\x02\x82pb" + call_bytes((b"version", 6)))
        self._next()  # the version
        answer = self.call("hello", encode(Hello(PROTOCOL_VERSION, self.role, "hostile")))
        if not isinstance(answer, tuple) or not isinstance(answer[0], Reference):
            raise Gone(f"hello was answered {answer}")
        self._door = answer[0].number

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def _next(self) -> object:
        while not self._came:
            data = self._socket.recv(1 << 20)
            if not data:
                raise Gone("closed by the other side")
            self._came += self._read.feed(data)
        return self._came.pop(0)

    def send(self, name: str, message: object) -> int:
        """Call a method with a message's text and return the call's number; nothing is waited for."""
        self._calls += 1
        data = encoded(message, _no_reference)
        arguments = _tuple_of([data, _own_object()] if name == "register" else [data])
        command = (b"message", self._calls, self._door, name.encode(), 1, arguments, encoded({}, _no_reference))
        self.write(call_bytes(command))
        return self._calls

    def answer(self, number: int) -> object:
        """Return what a call was answered; calls that come meanwhile are kept in ``orders``. Raises Gone, OSError."""
        while True:
            came = self._next()
            if not isinstance(came, list) or not came:
                continue
            if came[0] == b"answer" and came[1] == number:
                return _understood(plain(came[2], Reference))
            if came[0] == b"error" and came[1] == number:
                raise Gone("answered with an error")
            if came[0] == b"message":
                self.orders.append(came)

    def call(self, name: str, message: object) -> object:
        """Call a method and return its answer. Raises Gone, OSError."""
        return self.answer(self.send(name, message))

    def asked(self, name: str, message: attrs.AttrsInstance) -> Mapping[str, object]:
        """Call a method with a message of the protocol and return the fields of what is answered."""
        answer = self.call(name, text_of(message))
        if not isinstance(answer, dict):
            raise Gone(f"{name} was answered {answer!r:.100}")
        return answer

    def order(self) -> Sequence[object]:
        """Return the next call of the other side: name, arguments and the number to reply to."""
        while not self.orders:
            came = self._next()
            if isinstance(came, list) and came and came[0] == b"message":
                self.orders.append(came)
        came = self.orders.pop(0)
        arguments = plain(came[5], Reference)
        assert isinstance(arguments, tuple)
        return came[3], tuple(map(_understood, arguments)), came[1]

    def reply(self, number: object, message: attrs.AttrsInstance) -> None:
        """Answer a call of the other side."""
        self.write(call_bytes((b"answer", number, encoded(text_of(message), _no_reference))))

    def close(self) -> None:
        """Leave without a word."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _understood(part: object) -> object:
    return parsed(part, _TEXTS) if isinstance(part, bytes) else part


def _no_reference(_: object) -> int:
    raise TypeError("no object of ours is sent inside of a message")


def _tuple_of(parts: Sequence[Encoded]) -> Encoded:
    """Return encoded parts as one encoded tuple: the arguments of a call."""
    empty = encoded((), _no_reference)
    head, word = empty[:1], empty[2:]
    return Encoded(bytes((head[0] + len(parts),)) + empty[1:2] + word + b"".join(parts))


def _own_object() -> Encoded:
    pair = encoded("x", _no_reference)[:2]
    return Encoded(pair + call_bytes((b"remote", _OURS))[2:])


def submission(
    project: str, revision: str, compile_options: Mapping[str, Value], email: str = "x@example.org"
) -> Submit:
    """Return a submission like any other."""
    return Submit(secrets.token_hex(16), project, email, "", revision, "", dict(compile_options), {}, dict(LOCAL))


def registration(
    name: str, skill: ProjectSkill, *, offers: int = 1, host_info: str = "", held: Sequence[Held] = ()
) -> Register:
    """Return an announcement under ``name``: the local platform, and as many more that nobody has ever heard of."""
    platforms = [Offer(_platform("x86_64"), OfferKind.NATIVE, ())]
    platforms += [Offer(_platform(f"zz{number}"), OfferKind.NATIVE, ()) for number in range(1, offers)]
    machine: tuple[tuple[str, Value], ...] = (
        ("cpus", 64),
        ("disk", 10**6),
        ("memory", 10**6),
        ("tools", ("gcc", "make")),
    )
    capability = Capability(tuple(platforms), machine, (skill,), 64, host_info)
    return Register(name, capability, tuple(held))


def _platform(arch: str) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted({**LOCAL, "arch": arch}.items()))
