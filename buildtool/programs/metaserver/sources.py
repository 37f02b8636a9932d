"""Where a running metaserver has sources from: git and Subversion in threads of their own, commits packed.

Tested by tests/e2e/test_sources.py.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence

from attrs import define
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.control.events.feed import LocalEvents
from buildtool.adapters.control.events.followers import EventFollowers
from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.runtime.fair_pool import FairPool
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.search.commit_store import SqlCommitStore
from buildtool.adapters.sql.telling.watches import SqlWatchStore
from buildtool.adapters.sql.triggers.hook_store import SqlHookStore
from buildtool.adapters.sql.triggers.store import SqlTriggerStore
from buildtool.adapters.vcs.by_url import Resolvers
from buildtool.adapters.vcs.git_mirrors.bundles import Bundles
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.adapters.vcs.git_worktrees.parts import SourceParts
from buildtool.adapters.vcs.svn.command import SvnCommand
from buildtool.adapters.vcs.svn.resolver import SvnResolver
from buildtool.concurrency.inbox import Gate
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.settings import Settings
from buildtool.errors import NotFound
from buildtool.metaserver.demands import DemandReader, source_url
from buildtool.metaserver.hooking.receiving import HookReceiver
from buildtool.metaserver.latest.branches import BranchTips
from buildtool.metaserver.latest.channels import ChannelFinder
from buildtool.metaserver.latest.finding import LatestFinder
from buildtool.metaserver.requests import RequestService
from buildtool.metaserver.showing.commit_notes import CommitNotes
from buildtool.metaserver.telling.subscriptions import Subscriptions
from buildtool.metaserver.telling.watch_book import WatchBook
from buildtool.metaserver.telling.watch_looks import WatchLooks
from buildtool.metaserver.telling.watches import WatchService
from buildtool.metaserver.triggering.triggers import Triggers
from buildtool.model.access.identities import Identity, KeyState
from buildtool.model.incarnations import Keys
from buildtool.model.records import BuildSpec
from buildtool.ports.metaserver import ArtifactFiles, Bundle, CommitReader, Handlers, Notifier
from buildtool.ports.triggers import RefReader
from buildtool.programs.common.shutdown import ShutdownList
from buildtool.programs.metaserver.state_directory import OpenState
from buildtool.protocol.news import EventNotes
from buildtool.protocol.source_parts import SourcePart

log = Logger()

VCS_THREADS = 4
"""Threads in which git and svn resolve refs: different repositories at the same time."""

SOURCES_GRACE = 1.0
"""Seconds in which those threads have to end what they do when the metaserver stops."""


async def open_sources(
    settings: Callable[[], Settings], reactor: ReactorBase, closing: ShutdownList
) -> tuple[Resolvers, SourceParts]:
    """Return what resolves revisions, and what packs sources, in the state directory; ``closing`` ends them.

    Logins of private origins are those of the settings that hold when git is started.
    """
    directory = settings().state_dir
    threads = Threads(reactor, VCS_THREADS, "version control")
    turns = FairPool(threads, VCS_THREADS)

    def login(url: str) -> str:
        return settings().origin_logins.url(url)

    def shares(url: str, submodule: str) -> bool:
        return settings().origin_logins.shares(url, submodule)

    timers = IReactorTime(reactor)
    git = GitMirror(directory / "mirrors", turns, login)
    svn = SvnCommand(directory / "subversion")
    closing.add("version control", lambda: _end_sources(threads, (git, svn)))
    bundles = Bundles(git, directory / "bundles", turns, timers)
    closing.add("the packed sources", bundles.stop)
    await bundles.start()
    return Resolvers(git, SvnResolver(svn, turns)), SourceParts(git, bundles, turns, timers, shares)


async def _end_sources(threads: Threads, sources: Sequence[GitMirror | SvnCommand]) -> None:
    """End what asks repositories: TERM, and KILL for what is still there after a moment."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        for source in sources:
            source.close(signum)
        if threads.stop(SOURCES_GRACE):
            return
    log.warn("cut off: threads for version control are still busy")


def noting(
    sources: CommitReader, database: Database, timers: IReactorTime, closing: ShutdownList
) -> Callable[[BuildSpec, str], None]:
    """Return what writes down what the revisions of builds are about, in the database; ``closing`` ends it."""
    notes = CommitNotes(sources, SqlCommitStore(database), timers)
    closing.add("looking up what revisions are about", notes.stop)
    return notes.notice


async def triggering(
    requests: RequestService,
    refs: RefReader,
    database: Database,
    keys: Keys,
    reactor: ReactorBase,
    closing: ShutdownList,
) -> Handlers:
    """Start triggers, which look at their repositories from now on; ``closing`` ends it. Raises StorageUnavailable.

    Return what may be asked of them, and what takes deliveries of forges.
    """
    timers = IReactorTime(reactor)
    store, asking = SqlTriggerStore(database), (requests.submit_together, requests.permissions, requests.admittance)
    clock, kept = WallClock(), SqlHookStore(database)
    found = Triggers(*asking, refs, store, clock, keys.secret, kept)
    hooks = HookReceiver(requests.configuration, kept, clock, requests.broker.counts.counts, found.hint)
    found.delivered = hooks.status
    await found.start()
    await hooks.start()
    task = PeriodicTask("the look of triggers", timers, found.round_)
    found.hasten = task.hasten
    closing.add("looks of triggers", found.stop)
    closing.add("the rounds of triggers", task.stop)
    task.start(0.0)
    return {**found.handlers, **hooks.handlers}


async def asking_branches(
    requests: RequestService, resolvers: Resolvers, stored: OpenState, reactor: ReactorBase, closing: ShutdownList
) -> Handlers:
    """Return what answers about branches: what triggers ask for by themselves, and what is the newest that is there.

    Triggers are started. Raises StorageUnavailable.
    """
    triggers = await triggering(requests, resolvers, stored.database, stored.keys, reactor, closing)
    return {
        **triggers,
        **ChannelFinder(latest(requests, resolvers, stored.artifacts, IReactorTime(reactor))).handlers,
    }


def latest(
    requests: RequestService, resolvers: Resolvers, artifacts: ArtifactFiles, timers: IReactorTime
) -> LatestFinder:
    """Return what finds the newest revisions that have binaries; it hears of what is asked for."""
    finder = LatestFinder(
        DemandReader(requests.configuration, requests.broker.state, resolvers), resolvers,
        BranchTips(resolvers, timers), requests.store, artifacts, requests.status_reader, requests.permissions,
        requests.admittance, requests.broker.clock, Gate(timers.seconds),
    )  # fmt: skip
    before = requests.noticed

    def noticed(spec: BuildSpec, url: str) -> None:
        before(spec, url)
        finder.notice(spec, url)

    requests.noticed = noticed
    return finder


@define(eq=False)
class _WatchEar:
    """A ``ports.EventListener`` that has watches look where something was built."""

    looks: WatchLooks

    def began(self, last: int) -> None:
        pass

    def told(self, batch: EventNotes) -> None:
        self.looks.heard(batch)

    def lost(self) -> None:
        pass


async def watching(
    requests: RequestService,
    refs: RefReader,
    stored: OpenState,
    telling: tuple[Subscriptions, Notifier, Callable[[str], Identity | None]],
    events: EventFollowers,
    closing: ShutdownList,
) -> WatchService:
    """Start watches, which look at their repositories from now on; ``closing`` ends it. Raises StorageUnavailable.

    ``telling`` is which mails were ended, the mailer, and whose keys are.
    """
    subscriptions, mailer, known = telling

    def believed(key: str) -> bool:
        holder = known(key)
        return holder is not None and holder.state is not KeyState.REVOKED

    keys, feed, store = stored.keys, LocalEvents(events), SqlWatchStore(stored.database)
    book = WatchBook(requests, subscriptions, keys.secret, believed)
    looks = WatchLooks(book, refs, store, mailer, keys.incarnations.current)
    await looks.start()
    task = PeriodicTask("the look of watches", requests.broker.timers, looks.round_)
    looks.hasten = task.hasten
    closing.add("looks of watches", looks.stop)
    closing.add("the rounds of watches", task.stop)
    closing.add("what watches hear of", feed.stop)
    feed.start(_WatchEar(looks))
    task.start(0.0)
    return WatchService(book, refs, store)


def packed(requests: RequestService, parts: SourceParts) -> Callable[[int, SourcePart], Awaitable[Bundle]]:
    """Return what gives a part of the sources of an open Build as a bundle."""

    async def bundle(build_id: int, part: SourcePart) -> Bundle:
        build = requests.broker.state.builds.get(build_id)
        if build is None:
            raise NotFound(f"build {build_id} is not open")
        project = requests.configuration.settings.project(build.spec.project)
        url, commit = source_url(project, build.spec.source), build.spec.revision
        return await parts.give(url, commit, part)

    return bundle
