"""A TCP proxy that delays: ``python -m tests.benchmarks.proxy PORT MILLISECONDS`` delays each direction by that much.

Bandwidth is not limited; at most ``WINDOW`` bytes are under way in one direction, as on a long fat line.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import deque

WINDOW = 128 * 1024 * 1024
PIECE = 1024 * 1024


class _Direction:
    """Bytes on their way from one socket to another."""

    def __init__(self, source: socket.socket, target: socket.socket, delay: float) -> None:
        self._source = source
        self._target = target
        self._delay = delay
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._changed = threading.Condition()
        for act in (self._take, self._give):
            threading.Thread(target=act, daemon=True).start()

    def _take(self) -> None:
        data = b"first"
        while data:
            try:
                data = self._source.recv(PIECE)
            except OSError:
                data = b""
            with self._changed:
                self._changed.wait_for(lambda: self._size < WINDOW)
                self._pieces.append((time.monotonic() + self._delay, data))
                self._size += len(data)
                self._changed.notify_all()

    def _give(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces)
                due, data = self._pieces.popleft()
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                if not data:
                    self._target.shutdown(socket.SHUT_WR)
                    return
                self._target.sendall(data)
            except OSError:
                self._source.close()
                data = b""
            with self._changed:
                self._size -= len(data)
                self._changed.notify_all()


def main() -> int:
    """Serve until killed; the port is printed first."""
    port, delay = int(sys.argv[1]), float(sys.argv[2]) / 1000
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(f"listening on port {listener.getsockname()[1]}", flush=True)
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Direction(near, far, delay)
        _Direction(far, near, delay)


if __name__ == "__main__":
    sys.exit(main())
