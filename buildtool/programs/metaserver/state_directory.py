"""Opens what lies in the state directory, for this process alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.maintenance import tenure
from buildtool.adapters.maintenance.backup import keep_before_upgrade
from buildtool.adapters.maintenance.evidence import check_not_lost
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.archive.checking import check_archive
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.directory_lock import DATABASE, DirectoryLock
from buildtool.adapters.storage.key_file import load_key
from buildtool.adapters.storage.logs import LogStore
from buildtool.configuration.current import CurrentConfiguration
from buildtool.model.incarnations import Keys
from buildtool.programs.common.shutdown import ShutdownList
from buildtool.programs.metaserver.holding import StateHold

log = Logger()

FILE_THREADS = 4
"""Threads that write, sync and hash artifacts and logs."""

Pool = Callable[[int, str], Threads]
"""Makes so many threads, of this name in the log, that end when the metaserver does."""


@frozen
class StartOptions:
    """The options of a start that concern its state directory.

    ``accept_new`` lets it make a database beside files of an earlier one, ``restored`` says that it may be a copy.
    """

    accept_new: bool = False
    restored: bool = False


@frozen
class OpenState:
    """The contents of the state directory, open. ``threads`` write, sync and hash files."""

    directory: Path
    keys: Keys
    database: Database
    artifacts: ArtifactStore
    logs: LogStore
    threads: Threads
    holding: StateHold


async def open_state(
    configuration: CurrentConfiguration,
    beginning: StartOptions,
    timers: IReactorTime,
    closing: ShutdownList,
    pool: Pool,
    ask_stop: Callable[[str], None],
) -> OpenState:
    """Lock the state directory and open what lies in it; ``closing`` closes that at the end.

    ``ask_stop`` is called with the reason if the directory is lost later. Raises BuildToolError.
    """
    directory = configuration.settings.state_dir
    closing.add("the lock of the state directory", DirectoryLock(directory, "metaserver").close)
    if not beginning.accept_new:
        check_not_lost(directory)
    fresh = not (directory / "key").exists()
    secret = tenure.Secret(load_key(directory / "key"), fresh)
    database_threads, threads = pool(1, "database"), pool(FILE_THREADS, "files")
    if kept := await database_threads.run(partial(keep_before_upgrade, directory)):
        log.warn("{path} is upgraded; as it was before, it is kept as {kept}", path=directory / DATABASE, kept=kept)
    database = await SqliteDatabase.open(directory / DATABASE, database_threads)
    closing.add("the database", database.close)
    holding = StateHold(database, timers, ask_stop)
    keys = await _take_hold(holding, directory, secret, closing, restored=beginning.restored)
    logs = LogStore(directory, threads, searchers=pool(1, "searches"))
    await logs.start()

    def check(read: Callable[[int, int], bytes], size: int) -> None:
        limits = [project.artifact_limit for project in configuration.settings.projects]
        check_archive(read, size, max(size, *limits) if limits else size)

    artifacts = ArtifactStore(directory, threads, check=check)
    return OpenState(directory, keys, database, artifacts, logs, threads, holding)


async def _take_hold(
    holding: StateHold, directory: Path, secret: tenure.Secret, closing: ShutdownList, *, restored: bool
) -> Keys:
    """Take the database for this process, note in ``holding`` how it was found, and return its keys."""
    database = holding.database
    begun = await tenure.begin(database, directory, secret, time.time(), restored=restored)
    closing.add("the hold on the database", lambda: tenure.end(database))
    if begun.anew:
        log.warn("tokens and mails of what is asked for from now on are told apart: {why}", why=begun.anew)
    if begun.rekeyed:
        holding.notice = (
            f"{directory / 'key'} is not the key of the last start: cancel ids and tickets from before it hold no "
            "more; put that key back from a backup, or restart once more to have this one taken for granted"
        )
        log.error("{notice}", notice=holding.notice)
    return Keys(secret.key, begun.incarnations)
