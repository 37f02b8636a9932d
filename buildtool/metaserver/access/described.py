"""The projects that a caller may see, described as plain data: that of which flags, forms and validation are made.

Tested by tests/metaserver/access/test_described.py.
"""

from __future__ import annotations

import hashlib
import json

from attrs import define, field

from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.settings import Settings
from buildtool.errors import UsageError
from buildtool.model.options import canonical_json
from buildtool.model.principal import Principal
from buildtool.protocol.hello import DESCRIBED, AskProjects, ProjectsDescribed

KEPT = 100
"""Most sets of projects of which the descriptions are kept."""


@define(eq=False)
class ProjectDescriber:
    """A describer of projects, each set of which is described once a configuration."""

    configuration: CurrentConfiguration
    _settings: Settings | None = field(default=None, init=False)
    _made: dict[tuple[str, ...], ProjectsDescribed] = field(factory=dict, init=False)

    def digest(self, by: Principal) -> str:
        """Return the digest of what a caller is told, "" where that is too long to be told."""
        return self._described(by).digest

    async def describe(self, by: Principal, _message: AskProjects) -> ProjectsDescribed:
        """Return what a caller may see. Raises UsageError where that is too long."""
        told = self._described(by)
        if not told.digest:
            raise UsageError(f"the descriptions of the projects have more than {DESCRIBED} bytes: name a config.py")
        return told

    def _described(self, by: Principal) -> ProjectsDescribed:
        settings = self.configuration.settings
        if settings is not self._settings:
            self._settings, self._made = settings, {}
        seen = tuple(one.name for one in settings.projects if settings.sees(by, one.name))
        if seen not in self._made:
            if len(self._made) >= KEPT:
                self._made.clear()
            self._made[seen] = _described(settings, seen)
        return self._made[seen]


def _described(settings: Settings, names: tuple[str, ...]) -> ProjectsDescribed:
    projects = [
        {"name": one.name, "description": one.description, "options": one.options.describe()}
        | dict(one.least.demands())
        for one in settings.projects
        if one.name in names
    ]
    text = canonical_json({"projects": projects})
    if len(json.dumps(text)) > DESCRIBED:
        return ProjectsDescribed("", "")
    return ProjectsDescribed(hashlib.sha256(text.encode()).hexdigest(), text)
