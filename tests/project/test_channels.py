"""Channels in a configuration: what may be written, and the line for what may not."""

from collections.abc import Callable

import pytest

from buildtool.errors import ConfigurationError
from buildtool.model.channels.channel import ReleaseChannel
from buildtool.project import channel
from buildtool.project.channels import CHANNELS, checked_channels
from tests.fakes_build import OPTIONS


def test_a_channel_follows_a_branch_or_tags() -> None:
    nightly = channel("nightly", "main", options={"colour": "red"}, platforms=["linux-ppc", "x86_64"])
    assert (nightly.ref, nightly.of_tags, nightly.words) == ("refs/heads/main", False, "main")
    assert [dict(one.platform) for one in nightly.variants] == [{"os": "linux", "arch": "ppc"}, {"arch": "x86_64"}]
    release = channel("release", tags="v*")
    assert (release.ref, release.of_tags, release.words) == ("refs/tags/v*", True, "tags v*")
    assert channel("head").ref == "HEAD"
    checked_channels("paint", (nightly, release), OPTIONS)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: channel("No Name"), "is no name"),
        (lambda: channel("x", "main", tags="v*"), "a branch or tags="),
        (lambda: channel("x", "feature/*"), "one branch by its name"),
        (lambda: channel("x", tags="refs/heads/main"), "tags by one pattern"),
        (lambda: channel("x", platforms=[]), "0 builds"),
        (lambda: channel("x", source="../x"), "source"),
    ],
)
def test_what_is_no_channel_is_refused_in_a_line(made: Callable[[], ReleaseChannel], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        made()


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (("nightly",), "is not a list of channel"),
        ((channel("a"), channel("a", "main")), "each of its name"),
        (tuple(channel(f"c{number}") for number in range(CHANNELS + 1)), f"{CHANNELS} at most"),
        ((channel("a", options={"color": "red"}),), "channel 'a': unknown compile option"),
    ],
)
def test_channels_of_a_project_are_checked_at_the_start(channels: tuple[ReleaseChannel, ...], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        checked_channels("paint", channels, OPTIONS)
