"""Where the pages of a farm are, as somebody says it: the API is below."""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress
from buildtool.model.text import quoted
from buildtool.model.trust.evidence import SandboxLevel

API = "/api/v1"
"""What follows the address of the pages."""

_PORTS = {"http": 80, "https": 443}
_EXAMPLE = "https://farm.example.org"
_LONGEST = 2_000
_DIGITS = 18


@frozen
class FarmUrl:
    """The address of a farm's pages, with no ``/`` at its end, and the machine that it leads to."""

    where: str
    address: MetaserverAddress

    @property
    def api(self) -> str:
        """The address of the API."""
        return self.where + API

    def artifact(self, digest: str, sandbox: SandboxLevel = SandboxLevel.NONE) -> str:
        """Return the address of an artifact with these bytes, made in a sandbox of that level at least."""
        demanded = "" if sandbox is SandboxLevel.NONE else f"?sandbox={sandbox.value}"
        return f"{self.api}/artifacts/{digest}{demanded}"

    def log(self, build_id: int, attempt: int) -> str:
        """Return the address of the log of an attempt."""
        return f"{self.api}/builds/{build_id}/log?attempt={attempt}"

    def log_at(self, url: str) -> str:
        """Return the address of the log that is at a ``url`` of the transfer port; what is none stays as it is."""
        *_, kind, build_id, attempt = ("", "", "", *urlsplit(url).path.split("/"))
        if kind != "logs" or not (_is_number(build_id) and _is_number(attempt)):
            return url
        return self.log(int(build_id), int(attempt))

    def read_log(self, url: str) -> tuple[int, int] | None:
        """Return the build and the attempt whose log is at an address of this farm, None for any other."""
        build_id, _, attempt = url.removeprefix(f"{self.api}/builds/").partition("/log?attempt=")
        if not (_is_number(build_id) and _is_number(attempt)):
            return None
        found = int(build_id), int(attempt)
        return found if self.log(*found) == url else None


def read_farm_url(text: str, what: str = "--http") -> FarmUrl:
    """Return where the pages of a farm are, or its API; ``what`` is for messages. Raises UsageError."""
    said = f"{what} {quoted(text, 80)}"
    if not (text.isascii() and text.isprintable() and " " not in text and 0 < len(text) <= _LONGEST):
        raise UsageError(f"{said} is no address: say where the pages of the farm are, such as {_EXAMPLE}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{said} is no address: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError(f"{said} is no address of pages: it begins with https:// or http://, such as {_EXAMPLE}")
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"{what} takes no name or password in the address: say a token in BUILDTOOL_TOKEN")
    if parts.query or parts.fragment:
        raise UsageError(f"{said}: leave out what follows {'?' if parts.query else '#'}, such as {_EXAMPLE}")
    path = parts.path.rstrip("/").removesuffix(API)
    where = f"{parts.scheme}://{parts.netloc}{path}"
    return FarmUrl(where, MetaserverAddress(parts.hostname, port or _PORTS[parts.scheme]))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS
