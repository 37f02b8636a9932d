"""SIGHUP: the configuration is read again, and taken over whole or refused whole."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Coroutine
from types import FrameType
from typing import Any

from attrs import define, field
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildtool.entry.beginning import is_ignored
from buildtool.errors import BuildToolError, ConfigurationError
from buildtool.settings import Settings, check_projects, load_settings

log = Logger()

FIXED = ("bind", "pb_port", "transfer_port", "web_port", "state_dir", "lease")
"""The settings that are not taken over while the metaserver runs: they say what it has open, or has promised."""


def reread(old: Settings) -> Settings:
    """Return the configuration as its file is now, checked as ``--check-config`` does. Raises ConfigurationError."""
    settings = load_settings(old.path)
    check_projects(settings)
    moved = [name for name in FIXED if getattr(old, name) != getattr(settings, name)]
    if moved:
        raise ConfigurationError(
            f"{', '.join(moved)} cannot be changed while the metaserver runs: restart it, or set them back"
        )
    return settings


@define
class Reloading:
    """Takes another configuration over when asked to, one after the other. ``settings`` are those that hold now."""

    settings: Settings
    take: Callable[[Settings], Awaitable[None]]
    _one: DeferredLock = field(factory=DeferredLock, init=False)

    async def reload(self) -> None:
        """Read the configuration again. Either everything in it holds from now on, or nothing; the log says which."""
        await self._one.run(self._reload)

    async def _reload(self) -> None:
        try:
            settings = reread(self.settings)
        except BuildToolError as error:
            log.error("the configuration stays as it was: {error}", error=error)
            return
        self.settings = settings
        try:
            await self.take(settings)
        except BuildToolError as error:
            log.warn("what waits is given out by the new configuration later: {error}", error=error)
        names = ", ".join(project.name for project in settings.projects)
        log.info("the configuration was read again and holds now: {path}, {names}", path=settings.path, names=names)


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
