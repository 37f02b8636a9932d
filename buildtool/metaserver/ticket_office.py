"""Tickets for the transfer port, with which build servers send logs and artifacts and fetch commits.

Tested by tests/metaserver/test_build_servers.py.
"""

from __future__ import annotations

from attrs import define

from buildtool.configuration.current import CurrentConfiguration
from buildtool.model.incarnations import Keys
from buildtool.model.records import BuildSpec
from buildtool.model.tickets import Ticket, TicketKind, sign
from buildtool.ports.common import Clock
from buildtool.project.definition import Project
from buildtool.protocol.messages import Tickets

TICKET_GRACE = 3_600.0
"""Seconds that a ticket holds beyond the project's time limit; later ones are renewed over PB."""

LOG_SLACK = 64 * 1024
"""Bytes that a log may have beyond the project's limit, for the lines that say what was left out."""

SOURCE_LIMIT = 16 * 1024**3
"""Most bytes of a commit with its history that are given to a build server."""


@define
class TicketOffice:
    """A signer of transfer tickets, under the metaserver's keys."""

    configuration: CurrentConfiguration
    clock: Clock
    keys: Keys

    def both(self, spec: BuildSpec, build_id: int, epoch: int) -> Tickets:
        """Return a log and an artifact ticket, bounded by the project's limits."""
        project = self.configuration.settings.project(spec.project)
        return Tickets(
            log_ticket=self._ticket(project, TicketKind.LOG, build_id, epoch, project.log_limit + LOG_SLACK),
            artifact_ticket=self._ticket(project, TicketKind.ARTIFACT, build_id, epoch, project.artifact_limit),
        )

    def source(self, spec: BuildSpec, build_id: int, epoch: int) -> str:
        """Return a ticket for what the metaserver has of the Build's commit."""
        return self._ticket(
            self.configuration.settings.project(spec.project), TicketKind.SOURCE, build_id, epoch, SOURCE_LIMIT
        )

    def _ticket(self, project: Project, kind: TicketKind, build_id: int, epoch: int, most: int) -> str:
        expires = int(self.clock.wall() + project.time_limit + TICKET_GRACE)
        return sign(Ticket(kind, build_id, epoch, most, expires), self.keys.build(build_id))
