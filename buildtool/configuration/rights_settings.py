"""Reads what a configuration changes in the table of rights, for the farm and for each project.

Tested by tests/configuration/test_settings.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.rights import RIGHTS, Rights
from buildtool.model.text import quoted
from buildtool.project.definition import Project


def read_rights(farm: object, projects: Sequence[Project]) -> Rights:
    """Return the table of rights with what the farm and each project changes in it. Raises ConfigurationError."""
    rights = RIGHTS
    for where, value, project in (("rights", farm, ""), *((f"rights of {p.name}", p.rights, p.name) for p in projects)):
        if not isinstance(value, Mapping) or not all(isinstance(acts, Mapping) for acts in value.values()):
            example = '{"requester": {"force": "nothing"}}'
            raise ConfigurationError(f"{where} = {quoted(value)} is not usable: it is a dictionary such as {example}")
        try:
            rights = rights.with_changes(value, project)
        except UsageError as error:
            raise ConfigurationError(f"{where}: {error}") from error
    return rights
