"""Mails that come back: the mail server hands them to ``bin/metaserver bounce``, as it does what others make up.

A witness keeps which mails came back in truth; only of those a Request may say so, and at rest of each of them it does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildtool.adapters.mail.returned import read_returned
from buildtool.errors import BuildToolError
from buildtool.model.farm.return_paths import ReturnTag
from buildtool.protocol.operator import ReportBounce
from tests.simulation.ledger import Ledger
from tests.simulation.mailserver import Letter

if TYPE_CHECKING:
    from tests.simulation.world import World

AGAIN = 60.0
"""Seconds after which the mail server hands something over again that was not taken."""

LATE = (2.0, 60.0, 4_000.0)
"""Seconds after which a mail comes back, about."""

FORGED = 1_200.0
"""Seconds between two mails that somebody makes up, about."""

_REPORT = """\
From: MAILER-DAEMON@mx.example.net
To: {to}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="cut"

--cut

The mail could not be delivered.
--cut
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; {whom}
Action: {action}
Status: 5.1.1
Diagnostic-Code: smtp; {words}

--cut--
"""


@define(eq=False)
class ReturnWitness:
    """What came back, by its words, with the Requests that it had told of; ``wrong`` says what may not be."""

    ledger: Ledger
    told_of: dict[str, tuple[int, ...]] = field(factory=dict)
    taken: set[str] = field(factory=set)

    def came_back(self, words: str, letter: Letter) -> None:
        """Take in that a mail comes back, in a report with these words, of which there is one."""
        key = self.ledger.key_of(letter.message_id)
        self.told_of[words] = self.ledger.mails[key].request_ids if key else ()

    def noted(self, request_id: int, reason: str) -> None:
        """Look at what was committed about a Request: that its mail came back, for a reason."""
        found = [words for words in self.told_of if words in reason]
        if not found:
            self.ledger.wrong(f"request {request_id} says {reason!r}, and its mail did not come back")
        elif self.told_of[found[0]]:
            mine = request_id in self.told_of[found[0]]
            if not mine:
                self.ledger.wrong(f"request {request_id} says {reason!r}, which is of {self.told_of[found[0]]}")

    def check_rest(self, errors: Mapping[int, str]) -> None:
        """What each Request says of its mail is what happened, and what came back stands there."""
        for request_id, said in errors.items():
            told = next((members for words, members in self.told_of.items() if words in said), ())
            if told and request_id not in told:
                self.ledger.wrong(f"at rest request {request_id} says {said!r}, and was told by another mail")
        for words in sorted(self.taken):
            silent = [one for one in self.told_of[words] if not errors.get(one)]
            if silent:
                self.ledger.wrong(f"at rest {silent} do not say that the mail came back: {words}")


@define(eq=False)
class Returning:
    """The pipe from the mail server to the metaserver, and somebody who makes up what goes through it."""

    world: World
    witness: ReturnWitness
    busy: int = 0
    _rng: random.Random = field(init=False)
    _seen: list[str] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._rng = random.Random(f"{self.world.seed} returning")

    def start(self) -> None:
        """Let somebody make up mails that came back, now and then."""
        self.world.time.call(self._rng.uniform(0.0, 2 * FORGED), self._forge)

    def delivered(self, letter: Letter, returns_to: str) -> None:
        """A mail was taken by the mail server, which may find out later that nobody has that mailbox."""
        if not self.world.faults.on or ReturnTag.read(returns_to) is None:
            return
        self._seen.append(returns_to)
        if self._rng.random() < 0.2:
            self.world.faults.count("mail_return")
            words = self._words("user unknown")
            self.witness.came_back(words, letter)
            report = _REPORT.format(to=returns_to, whom=letter.address, action="failed", words=words)
            self._later(self._rng.choice(LATE), report, returns_to, words)

    def _words(self, what: str) -> str:
        self._count += 1
        return f"550 {what} ({self._count})"

    def _later(self, seconds: float, report: str, recipient: str, words: str) -> None:
        self.busy += 1
        delay = seconds * (0.5 + self._rng.random())
        self.world.time.call(delay, lambda: self._hand_over(report.encode(), recipient, words))

    def _hand_over(self, report: bytes, recipient: str, words: str) -> None:
        """Do as the program at the end of the pipe does; what is not taken is kept, and tried again."""
        world = self.world
        found, metaserver = read_returned(report, recipient), world.metaserver
        if found is None or not found.reason:
            self.busy -= 1
            return
        again: Callable[[], None] = lambda: self._hand_over(report, recipient, words)  # noqa: E731
        if metaserver is None or not metaserver.serving or metaserver.life.ended:
            world.time.call(AGAIN, again)
            return
        answered: list[object] = []

        def done(result: object) -> None:
            if answered:
                return
            answered.append(result)
            if isinstance(result, Failure):
                result.trap(BuildToolError)
                world.time.call(AGAIN, again)
                return
            self.busy -= 1
            if words in self.witness.told_of:
                self.witness.taken.add(words)

        def look() -> None:
            if not answered:
                answered.append(None)
                again()

        world.time.call(AGAIN, look)
        asking = metaserver.operate(ReportBounce(str(found.tag), found.reason))
        world.keep(Deferred.fromCoroutine(asking).addBoth(done).addErrback(self._wrong))

    def _wrong(self, failure: Failure) -> None:
        self.world.watch.wrong(f"what came back is not taken: {failure}")

    # --- what is made up --------------------------------------------------------------------------------------

    def _forge(self) -> None:
        """Say that somebody's mail came back: of no proof, of another's, late or in words that do not say so."""
        if not self.world.faults.on:
            return
        self.world.time.call(self._rng.uniform(0.2, 2.0) * FORGED, self._forge)
        known: Sequence[Any] = list(self.world.watch.requests.values())
        if not known:
            return
        rng, request = self._rng, self._rng.choice(known)
        seen = ReturnTag.read(rng.choice(self._seen)) if self._seen else None
        proof, action = f"{rng.getrandbits(80):020x}", "failed"
        if seen is not None and rng.random() < 0.5:
            proof = seen.proof  # which is of another Request, or of this one
            if request.id == seen.request_id:
                action = "delayed"
        self.world.faults.count("mail_forged")
        to = f"farm+{ReturnTag(request.id, proof)}@example.org"
        words = self._words("made up")
        report = _REPORT.format(to=to, whom=request.email, action=action, words=words)
        self._later(1.0, report, to, words)
