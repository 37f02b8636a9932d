"""Channels: the newest revision of which everything is there, and what is missing of a newer one."""

from typing import Any

import hypothesis.strategies as st
from attrs import evolve
from hypothesis import given, settings
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.errors import NotFound, UnknownProject, UsageError
from buildtool.metaserver.latest.channels import ChannelFinder
from buildtool.model.channels.channel import ReleaseChannel
from buildtool.model.options import canonical
from buildtool.project import channel
from buildtool.protocol.projects.channels import AskChannels, ChannelsFound, ChannelStatus
from buildtool.protocol.projects.latest import AskLatest, LatestFound
from tests.fakes_build import project
from tests.metaserver.latest.test_finding import LINUX, VISITOR, Branches, Finding, commit
from tests.metaserver.test_requests import ANN
from tests.support.lanes import examples

PPC = canonical({"os": "linux", "arch": "ppc"})
NIGHTLY = channel("nightly", "main", options={"colour": "red"}, platforms=["linux-x86_64", "linux-ppc"])
RELEASE = channel("release", tags="v*", options={"colour": "red"}, platforms=["linux-x86_64"])


def finding(branches: Branches, *channels: ReleaseChannel) -> Finding:
    one = Finding(branches)
    configuration = one.world.service.configuration
    configuration.settings = evolve(configuration.settings, projects=(project(channels=channels),))
    return one


def asked(one: Finding, name: str, **more: Any) -> "Deferred[LatestFound]":
    message = evolve(AskLatest("paint", "", f"channel:{name}", {"colour": "red"}, dict(LINUX), {}), **more)
    return Deferred.fromCoroutine(ChannelFinder(one.finder).find(ANN, message))


class ChannelTests(SynchronousTestCase):
    def told(self, one: Finding) -> tuple[ChannelStatus, ...]:
        asking = Deferred.fromCoroutine(ChannelFinder(one.finder).told(ANN, AskChannels("paint")))
        found: ChannelsFound = self.successResultOf(asking)
        return found.found

    @given(st.lists(st.sampled_from(["", "x", "p", "xp", "xp", "gone"]), min_size=1, max_size=9))
    @settings(max_examples=examples(30))
    def test_in_it_is_the_newest_revision_of_which_all_is_there_and_else_the_one_before(self, made: list[str]) -> None:
        one = finding(Branches(len(made)), NIGHTLY)
        for number, there in enumerate(made, 1):
            gone = "it expired" if there == "gone" else ""
            if "x" in there or gone:
                one.there(number, withdrawn=gone)
            if "p" in there or gone:
                one.there(number, id=100 + number, platform=PPC, digest=f"{100 + number:064x}", withdrawn=gone)
        whole = next((at for at in range(len(made) - 1, -1, -1) if made[at] == "xp"), None)
        (status,) = self.told(one)
        newest = made[-1]
        assert status.revision == ("" if whole is None else commit(whole + 1))
        assert len(status.artifacts) == (0 if whole is None else 2)
        lacks = {"": 2, "gone": 2, "x": 1, "p": 1, "xp": 0}[newest]
        assert (len(status.missing), bool(status.next)) == (lacks, lacks > 0)
        for platform, numbers in ((LINUX, 0), (PPC, 100)):
            found = self.successResultOf(asked(one, "nightly", system=dict(platform)))
            assert (found.artifact is None) == (whole is None)
            if found.artifact is not None and whole is not None:
                assert found.artifact.digest == f"{numbers + whole + 1:064x}"
                assert found.behind == len(made) - whole - 1

    def test_tags_are_taken_by_their_version(self) -> None:
        refs = {"refs/tags/v1.10": commit(3), "refs/tags/v1.9": commit(7), "refs/tags/v2.0-rc1": commit(8)}
        one = finding(Branches(9, refs), RELEASE)
        assert [status.revision for status in self.told(one)] == [""]
        for number in (7, 3):
            one.there(number)
            (status,) = self.told(one)
            assert (status.revision, status.next) == (commit(number), "v2.0-rc1")
        assert status.ref == "v1.10"
        assert self.successResultOf(asked(one, "release")).behind == 1
        one.there(8)
        assert self.told(one)[0].ref == "v2.0-rc1"

    def test_a_channel_without_any_tag_is_empty(self) -> None:
        one = finding(Branches(9), RELEASE)
        assert self.told(one)[0].revision == ""
        assert self.successResultOf(asked(one, "release")).artifact is None

    def test_what_is_no_channel_is_refused_with_what_would_be_right_and_a_branch_is_one_as_ever(self) -> None:
        one = finding(Branches(3), NIGHTLY)
        one.there(3)
        assert "nightly" in str(self.failureResultOf(asked(one, "nightyl"), NotFound).value)
        self.failureResultOf(asked(one, "nightly", source="other"), UsageError)
        assert self.successResultOf(asked(one, "", branch="main")).behind == 0

    def test_who_may_not_see_a_project_is_told_nothing_of_its_channels(self) -> None:
        one = finding(Branches(3), NIGHTLY)
        configuration = one.world.service.configuration
        hidden = project(channels=(NIGHTLY,), visible_to="requester")
        configuration.settings = evolve(configuration.settings, projects=(hidden,))
        asking = Deferred.fromCoroutine(ChannelFinder(one.finder).told(VISITOR, AskChannels("paint")))
        self.failureResultOf(asking, UnknownProject)
