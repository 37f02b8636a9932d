"""What several tests ask of matching in one call."""

from collections.abc import Mapping

from buildtool.model.matching.fitting import Requirements
from buildtool.model.matching.reasons import Reason
from buildtool.model.properties import Comparison
from buildtool.model.records import BuildSpec
from buildtool.model.servers import Capability, Offer, ProjectSkill


def can_build(
    spec: BuildSpec, capability: Capability, skill: ProjectSkill, comparisons: Mapping[str, Comparison]
) -> Offer | list[Reason]:
    """Return the best offer with which this machine can build `spec`, or the reasons why it cannot.

    `skill` is what is required of it: project, recipe version, digest of the option descriptions.
    """
    wanted = Requirements(spec, skill, comparisons)
    return wanted.fit(capability).verdict(wanted.machine(capability))
