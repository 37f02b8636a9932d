"""How much each requester and project counts in the order of builds, and how far builds are moved in it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from buildtool.errors import UsageError
from buildtool.model.text import quoted

NICE_MOST = 20
"""The most rounds that a Build is moved back, by who asks for it, or forward, by an operator."""

WEIGHT_LEAST, WEIGHT_MOST = 0.1, 100.0

_WEIGHED = 1_000
"""Most requesters and most projects whose weights are said."""


@frozen
class Weights:
    """The weights of shares and, within each, of projects: how many times the turn of others they have. As a rule 1.

    A share is named as in ``Request.share``, in small letters.
    """

    shares: Mapping[str, float] = field(factory=dict)
    projects: Mapping[str, float] = field(factory=dict)

    def of_share(self, share: str) -> float:
        """Return the weight of a share: ``of_share`` turns in a round."""
        return self.shares.get(share, 1.0)

    def of_project(self, project: str) -> float:
        """Return the weight of a project within each share: ``of_project`` turns in a round."""
        return self.projects.get(project, 1.0)


EVEN = Weights()
"""Everybody and every project counts the same."""


def read_weights(said: object) -> Weights:
    """Return the weights that a configuration says. Raises UsageError."""
    right = '{"requesters": {"ci@example.org": 4}, "projects": {"lua": 2}}'
    if not isinstance(said, dict) or not said.keys() <= {"requesters", "projects"}:
        raise UsageError(f"weights = {quoted(said)} is not usable: it is such as {right}")
    shares, projects = (_read(name, said.get(name, {})) for name in ("requesters", "projects"))
    return Weights({name.lower(): weight for name, weight in shares.items()}, projects)


def _read(what: str, said: object) -> dict[str, float]:
    if not isinstance(said, dict) or len(said) > _WEIGHED:
        raise UsageError(f"weights: {what} = {quoted(said)} is not usable: it has a weight for each name")
    for name, weight in said.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not isinstance(name, str) or not number or not WEIGHT_LEAST <= weight <= WEIGHT_MOST:
            raise UsageError(
                f"weights: {what}: {quoted(name)}: {quoted(weight)} is not usable: "
                f"a weight is a number from {WEIGHT_LEAST:g} to {WEIGHT_MOST:g}"
            )
    return {name: float(weight) for name, weight in said.items()}


def read_nice(text: str) -> int:
    """Return by how many rounds a build is to stand back, as who asks for it may say. Raises UsageError."""
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) > NICE_MOST:  # noqa: PLR2004 - digits that are enough
        raise UsageError(f"nice={quoted(text)} is not usable: it is a whole number from 0 to {NICE_MOST}")
    return int(text)
