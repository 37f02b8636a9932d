"""What the configured projects say of scheduling: their policies, and how their properties compare.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildtool.model.farm.weights import EVEN, Weights
from buildtool.model.matching.fitting import Requirements
from buildtool.model.policy import Policy
from buildtool.model.properties import Comparison
from buildtool.model.records import Build, BuildSpec
from buildtool.model.servers import ProjectSkill, Server


class ProjectPolicies:
    """Each configured project's Policy by name, in ``of``, and the ``weights`` of shares and projects in the order."""

    def __init__(self, policies: Mapping[str, Policy], weights: Weights = EVEN) -> None:
        self.configure(policies, weights)

    def configure(self, policies: Mapping[str, Policy], weights: Weights = EVEN) -> None:
        """Take other policies and weights."""
        self.weights = weights
        self.of = dict(policies)
        self.telling = any(policy.tell for policy in policies.values())
        self._comparisons: dict[str, Mapping[str, Comparison]] = {
            name: dict(policy.comparisons) for name, policy in policies.items()
        }

    def policy(self, project: str) -> Policy:
        """Return a project's policy; a project that is no longer configured keeps its Builds under the defaults."""
        return self.of.get(project) or Policy(recipe_version=0, options_digest="")

    def configured(self, build: Build) -> bool:
        """Return whether the project of a Build is configured."""
        return build.spec.project in self.of

    def compare(self, project: str) -> Mapping[str, Comparison]:
        """Return how the properties of a project compare."""
        return self._comparisons.get(project, {})

    def forbidden(self, server: Server) -> frozenset[str]:
        """Return those of the projects that a server is configured for which it may not build."""
        found = (skill.project for skill in server.capability.skills)
        return frozenset(name for name in found if not self.policy(name).may_build.has(server.name, server.owner))

    def wanted(self, spec: BuildSpec) -> Requirements:
        """Return what a Build of ``spec`` needs of a build server."""
        skill = ProjectSkill(spec.project, spec.recipe_version, self.policy(spec.project).options_digest)
        return Requirements(spec, skill, self.compare(spec.project))
