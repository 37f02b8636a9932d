"""A forge at a port of this machine, for the programs that ask it by HTTP or HTTPS."""

from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import define, field

from tests.support.forges.forge import Call, Forge


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.look()
        with self.server.lock:
            reply = self.server.forge.answer(Call.of(self.command, self.path, self.headers.items(), body))
            self.server.lock.notify_all()
        sent = reply.sent
        self.send_response(reply.code)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    forge: Forge
    look: Callable[[], object]
    lock: threading.Condition

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore who hung up: a program that is killed does."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # as the library declares it


@define(eq=False)
class ServedForge:
    """A forge that is asked at ``site``. ``look`` is called before each answer, and may take its time."""

    forge: Forge
    tls: ssl.SSLContext | None = None
    look: Callable[[], object] = list
    _server: _Server = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._server = server = _Server(("127.0.0.1", 0), _Handler)
        server.forge, server.look, server.lock = self.forge, self.look, threading.Condition()
        if self.tls is not None:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def site(self) -> str:
        """Where it is asked."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def until(self, so: Callable[[], object], seconds: float = 60.0) -> None:
        """Return once something is so, which is looked at after each answer."""
        with self._server.lock:
            assert self._server.lock.wait_for(so, seconds), [reply.code for _, reply in self.forge.calls]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
