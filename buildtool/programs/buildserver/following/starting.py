"""How a build server starts by the commit that it follows, and goes back to what held where that does not load."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import evolve, frozen
from twisted.logger import Logger

from buildtool.adapters.vcs.followed.signatures import check_can_verify
from buildtool.configuration.settings import Settings, need_projects
from buildtool.errors import BuildToolError
from buildtool.model.guest.follow_record import FollowRecord
from buildtool.model.guest.following import SHORT
from buildtool.programs.buildserver.following.choice import FollowChoice, choice_of
from buildtool.programs.buildserver.following.loading import FollowedTrees, with_projects_of
from buildtool.programs.buildserver.following.memory import FollowMemory
from buildtool.programs.buildserver.following.telling import record_words

log = Logger()

T = TypeVar("T")


@frozen
class Following:
    """The choice of an owner, what is remembered of it, and where its files are."""

    choice: FollowChoice
    place: Path

    @property
    def memory(self) -> FollowMemory:
        """What is remembered."""
        return FollowMemory(self.place)

    @property
    def trees(self) -> FollowedTrees:
        """The files of commits."""
        return FollowedTrees(self.choice, self.place)

    def record(self) -> FollowRecord:
        """Return what is remembered. Blocks. Raises ConfigurationError."""
        return self.memory.load(self.choice.source)

    def started(self, settings: Settings, make: Callable[[Settings], T]) -> T:
        """Return what ``make`` makes of the settings with the projects of the commit that begins, or else holds.

        Where neither loads, or there is none, the projects are this machine's own. Only with the directory's lock.
        Blocks. Raises what ``make`` does.
        """
        check_can_verify()  # as a file of keys that is wrong, this ends the start
        self.choice.read_keys()
        record = self.record().starting()
        self.memory.save(record)
        if record.begins:
            try:
                made = make(with_projects_of(settings, self.trees.written(record.begins)))
            except BuildToolError as error:
                log.error("{commit} cannot be used: {why}", commit=record.begins[:SHORT], why=error)
                record = record.gone_back(str(error))
                self.memory.save(record)
            else:
                record = record.held(time.time())
                self.memory.save(record)
                log.info("the configuration is {commit} of {what}", commit=record.holds[:SHORT], what=self.words)
                self._settle(record.holds)
                return made
        return make(self._settings(settings, record))

    def shown(self, settings: Settings) -> Settings:
        """Return the settings as a start has them now; nothing is changed. Blocks. Raises BuildToolError."""
        check_can_verify()
        self.choice.read_keys()
        holds = self.record().holds
        return with_projects_of(settings, self.trees.written(holds, anew=False)) if holds else settings

    @property
    def words(self) -> str:
        """What is followed."""
        return self.choice.repository(self.place).words

    def _settings(self, settings: Settings, record: FollowRecord) -> Settings:
        holds = record.holds
        if not holds:
            log.info("nothing of {what} holds yet: projects are those of {path}", what=self.words, path=settings.path)
            return settings
        try:
            found = with_projects_of(settings, self.trees.written(holds))
        except BuildToolError as error:
            words = {"commit": holds[:SHORT], "path": settings.path, "why": error}
            log.error("{commit}, which held, is not loaded: {why}; projects are those of {path}", **words)
            self.memory.save(evolve(record, lost=str(error)))
            return settings
        if record.lost:
            self.memory.save(evolve(record, lost=""))
        log.info("the configuration is {commit} of {what}", commit=holds[:SHORT], what=self.words)
        self._settle(holds)
        return found

    def _settle(self, holds: str) -> None:
        """Keep what holds, and clear away what was tried."""
        self.choice.repository(self.place).keep(holds)
        self.trees.keep_only(holds)


def following_of(said: argparse.Namespace, place: Path) -> Following | None:
    """Return what an owner follows, which is kept below ``place``; None for nothing. Raises UsageError."""
    choice = choice_of(said)
    return None if choice is None else Following(choice, place)


def shown_with(following: Following | None, settings: Settings) -> tuple[Settings, str]:
    """Return the settings as a start has them now, and how things stand with what is followed.

    Blocks. Raises BuildToolError.
    """
    if following is None:
        return settings, ""
    return following.shown(settings), f"{following.words}: {record_words(following.record())}"


def started_with(following: Following | None, settings: Settings, make: Callable[[Settings], T]) -> T:
    """Return what ``make`` makes of the settings with which the program starts. Raises what that does."""
    if following is None:
        need_projects(settings)
        return make(settings)
    return following.started(settings, make)
