"""What a build server that runs has of other systems: kept while it does, and said to whom orders are checked by.

Covered by tests/programs/buildserver/roots/test_hosting.py.
"""

from __future__ import annotations

from contextlib import ExitStack

from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.buildserver.order_check import ServerOffer
from buildtool.configuration.settings import Settings
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.buildserver.capability import AnnouncedCapability, without_roots
from buildtool.programs.buildserver.roots.offers import hold, lacking


def roots_held(found: AnnouncedCapability, sandboxes: Sandboxes | None, closing: ExitStack) -> AnnouncedCapability:
    """Return what is announced by a build server with these sandboxes, and keep what it builds in until ``closing``.

    Raises ConfigurationError for a root that was removed since it was looked at.
    """
    announced = found if sandboxes is not None else without_roots(found)
    hold(announced.roots, closing)
    return announced


def server_offer(settings: Settings, found: AnnouncedCapability, level: SandboxLevel) -> ServerOffer:
    """Return by what orders are checked."""
    projects = {one.name: one for one in settings.projects}
    return ServerOffer(projects, found.offers, found.max_builds, level, lacking(found.roots, settings.projects))
