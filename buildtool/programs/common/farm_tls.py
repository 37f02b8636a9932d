"""The TLS of a program's ports: which certificates they show, and that these are the right ones while it runs.

Tested by tests/e2e/test_ports.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping
from functools import partial
from pathlib import Path

from attrs import Factory, define, field
from cryptography import x509
from twisted.internet.base import ReactorBase
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger

from buildtool.adapters.network.violation_log import ViolationLog
from buildtool.adapters.storage.filesystem import RealDisk
from buildtool.adapters.tls.authority import KEYS, SERVER, Authority, read_identity
from buildtool.adapters.tls.certificates import Identified
from buildtool.adapters.tls.contexts import ANY_HTTP, ServerTls
from buildtool.adapters.tls.one_port import OnePort, anybody_may
from buildtool.adapters.tls.one_port import listening as by_tls
from buildtool.adapters.tls.own_certificate import OwnFiles, read_own_certificate
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.port_settings import Part
from buildtool.configuration.settings import Settings
from buildtool.errors import ConfigurationError, UsageError
from buildtool.ports.common import Clock
from buildtool.programs.common.listening import adopt, handed_over, listen
from buildtool.programs.common.output import called
from buildtool.programs.common.shutdown import ShutdownList

log = Logger()

LOOK_EVERY = 10.0
"""Seconds between two looks whether files with certificates have changed."""

Certificates = tuple[Identified, tuple[x509.Certificate, ...], tuple[x509.Certificate, ...]]
"""What is shown, what leads on from it, and which authorities are believed."""


@define(eq=False)
class FarmTls:
    """The certificates of a program's ports. ``farm`` returns the farm's own where no other part looks after it.

    ``begins`` is asked with the network of each that begins a handshake.
    """

    shown: ServerTls
    clock: Clock
    timers: IReactorTime
    farm: Callable[[], Certificates] | None = None
    begins: Callable[[str], None] = anybody_may
    _files: OwnFiles | None = field(default=None, init=False)

    def take(self, settings: Settings) -> None:
        """Show the certificate that the configuration names. Raises ConfigurationError."""
        wanted = settings.own_files
        if wanted is None:
            self._files = None
        elif self._files is None or wanted != (self._files.certificate, self._files.key):
            self._files = OwnFiles.load(*wanted)
        self._show_own()
        self.refresh()

    def listener(self, spoken: Mapping[bytes, IProtocolFactory], met: Container[str] = ()) -> IProtocolFactory:
        """Return what listens with TLS on a port that speaks these protocols; networks in ``met`` go first."""
        port = OnePort(spoken, self.timers, ViolationLog(self.timers), begins=self.begins, met=met)
        return by_tls(self.shown, port)

    async def look(self, _task: PeriodicTask) -> float:
        """Show what is there by now; return in how many seconds to look again."""
        self.refresh()
        return LOOK_EVERY

    def refresh(self) -> None:
        """Show what is there by now, from the next connection on."""
        files = self._files
        before = files.problem if files is not None else ""
        if files is not None and files.look(self.clock.wall()):
            self._show_own()
            log.info("{path} was read again: connections from now on are shown it", path=files.certificate)
        if files is not None and files.problem not in ("", before):
            log.error("{problem}", problem=files.problem)
        if self.farm is not None:
            identity, chain, believed = self.farm()
            if identity.certificate != self.shown.identity.certificate:
                self.shown.take(identity, chain, believed)

    def problems(self) -> tuple[str, ...]:
        """Return what the operator has to do about the certificates."""
        return self._files.problems(self.clock.wall()) if self._files is not None else ()

    def _show_own(self) -> None:
        own = self._files.current if self._files is not None else None
        if own != self.shown.own:
            self.shown.take_own(own)


def kept_certificates(state_dir: Path) -> Certificates:
    """Return the certificate that a metaserver keeps in its state directory, for another program.

    Raises ConfigurationError.
    """
    path = state_dir / KEYS / SERVER
    try:
        identity, _ = read_identity(path, RealDisk())
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the pages speak TLS where they listen, and the metaserver's certificate cannot be read "
            f"({error.strerror}): start {called('metaserver')} first, or say plain_ports"
        ) from error
    return identity, (), ()


def check_own_files(settings: Settings, now: float) -> None:
    """Raise ConfigurationError where the own certificate is no good at ``now`` (seconds of wall time)."""
    if settings.own_files is not None:
        read_own_certificate(*settings.own_files, now)


def open_tls(
    settings: Callable[[], Settings],
    shown: ServerTls | None,
    clock: Clock,
    timers: IReactorTime,
    begins: Callable[[str], None] = anybody_may,
) -> FarmTls | None:
    """Return the TLS of a metaserver's ports, None where none speaks it; ``shown`` is that of a farm with keys.

    Raises ConfigurationError, StorageUnavailable.
    """
    farm = None
    if shown is None:
        if not any(settings().speaks_tls(part) for part in Part):
            return None
        farm = _made(settings, clock)
        shown = ServerTls(*farm())
    made = FarmTls(shown, clock, timers, farm, begins)
    made.take(settings())
    return made


def _made(settings: Callable[[], Settings], clock: Clock) -> Callable[[], Certificates]:
    """Return what makes the farm's certificate anew where it is time. Raises ConfigurationError, StorageUnavailable."""
    authority = Authority.load(settings().state_dir / KEYS, clock.wall())

    def made() -> Certificates:
        now = clock.wall()
        shown = authority.server(settings().hosts, now, settings().certificate_life)
        return shown, authority.chain(now), authority.believed(now)

    return made


def _socket_name(part: Part) -> str:
    """Return what a socket unit calls the socket of a part."""
    return part.name.lower()


def _given() -> dict[str, list[int]]:
    return handed_over(os.environ, [_socket_name(part) for part in Part])


@define(eq=False)
class Ports:
    """The ports of a program by its settings, each by TLS where that is asked for; ``closing`` ends them.

    Where a service manager hands sockets over for a part, ``given`` by its name, these take the place of the setting.
    """

    reactor: ReactorBase
    settings: Callable[[], Settings]
    closing: ShutdownList
    tls: FarmTls | None
    given: dict[str, list[int]] = Factory(_given)

    def listen(self, part: Part, factory: IProtocolFactory) -> None:
        """Listen for a part where the settings say. Raises PortTaken, ConfigurationError."""
        settings = self.settings()
        if self.tls is not None and part is not Part.CONTROL and settings.speaks_tls(part):
            factory = self.tls.listener({ANY_HTTP: factory})
        place, name = settings.place(part), f"{part.value}_port"
        given = self.given.pop(_socket_name(part), ())
        listening = [adopt(self.reactor, factory, descriptor) for descriptor in given] or [
            listen(self.reactor, factory, place.bind, place.port, name)
        ]
        for one in listening:
            self.closing.add(f"listening on {name}", partial(maybeDeferred, one.stopListening))

    def check_used(self) -> None:
        """Raise UsageError where a socket was handed over at which nothing would ever answer."""
        for name in self.given:
            raise UsageError(
                f"a socket named {name} was handed over, and nothing is served there: disable its socket unit, or "
                f"{'say --web' if name == _socket_name(Part.WEB) else 'set transfer_port'}"
            )
