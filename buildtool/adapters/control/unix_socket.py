"""The operator's socket in the state directory: ``control``, which nobody but its owner can open."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.internet.base import ReactorBase
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IReactorUNIX, IStreamClientEndpoint
from twisted.internet.tcp import Port as TcpPort
from twisted.internet.unix import Port
from twisted.python.failure import Failure

from buildtool.errors import ConfigurationError, NotRunning, StorageUnavailable

NAME = "control"

LONGEST = 100
"""Most bytes of a socket's address: systems have room for 104 to 108."""

_DESCRIPTORS = Path("/proc/self/fd")
"""Where a directory that is open has a short name, on Linux."""


class ControlPort(Port):
    """A port at ``path``, to which ``address`` leads; the socket goes away at the end."""

    def __init__(self, reactor: ReactorBase, path: Path, address: str, factory: IProtocolFactory) -> None:
        super().__init__(os.fsencode(address), factory, mode=0o600, reactor=reactor)
        self._path = path

    def connectionLost(self, reason: Failure) -> None:
        """Listen no more. The address need not lead there any longer, and somebody may have deleted the socket."""
        self._path.unlink(missing_ok=True)
        TcpPort.connectionLost(self, reason)


def listen_control(reactor: ReactorBase, directory: Path, factory: IProtocolFactory) -> ControlPort:
    """Listen at ``directory/control``. Only who holds the directory's lock may: a socket that is there is stale.

    Raises StorageUnavailable, ConfigurationError.
    """
    path = directory / NAME
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StorageUnavailable(f"{path} is no socket: the operator's socket belongs there, move it away")
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageUnavailable(f"the operator's socket {path} cannot be replaced: {error.strerror}") from error
    with _short(path) as address:
        port = ControlPort(reactor, path, address, factory)
        before = os.umask(0o177)
        try:
            port.startListening()  # type: ignore[no-untyped-call]
        except CannotListenError as error:
            why = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise StorageUnavailable(f"the operator's socket {path} cannot be made: {why}") from error
        finally:
            os.umask(before)
    return port


@contextmanager
def at_control_socket(reactor: IReactorUNIX, directory: Path) -> Iterator[IStreamClientEndpoint]:
    """Open a way to the metaserver that uses ``directory``. Raises NotRunning, ConfigurationError."""
    path = directory / NAME
    try:
        status = os.lstat(path)
    except FileNotFoundError as error:
        raise NotRunning(f"no metaserver runs with {directory}") from error
    except OSError as error:
        raise NotRunning(f"no metaserver can be asked with {directory}: {error.strerror or error}") from error
    if not stat.S_ISSOCK(status.st_mode):
        raise NotRunning(f"no metaserver runs with {directory}: {path} is no socket")
    with _short(path) as address:
        yield UNIXClientEndpoint(reactor, address)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Have an address for a socket whose path may be too long for one."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    if not _DESCRIPTORS.is_dir():
        raise ConfigurationError(f"state_dir: {path} is too long for a socket: at most {LONGEST} bytes")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield str(_DESCRIPTORS / str(directory) / path.name)
    finally:
        os.close(directory)
