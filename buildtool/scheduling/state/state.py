"""Everything open, in memory: its parts put together, and the few steps that concern several of them.

The database is the truth; this is rebuilt from it at the start. Every change is in the ``journal``, which has the rows
to be committed, and can take them back.

The test is tests/scheduling/test_scheduler_machine.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from buildtool.model.farm.weights import EVEN, Weights
from buildtool.model.policy import Policy
from buildtool.model.records import AnsweredRequest, Artifact, Beat, Mail, RememberedFailure
from buildtool.scheduling.order.reluctance import Reluctance
from buildtool.scheduling.state.capability_groups import CapabilityGroups
from buildtool.scheduling.state.estimates import BuildDurations
from buildtool.scheduling.state.hits import HitFinder
from buildtool.scheduling.state.journal import Journal
from buildtool.scheduling.state.lease_table import LEASE, LeaseTable
from buildtool.scheduling.state.projects import ProjectPolicies
from buildtool.scheduling.state.ready_queue import ReadyQueue
from buildtool.scheduling.state.records import Records
from buildtool.scheduling.state.shelves import Shelves
from buildtool.scheduling.state.slots import ServerSlots
from buildtool.scheduling.state.tables import NAMES_KEPT, NameMemory, Tables
from buildtool.scheduling.state.timers import TimerTable


class State:
    """The broker's memory.

    ``requests``, ``builds``, ``attempts``, ``servers`` and ``refusals`` are the open records by key, to be read by all
    and changed with ``put`` only. ``seen`` has the client request ids that were answered since the last commit,
    ``next_numbers`` the next free numbers by kind. ``beat`` is when the metaserver was last written down to be there
    (wall time). ``incarnation`` is the life of the state directory, which mails are told apart by.
    """

    def __init__(
        self,
        policies: Mapping[str, Policy],
        lease: float = LEASE,
        incarnation: str = "",
        names_kept: float = NAMES_KEPT,
        weights: Weights = EVEN,
    ) -> None:
        self.incarnation = incarnation
        self.names = NameMemory(names_kept)
        self.projects = ProjectPolicies(policies, weights)
        self._build_parts(lease, holding=False)

    def clear(self) -> None:
        """Forget everything, to be loaded anew."""
        self._build_parts(self.leases.term, holding=self.slots.holding)

    def _build_parts(self, lease: float, *, holding: bool) -> None:
        tables = Tables()
        self.requests, self.builds, self.attempts = tables.requests, tables.builds, tables.attempts
        self.servers, self.refusals = tables.servers, tables.refusals
        self.seen: dict[str, AnsweredRequest] = {}
        self.beat = 0.0
        self.next_numbers = {"request": 1, "build": 1, "artifact": 1}
        self.durations = BuildDurations()
        self.queue = ReadyQueue()
        self.journal = Journal()
        self.reluctance = Reluctance(self.journal)
        self.shelves = Shelves(self.journal)
        self.hits = HitFinder(self.shelves, self.projects)
        self.slots = ServerSlots(tables, self.journal, holding=holding)
        self.timers = TimerTable(tables, self.slots, self.journal, lease)
        self.leases = LeaseTable(tables, self.projects, self.journal, self.timers, lease)
        self.groups = CapabilityGroups(tables, self.projects, self.queue)
        self.records = Records(tables, self.journal, self.timers, self.leases, self.queue, self.groups, self.slots)
        self.put, self.load = self.records.put, self.records.load
        self.waiters, self.running_attempt = self.records.waiters, self.records.running_attempt

    def reconfigure(self, policies: Mapping[str, Policy], weights: Weights = EVEN) -> None:
        """Take other policies and weights, and judge anew who can build what. Call it between decisions."""
        self.projects.configure(policies, weights)
        self.hits.last = None
        self.records.judge_anew()

    def committed(self) -> None:
        """Take note that the changes are in the database: they can no longer be taken back."""
        for row in self.journal.rows():
            if isinstance(row, Artifact) and not row.withdrawn:
                self.durations.learn(row)
        self.journal.clear()
        self.seen.clear()
        self.shelves.trim()
        self.timers.compact()

    def append(self, record: Artifact | RememberedFailure | Mail) -> None:
        """Add something finished: it is written, and artifacts and failures stand on their shelf, newest first."""
        if isinstance(record, Mail):
            self.journal.write(record.key, record)
        else:
            self.shelves.add(record)

    def number(self, kind: str) -> int:
        """Return the next free number for a ``request``, ``build`` or ``artifact``."""
        taken = self.next_numbers[kind]
        self.next_numbers[kind] = taken + 1
        self.journal.add(partial(self.next_numbers.__setitem__, kind, taken))
        return taken

    def note_beat(self, now: float) -> None:
        """Write down that the metaserver is there."""
        before, self.beat = self.beat, now
        self.journal.add(partial(setattr, self, "beat", before))
        self.journal.write("beat", Beat(now))

    def remember_answer(self, client_id: str, seen: AnsweredRequest) -> None:
        """Remember the answer to a client request id until the next commit: then the database has it."""
        old = self.seen.get(client_id)
        self.seen[client_id] = seen
        self.journal.add(partial(self._restore_seen, client_id, old))

    def _restore_seen(self, client_id: str, old: AnsweredRequest | None) -> None:
        if old is None:
            self.seen.pop(client_id, None)
        else:
            self.seen[client_id] = old
