"""The other ends of the limits: ``python -m tests.benchmarks.peers KIND`` serves the barest thing of its kind.

``pb`` answers a dictionary with a number, ``http`` throws the body of a PUT away, ``klein`` shows 50 rows from memory.
"""

# Perspective Broker and twisted.web.http have no annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import sys
from typing import Any, cast

from jinja2 import Environment
from klein import Klein
from twisted.internet import reactor as stock
from twisted.internet.address import IPv4Address
from twisted.internet.base import ReactorBase
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.spread import pb
from twisted.web import http
from twisted.web.server import Request, Site

_ROWS = [
    {
        "id": number,
        "state": "succeeded",
        "project": "noop",
        "revision": f"{number:012x}",
        "server": f"bench-{number % 16}",
        "when": "3 minutes ago",
        "took": "1.2 s",
        "url": f"/artifacts/{number:064x}/noop.zip",
    }
    for number in range(50)
]
_PAGE = """<!DOCTYPE html><html lang="en"><head><title>Builds</title></head><body><table>
{% for row in rows -%}
<tr><th><a href="/build/{{ row.id }}">{{ row.id }}</a> {{ row.state }}</th><td>{{ row.project }}
<code>{{ row.revision }}</code></td><td>{{ row.server }}</td><td>{{ row.when }}</td><td>{{ row.took }}</td>
<td><a href="{{ row.url }}">zip</a></td></tr>
{% endfor -%}
</table></body></html>
"""


class _Root(pb.Root):
    """Answers at once."""

    def remote_call(self, _message: Any) -> int:
        return 1


class _Sink(http.Request):
    """Throws a body away and says how long it was."""

    size = 0

    def gotLength(self, length: int | None) -> None:
        """Nothing is kept."""

    def handleContentChunk(self, data: bytes) -> None:
        self.size += len(data)

    def process(self) -> None:
        """Unused: ``requestReceived`` answers."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.method, self.uri, self.clientproto = command, path, version
        body = b"%d" % self.size
        self.setResponseCode(201)
        self.setHeader("Content-Length", str(len(body)))
        self.write(body)
        self.finish()


def _factory(kind: str) -> IProtocolFactory:
    if kind == "pb":
        return cast(IProtocolFactory, pb.PBServerFactory(_Root()))
    if kind == "http":
        sink = http.HTTPFactory()
        sink.log = _silent  # type: ignore[assignment]
        sink.buildProtocol = lambda _address: _channel(sink)  # type: ignore[assignment, method-assign, return-value]
        return cast(IProtocolFactory, sink)
    app = Klein()
    page = Environment(autoescape=True).from_string(_PAGE)

    @app.route("/builds")
    def builds(request: Request) -> bytes:
        body = page.render(rows=_ROWS).encode()
        request.setHeader("Content-Length", str(len(body)))
        return body

    site = Site(app.resource())
    site.log = _silent  # type: ignore[assignment]
    return cast(IProtocolFactory, site)


def _silent(_request: object) -> None:
    """Log nothing."""


def _channel(factory: http.HTTPFactory) -> http.HTTPChannel:
    channel = http.HTTPChannel()
    channel.requestFactory = _Sink
    channel.factory = factory
    return channel


def main() -> int:
    """Serve until killed; the port is printed first."""
    reactor = cast(ReactorBase, stock)
    listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(_factory(sys.argv[1]))

    def tell(port: IListeningPort) -> None:
        print(f"listening on port {cast(IPv4Address, port.getHost()).port}", flush=True)

    listening.addCallback(tell)
    reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
