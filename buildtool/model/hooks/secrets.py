"""The secrets by which deliveries of forges are proved, a project's own, and the files that they stand in.

The test is tests/configuration/hooks/test_secrets.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["NO_HOOKS", "HookSecrets"]


@frozen
class HookSecrets:
    """The secrets of projects that take deliveries, by the project's name: one, or two while one is changed.

    ``files`` has them also where no secret was read.
    """

    files: Mapping[str, tuple[str, ...]] = field(factory=dict)
    by_project: Mapping[str, tuple[str, ...]] = field(factory=dict, repr=False)

    def of(self, project: str) -> tuple[str, ...]:
        """Return the secrets of a project, none where it takes no deliveries."""
        return self.by_project.get(project, ())


NO_HOOKS = HookSecrets()
