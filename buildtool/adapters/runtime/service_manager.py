"""What is told to the service manager that started this program, by systemd's notify protocol: a datagram a message.

Written out here, since it is one ``sendto``: ``sdnotify`` has had no release since 2017, and ``systemd-python`` wants a
compiler and libsystemd's headers on each machine.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Self

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import StorageUnavailable
from buildtool.model.text import one_line

log = Logger()

STATUS_LIMIT = 200
"""The longest status, in characters."""

PARTS = 3.0
"""So many signs of life fit into the time after which the service manager gives the program up."""

HURRY = 0.2
"""The most seconds for which the program waits for a service manager that has too much to read."""

_MILLION = 1e6


def _time(text: str) -> float | None:
    """Return microseconds as seconds, None for what is none."""
    return int(text) / _MILLION if text.isascii() and text.isdigit() and int(text) > 0 else None


@define
class ServiceManager:
    """The service manager, where it wants to be told how the program is; else nothing is sent.

    ``watchdog`` is after how many seconds without a sign of life it ends the program, None where it waits for none.
    """

    place: str = ""
    watchdog: float | None = None
    _deaf: bool = field(default=False, init=False, eq=False)

    @classmethod
    def of(cls, environment: MutableMapping[str, str], process: int) -> Self:
        """Return the one that the environment names for ``process``.

        The variables are removed: no program that is started speaks for this one.
        """
        place = environment.pop("NOTIFY_SOCKET", "")
        seconds = _time(environment.pop("WATCHDOG_USEC", ""))
        whose = environment.pop("WATCHDOG_PID", "")
        if place and place[0] not in "/@":
            log.warn("$NOTIFY_SOCKET is no path and no abstract name, so that nothing is told: {place}", place=place)
            place = ""
        return cls(place, seconds if place and whose in ("", str(process)) else None)

    def ready(self, status: str) -> None:
        """Send that the program does its work from now on."""
        self._send("READY=1", f"STATUS={one_line(status, STATUS_LIMIT)}")

    def alive(self) -> None:
        """Send a sign of life."""
        self._send("WATCHDOG=1")

    def stopping(self, reason: str) -> None:
        """Send that the program begins to end, and why."""
        self._send("STOPPING=1", f"STATUS={one_line(f'stopping: {reason}', STATUS_LIMIT)}")

    def _send(self, *fields: str) -> None:
        if not self.place:
            return
        address = f"\0{self.place[1:]}" if self.place[0] == "@" else self.place
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.settimeout(HURRY)
                sending.sendto("\n".join(fields).encode("utf-8", "replace"), address)
        except OSError as error:
            if not self._deaf:  # once: what it does without a sign of life it says itself
                log.warn(
                    "the service manager at {place} cannot be told {what}: {error}",
                    place=self.place,
                    what=fields[0],
                    error=error.strerror or str(error),
                )
            self._deaf = True
        else:
            self._deaf = False


async def _nothing_more() -> None:
    """Prove nothing beyond that the reactor has come here."""


@define(eq=False)
class SignsOfLife:
    """The signs of life of a program to its service manager: that it is ready, with ``start``, lives, and ends.

    Before each sign of life the reactor has called, and ``turns`` has ended: what hangs sends none, and the service
    manager starts the program anew. Storage that says no has answered, and a restart would not mend it.
    """

    _manager: ServiceManager
    timers: IReactorTime
    turns: Callable[[], Awaitable[object]] = _nothing_more
    _task: PeriodicTask | None = None

    @classmethod
    def here(cls, timers: object) -> Self:
        """Return those of this process; nothing that it starts sees the variables that name the service manager."""
        return cls(ServiceManager.of(os.environ, os.getpid()), IReactorTime(timers))

    def start(self, status: str) -> None:
        """Send that the program is ready, and from then on that it lives, where the service manager waits for it."""
        self._manager.ready(status)
        seconds = self._manager.watchdog
        if seconds is None:
            return

        async def sign(_task: PeriodicTask) -> float:
            with suppress(StorageUnavailable):
                await self.turns()
            self._manager.alive()
            return seconds / PARTS

        self._task = PeriodicTask("the sign of life", self.timers, sign)
        self._task.start(0.0)

    async def stop(self, reason: str) -> None:
        """Send that the program ends, and no more signs of life."""
        self._manager.stopping(reason)
        if self._task is not None:
            await self._task.stop()
