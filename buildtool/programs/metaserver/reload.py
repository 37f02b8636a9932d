"""SIGHUP: the configuration is read again, and taken over whole or refused whole."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import FrameType
from typing import Any

from attrs import define, field
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.adapters.runtime.threads import Inline
from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.given.reading import given_again
from buildtool.configuration.settings import Settings, check_projects, load_settings
from buildtool.errors import BuildToolError, ConfigurationError
from buildtool.ports.common import Executor
from buildtool.programs.common.beginning import is_ignored
from buildtool.programs.common.farm_tls import check_own_files
from buildtool.programs.metaserver.mail import check_mail
from buildtool.programs.metaserver.tell.telling import check_told

log = Logger()

FIXED = (
    "bind", "pb_bind", "transfer_bind", "web_bind", "plain_ports", "pb_port", "transfer_port", "web_port", "state_dir",
    "lease",
)  # fmt: skip
"""The settings that are not taken over while the metaserver runs: they say what it has open, or has promised."""


PATIENCE = 30.0
"""Seconds that a configuration may take to be read while the metaserver runs."""


def reread(old: Settings) -> Settings:
    """Return the configuration as its file is now, checked as ``check-config`` does. Raises ConfigurationError."""
    settings = load_settings(old.path, given=given_again(old.given))
    check_projects(settings)
    moved = [name for name in FIXED if getattr(old, name) != getattr(settings, name)]
    if moved:
        raise ConfigurationError(
            f"{', '.join(moved)} cannot be changed while the metaserver runs: restart it, or set them back"
        )
    if settings.own_files != old.own_files:
        check_own_files(settings, time.time())
    check_mail(settings)
    check_told(settings)
    return settings


@define
class ConfigurationReload:
    """The replacement of the current configuration; ``apply`` then does what does not follow by itself.

    A configuration is a program, which may take long: ``executor`` runs it while everything else goes on, and with
    ``timers`` it has ``patience`` seconds.
    """

    current: CurrentConfiguration
    apply: Callable[[Settings], Awaitable[None]]
    executor: Executor = field(factory=Inline)
    timers: IReactorTime | None = None
    patience: float = PATIENCE
    _one: DeferredLock = field(factory=DeferredLock, init=False)

    async def reload(self) -> None:
        """Read the configuration again. Either everything in it holds from now on, or nothing; the log says which."""
        await self._one.run(self._reload)

    async def _reload(self) -> None:
        try:
            settings = await self._reread()
        except BuildToolError as error:
            log.error("the configuration stays as it was: {error}", error=error)
            return
        self.current.settings = settings
        try:
            await self.apply(settings)
        except BuildToolError as error:
            log.warn("what waits is given out by the new configuration later: {error}", error=error)
        names = ", ".join(project.name for project in settings.projects)
        log.info("the configuration was read again and holds now: {path}, {names}", path=settings.path, names=names)

    async def _reread(self) -> Settings:
        reading = Deferred.fromCoroutine(self.executor.run(partial(reread, self.current.settings)))
        if self.timers is not None:
            reading.addTimeout(self.patience, self.timers)
        try:
            return await reading
        except TookTooLong as error:
            where, within = self.current.settings.path, f"{self.patience:g} s"
            raise ConfigurationError(f"{where} was not read within {within}: what does it wait for?") from error


def on_hangup(reactor: ReactorBase, reload: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Call ``reload`` at each SIGHUP. Where SIGHUP is ignored (``nohup`` does that) it stays ignored."""

    def failed(failure: Failure) -> None:
        log.failure("the configuration could not be read again", failure)

    def begin() -> None:
        Deferred.fromCoroutine(reload()).addErrback(failed)

    def signalled(_number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(begin)

    if not is_ignored(signal.SIGHUP):
        signal.signal(signal.SIGHUP, signalled)
