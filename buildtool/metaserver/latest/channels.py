"""Channels: the newest revision of which everything is there that its channel wants, and what a newer one lacks.

Nothing is kept of a channel: what is in it follows from what is there, by the rule of a hit, so that what is withdrawn
takes its revision out, and the one before it is in it again. Tested by tests/metaserver/latest/test_channels.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, frozen

from buildtool.errors import NotFound, UsageError
from buildtool.metaserver.demands import source_url
from buildtool.metaserver.latest.branches import BranchTip
from buildtool.metaserver.latest.finding import AT_ONCE, SHORT, LatestFinder
from buildtool.model.channels.channel import CHANNEL, ReleaseChannel, tagged
from buildtool.model.options import written
from buildtool.model.principal import Principal
from buildtool.model.properties import nearest
from buildtool.model.records import Artifact, Demand
from buildtool.model.triggers.trigger import Variant
from buildtool.ports.metaserver import Handlers
from buildtool.project.definition import Project
from buildtool.protocol.projects.channels import AskChannels, ChannelMember, ChannelsFound, ChannelStatus
from buildtool.protocol.projects.latest import AskLatest, LatestFound

_OF_IT = "HEAD"
"""What is said for a revision where it is known already which commit is meant."""


@frozen
class _Line:
    """The revisions that a channel may have, the newest first, and the tags that they are called by, if it has tags."""

    revisions: tuple[str, ...]
    tags: tuple[str, ...]
    age: float

    def name(self, at: int) -> str:
        return self.tags[at] if self.tags else ""


@define(eq=False)
class ChannelFinder:
    """A finder of what is in channels, over one of what is the newest on branches."""

    finder: LatestFinder

    @property
    def handlers(self) -> Handlers:
        """What people may ask."""
        return {AskLatest: self.find, AskChannels: self.told}

    async def find(self, by: Principal, message: AskLatest) -> LatestFound:
        """Return the artifact of a channel that is asked for, or the newest of a branch, as ``LatestFinder`` does.

        Raises NotFound, UsageError, and what that raises.
        """
        if not message.branch.startswith(CHANNEL):
            return await self.finder.find(by, message)
        project = self.finder.project(by, message.project)
        name = message.branch.removeprefix(CHANNEL)
        channel = next((one for one in project.channels if one.name == name), None)
        if channel is None:
            known = [one.name for one in project.channels]
            raise NotFound(f"there is no channel {name!r:.60} of {project.name}{nearest(name[:60], known)}")
        if message.source not in ("", channel.source):
            raise UsageError(f"channel {name} says of which source it is: leave source={message.source} out")
        url = source_url(project, channel.source)
        line = await self._line(url, channel)
        tip = BranchTip(f"{CHANNEL}{name}", line.revisions[0] if line.revisions else "", line.age)
        asked = evolve(message, source=channel.source, branch=_OF_IT)
        if not line.revisions:
            return LatestFound(project.name, tip.name, "", None, 0, 0.0, tip.age, 0)
        demand = await self.finder.demand(by, project, url, asked, tip.commit)
        at = await self._whole(await self._demands(by, project, url, channel, tip.commit), line)
        if at is None:
            return LatestFound(project.name, tip.name, tip.commit, None, 0, 0.0, tip.age, len(line.revisions))
        made = await self._made(demand, line.revisions[at])
        if made is None:
            return LatestFound(project.name, tip.name, tip.commit, None, 0, 0.0, tip.age, at + 1)
        return await self.finder.answer(project, url, tip, made, at)

    async def told(self, by: Principal, message: AskChannels) -> ChannelsFound:
        """Return what is in the channels of a project. Raises UnknownProject, RepositoryUnreachable, LimitReached."""
        project = self.finder.project(by, message.project)
        found = [await self._status(by, project, one) for one in project.channels]
        return ChannelsFound(tuple(found))

    async def _status(self, by: Principal, project: Project, channel: ReleaseChannel) -> ChannelStatus:
        url = source_url(project, channel.source)
        line = await self._line(url, channel)
        empty = ChannelStatus(project.name, channel.name, channel.words, len(channel.variants), "", "", ())
        if not line.revisions:
            return empty
        demands = await self._demands(by, project, url, channel, line.revisions[0])
        at = await self._whole(demands, line)
        if at is not None:
            made = [await self._made(demand, line.revisions[at]) for demand in demands]
            members = tuple(_member(one) for one in made if one is not None)
            empty = evolve(empty, revision=line.revisions[at], ref=line.name(at), artifacts=members)
        if at == 0:
            return empty
        missing = [
            _words(variant)
            for variant, demand in zip(channel.variants, demands, strict=True)
            if await self._made(demand, line.revisions[0]) is None
        ]
        return evolve(empty, next=line.name(0) or line.revisions[0], missing=tuple(missing))

    async def _line(self, url: str, channel: ReleaseChannel) -> _Line:
        """Return the revisions that a channel may have."""
        if not channel.of_tags:
            tip = await self.finder.tips.read(url, channel.ref)
            return _Line(tuple(await self.finder.branches.line(url, tip.commit, SHORT)), (), tip.age)
        refs, age = await self.finder.tips.refs(url)
        tags = tagged(channel, refs)[:SHORT]
        return _Line(tuple(commit for _, commit in tags), tuple(name for name, _ in tags), age)

    async def _demands(
        self, by: Principal, project: Project, url: str, channel: ReleaseChannel, commit: str
    ) -> Sequence[Demand]:
        """Return what a channel wants, each as a demand of a commit."""
        return [
            await self.finder.demand(
                by, project, url,
                AskLatest(project.name, channel.source, _OF_IT, dict(one.options), dict(one.platform), {}), commit,
            )
            for one in channel.variants
        ]  # fmt: skip

    async def _whole(self, demands: Sequence[Demand], line: _Line) -> int | None:
        """Return the place of the newest revision in a line of which everything is there, None for none."""
        for start in range(0, len(line.revisions), AT_ONCE):
            some = line.revisions[start : start + AT_ONCE]
            for demand in demands:
                made = await self.finder.there(evolve(demand, acceptable=some)) if some else []
                there = {one.shelf.revision for one in made}
                some = tuple(one for one in some if one in there)
            if some:
                return line.revisions.index(some[0])
        return None

    async def _made(self, demand: Demand, revision: str) -> Artifact | None:
        made = await self.finder.there(evolve(demand, acceptable=(revision,)))
        return made[0] if made else None


def _member(made: Artifact) -> ChannelMember:
    said = dict(made.platform)
    platform = "-".join(str(said[name]) for name in ("os", "arch") if name in said)
    options = " ".join(f"{name}={written(value)}" for name, value in made.options)
    return ChannelMember(platform, options[:300], made.build_id, made.name, made.digest, made.size)


def _words(variant: Variant) -> str:
    """Return what is wanted, for people."""
    said = {**variant.platform, **variant.options}
    return " ".join(f"{name}={written(value)}" for name, value in said.items()) or "the usual build"
