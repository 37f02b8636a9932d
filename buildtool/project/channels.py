"""What an integrator's ``config.py`` writes for channels: ``channels=[channel("nightly", "main", platforms=[...])]``.

Tested by tests/project/test_channels.py.
"""

from __future__ import annotations

import re

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.channels.channel import ReleaseChannel
from buildtool.model.project_options import ProjectOptions, tool_option
from buildtool.model.text import quoted
from buildtool.model.triggers.trigger import TAGS
from buildtool.project.triggers import Options, Platforms, on_push, on_tag, variants_of

__all__ = ["channel", "checked_channels"]

CHANNELS = 20
"""Most channels of a project."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


def channel(
    name: str,
    branch: str = "HEAD",
    *,
    tags: str = "",
    options: Options = None,
    platforms: Platforms = None,
    source: str = "",
) -> ReleaseChannel:
    """Return a channel: the newest revision of a branch, or with ``tags``, a pattern, of tags, of which all is there.

    What all is, ``options`` and ``platforms`` say as for ``on_push``. Raises ConfigurationError.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(f"channel: {quoted(name)} is no name: small letters, digits and ._- are, at most 40")
    if tags and branch != "HEAD":
        raise ConfigurationError(f"channel {name!r}: say a branch or tags=, and not both")
    followed = on_tag(tags) if tags else on_push(branch)
    (ref,) = followed.patterns if len(followed.patterns) == 1 else ("",)
    if not ref or (not tags and "*" in ref) or (tags and not ref.startswith(TAGS)):
        raise ConfigurationError(f"channel {name!r}: it follows one branch by its name, or tags by one pattern")
    try:
        tool_option("source").check(source)
    except UsageError as error:
        raise ConfigurationError(f"channel {name!r}: {error}") from error
    return ReleaseChannel(name, ref, variants_of(f"channel {name!r}", options, platforms), source)


def checked_channels(project: str, channels: object, options: ProjectOptions) -> None:
    """Raise ConfigurationError where a project's channels are none, or of what it does not have."""
    if not isinstance(channels, tuple) or not all(isinstance(one, ReleaseChannel) for one in channels):
        raise ConfigurationError(f"project {project}: channels = {quoted(channels)} is not a list of channel(...), ...")
    names = [one.name for one in channels]
    if len(names) > CHANNELS or len(set(names)) < len(names):
        raise ConfigurationError(f"project {project} has {len(names)} channels: {CHANNELS} at most, each of its name")
    for one in channels:
        for variant in one.variants:
            try:
                options.compile_values(variant.options)
                options.system_values(variant.platform)
            except UsageError as error:
                raise ConfigurationError(f"project {project}, channel {one.name!r}: {error}") from error
