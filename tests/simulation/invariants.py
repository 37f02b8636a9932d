"""A witness: sees every commit, hears all that anybody is told, and says at once what may not be (design.md section 5).

It keeps the committed rows by itself, so what it knows does not come from the program that it watches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define

from buildtool.model.records import AttemptEnd, AttemptState, RequestState
from buildtool.model.servers import Held, HeldState, HeldVerdict, Verdict
from buildtool.protocol.messages import Done, Ended, FoundArtifact, Ok, Order, RequestStatus, Submit
from buildtool.scheduling.state.state import State
from tests.simulation.clock import Life
from tests.simulation.ledger import OPEN, SLACK, Ledger, Spoilt, message_id
from tests.simulation.mailserver import Letter

_SAID = {
    RequestState.SATISFIED: "ready",
    RequestState.FAILED: "failed",
    RequestState.UNBUILDABLE: "could not be built",
    RequestState.EXPIRED: "expired",
    RequestState.CANCELLED: "cancelled",
    RequestState.SUPERSEDED: "superseded",
    RequestState.WAITING: "which waits",
}
"""What a digest says of a Request that ended so."""


@define(eq=False)
class Watch(Ledger):
    """What is committed, what was told, and what was wrong about either."""

    # --- what people and machines are told -----------------------------------------------------------------

    def answered(self, email: str, item: Submit, told: RequestStatus) -> None:
        """A requester has the answer to a submission."""
        first = item.client_id not in self.by_client
        known = self.by_client.setdefault(item.client_id, told.request_id)
        self._check(known == told.request_id, f"{item.client_id[:6]} was request {known}, then {told.request_id}")
        row = self.requests.get(told.request_id)
        if row is None or row.client_id != item.client_id or row.email != email:
            self.wrong(f"{email} was told of request {told.request_id}, which is not committed")
            return
        self.told(told.answer if first else "again", told)

    def told(self, how: str, told: RequestStatus) -> None:
        """A requester was told how a Request stands."""
        self.trace.say("told", f"{how}: request {told.request_id} {told.state} build {told.build_id} {told.reason}")
        row = self.requests.get(told.request_id)
        if row is None:
            self.wrong(f"request {told.request_id} was told of and is not committed")
            return
        ended = told.state != RequestState.WAITING.value
        self._check(not ended or row.state.value == told.state, f"request {row.id} is {row.state}, told {told.state}")
        build = self.builds.get(told.build_id or 0)
        if told.build_state and build is not None and told.build_state not in ("queued", "running"):
            self._check(build.state.value == told.build_state, f"build {build.id} is {build.state}, not as told")
        if told.artifact is not None:
            self._check_found(how, told.artifact)

    def fetched(self, who: str, found: FoundArtifact, arrived: str) -> None:
        """A requester has fetched an artifact."""
        how, _ = self.spoilt.get(found.digest, (None, 0.0))
        right = arrived == found.digest or how is Spoilt.ROTTEN  # then the one who fetches notices
        self._check(right, f"{who} fetched {found.digest[:12]} and was sent {arrived[:12]}")

    def _check_found(self, how: str, found: FoundArtifact) -> None:
        spoilt, since = self.spoilt.get(found.digest, (None, 0.0))
        if spoilt is None:
            data = self.file_of(found.digest)
            self._check(data is not None, f"the file of {found.digest[:12]} is absent, and somebody was sent for it")
            if data is not None:
                self._check(hashlib.sha256(data).hexdigest() == found.digest, f"{found.digest[:12]} has other bytes")
        elif spoilt is Spoilt.DELETED and how == "hit":
            absent = self.trace.now - since
            self._check(absent < SLACK, f"a hit names {found.digest[:12]}, which is gone for {absent:.0f} s")

    def arrived(self, letter: Letter) -> None:
        """A mail was taken by the mail server."""
        if letter.outcome == "digest":
            self._digest_arrived(letter)
            return
        key = self._keys.get(letter.message_id)
        if key is None:
            self.wrong(f"{letter.address} has a mail about {letter.outcome} that is not committed")
            return
        mail = self.mails[key]
        for request_id in mail.request_ids:
            row = self.requests[request_id]
            self._check(row.state is not RequestState.WAITING, f"request {request_id} waits, and its end was mailed")
            right = mail.summary or row.state.value == letter.outcome
            self._check(right, f"request {request_id} is {row.state.value}, mailed {letter.outcome}")
            self._check(row.email == letter.address, f"request {request_id} is of {row.email}, not {letter.address}")
            self.letters[request_id].add(letter.message_id)
            self._check(len(self.letters[request_id]) == 1, f"request {request_id} is told by two mails")

    def _digest_arrived(self, letter: Letter) -> None:
        """A mail was taken that tells of many others."""
        begun = any(letter.message_id == message_id(f"digest:{key}") for key in self.mails)
        self._check(begun, f"{letter.address} has a digest that begins with no mail that is committed")
        told = re.findall(r"^\* request ([0-9]+) of [^:]*:([^\n]*(?:\n[^\n*]+)*)", letter.body, re.MULTILINE)
        self._check(told, f"{letter.address} has a digest that tells of no request")
        for number, words in told:
            row = self.requests.get(int(number))
            if row is None or row.email != letter.address:
                self.wrong(f"{letter.address} is told of request {number}, which is not theirs")
                continue
            self._check(_SAID[row.state] in words, f"request {row.id} is {row.state.value}, a digest says otherwise")
            self.letters[row.id].add(letter.message_id)
            self._check(len(self.letters[row.id]) == 1, f"request {row.id} is told by two mails")

    def cancelling(self, request_id: int) -> None:
        """A Request is about to be cancelled by who may do that."""
        self.cancelled.add(request_id)

    def pausing(self, server: str, asked: tuple[Life, str]) -> None:
        """A life of the metaserver is about to pause a build server, for a reason, or to resume it, for none."""
        self.perhaps_paused.setdefault(server, []).append(asked)

    def is_paused(self, server: str, asked: tuple[Life, str]) -> None:
        """It has done so."""
        perhaps = self.perhaps_paused[server]
        self.paused[server] = asked[1]
        perhaps.remove(asked)
        self.perhaps_paused[server] = [other for other in perhaps if not other[0].ended]

    def packed(self, server: str, digest: str, revision: str, colour: str) -> None:
        """An honest build server has made something."""
        self.made[server, digest] = (revision, colour)

    def reports(self, server: str, held: Sequence[Held]) -> None:
        """An honest build server is about to say what it has."""
        self.held[server] = {one.key: one.state for one in held}
        for one in held:
            if one.state is HeldState.ENDED:
                continue  # it was stopped, and says so as soon as anybody listens
            since = self.trace.now - self.dropped.get((server, one.key), self.trace.now)
            self._check(since < 2 * SLACK, f"{server} still has {one.key}, {since:.0f} s after it was told to drop it")

    def judged(self, server: str, verdicts: Sequence[HeldVerdict]) -> None:
        """An honest build server was told what is to become of what it has."""
        for one in verdicts:
            if one.verdict is Verdict.DROP:
                self.dropped.setdefault((server, (one.build_id, one.epoch)), self.trace.now)
                self.kept.get(server, set()).discard((one.build_id, one.epoch))

    def heard(self, server: str, held: Sequence[Held], since: float) -> None:
        """The metaserver has taken in what a build server has: not before ``since``, when the message came to it."""
        for one in held:
            self._heard[server, one.key] = max(since, self._heard.get((server, one.key), 0.0))

    def reporting(self, server: str, message: Ended) -> None:
        """An honest build server is about to say how an Attempt ended."""
        self.reported.setdefault((server, (message.build_id, message.epoch)), set()).add(message.end)

    def begins(self, server: str) -> None:
        """A life of an honest build server begins: after a loss of power what it had dropped may be there again."""
        for key in [key for key in self.dropped if key[0] == server]:
            del self.dropped[key]

    def keeps(self, server: str, key: tuple[int, int]) -> None:
        """An honest build server has an end on its disk."""
        self.kept.setdefault(server, set()).add(key)

    def welcomed(self, server: str, session: int) -> None:
        """A build server was told its Session."""
        row = self.servers.get(server)
        self._check(row is not None and row.session >= session, f"{server} was told a session that is not committed")

    def ordered(self, server: str, session: int, order: Order) -> None:
        """A build server was told to build."""
        row = self.attempts.get((order.build_id, order.epoch))
        ours = row is not None and (row.server, row.session) == (server, session)
        self._check(ours, f"{server} was told to build {order.build_id}.{order.epoch}, which is not committed")

    def end_taken(self, server: str, session: int, message: Ended, answer: Ok) -> None:
        """A build server heard that the end of an Attempt was taken in."""
        row = self.attempts.get((message.build_id, message.epoch))
        ended = row is not None and row.state is AttemptState.ENDED
        what = f"{server} heard that the end of {message.build_id}.{message.epoch} was taken"
        self._check(answer.stale or ended, f"{what}, and it is not committed")
        told_lost = server in self.honest and message.end is AttemptEnd.LOST
        self._check(not told_lost, f"{server} says itself that it lost {message.build_id}.{message.epoch}")
        self.kept.get(server, set()).discard((message.build_id, message.epoch))

    def done_taken(self, server: str, session: int, message: Done, answer: Ok) -> None:
        """A build server heard that its artifact was taken in."""
        row = self.attempts.get((message.build_id, message.epoch))
        made = row is not None and row.end is AttemptEnd.SUCCEEDED
        what = f"{server} heard that {message.build_id}.{message.epoch} was published"
        self._check(answer.stale or made, f"{what}, and it is not committed")
        self.kept.get(server, set()).discard((message.build_id, message.epoch))

    # --- at rest --------------------------------------------------------------------------------------------

    def open(self) -> list[str]:
        """Return what has not come to its end."""
        found = [f"request {row.id} waits" for row in self.requests.values() if row.state is RequestState.WAITING]
        found += [f"build {row.id} is {row.state.value}" for row in self.builds.values() if row.state in OPEN]
        found += [
            f"attempt {row.build_id}.{row.epoch} on {row.server} is {row.state.value}"
            for row in self.attempts.values()
            if row.state is not AttemptState.ENDED
        ]
        return found

    def check_told(self, unmailed: Mapping[str, str], refused: set[str]) -> None:
        """Every Request has its one end, and whoever asked knows it; ``refused`` are mails that nobody takes."""
        for what in self.open():
            self.wrong(f"at rest {what}")
        for key, why in sorted(unmailed.items()):
            self.wrong(f"at rest mail {key} is unsent: {why}")
        mailed = {request_id for mail in self.mails.values() for request_id in mail.request_ids}
        for row in self.requests.values():
            by_themselves = row.state is RequestState.CANCELLED and row.id in self.cancelled
            if row.answer in ("hit", "known-failure") or by_themselves:
                continue
            given_up = row.email.startswith("unknown") and any(row.id in self.mails[key].request_ids for key in refused)
            told = bool(self.letters.get(row.id)) or given_up
            written = "a mail was written" if row.id in mailed else "no mail was written"
            self._check(told, f"request {row.id} is {row.state.value}, and {row.email} was not told ({written})")

    def compare(self, ask: Callable[..., Sequence[Any]], memory: State) -> None:
        """What the database holds is what was committed, and what the broker has in mind is what the database holds."""
        self._check(memory.servers == self.servers, "the broker's servers are not those that were committed")
        left = (*memory.requests, *memory.builds, *memory.attempts)
        self._check(not left, f"the broker still has in mind {left[:3]}")
        states = {row[0]: row[1] for row in ask("SELECT id, state FROM requests")}
        ours = {row.id: row.state.value for row in self.requests.values()}
        self._check(states == ours, "the requests in the database are not those that were committed")
