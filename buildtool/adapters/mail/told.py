"""What a mail about a Build tells, whichever rows it has: printable facts, made of what strangers may have written.

Tested by tests/adapters/mail/test_text.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from buildtool.adapters.mail.plain_text import (
    REASON_SHOWN,
    at_time,
    duration,
    listed,
    machine,
    plain,
    quoted,
    shown,
    size_in_bytes,
    wrapped,
)
from buildtool.model.matching.reasons import bound
from buildtool.model.matching.satisfaction import lesser_need
from buildtool.model.options import Canonical, need_words, written
from buildtool.model.platforms import Value
from buildtool.model.properties import comparison_of
from buildtool.model.records import Artifact, Attempt, Build, Request, RequestState
from buildtool.model.servers import OfferKind
from buildtool.model.telling.watch import WATCH
from buildtool.model.triggers.trigger import short_ref
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.metaserver import OutgoingMail

Defaults = Mapping[str, Mapping[str, Value | None]]
"""The defaults of each project's compile options, by project and option."""

ENDS_SHOWN = 20
"""How many Attempts a mail lists at most, the last ones."""

_OPTIONS_IN_SUBJECT = 3
_REQUESTS_SHOWN = 20
_REF_IN_SUBJECT = re.compile(r"(?!.*//)[A-Za-z0-9._/+@-]{1,60}\Z")
_VALUE_IN_SUBJECT = re.compile(r"[A-Za-z0-9._+-]{1,24}\Z")

_MADE = {
    OfferKind.NATIVE: "natively",
    OfferKind.CROSS: "with a cross toolchain",
    OfferKind.EMULATED: "in an emulated system",
}


class MailFacts:
    """The facts that there are to tell, whichever rows the mail has: a Build, an Artifact, Requests."""

    def __init__(self, outgoing: OutgoingMail) -> None:
        self.outcome = outgoing.mail.outcome
        self.build: Build | None = outgoing.build
        self.artifact: Artifact | None = outgoing.artifact
        self.requests = outgoing.requests
        self.attempts = outgoing.attempts
        self.build_id = outgoing.build.id if outgoing.build else outgoing.mail.build_id
        topic, _, ref = outgoing.mail.about.partition(" ")
        self.watch = topic.removeprefix(WATCH)
        self.watched = plain(short_ref(ref), 80)
        epoch = self.build.deciding_epoch if self.build else None
        self.deciding: Attempt | None = next((a for a in self.attempts if a.epoch == epoch), None)
        spec = self.build.spec if self.build else self.requests[0].demand.spec if self.requests else None
        shelf = self.artifact.shelf if self.artifact else None
        self.project = plain(spec.project if spec else shelf.project if shelf else "build farm")
        self.revision = plain(shelf.revision if shelf else spec.revision if spec else "")
        self.source = plain(spec.source if spec else "")
        self.options: Canonical = self.artifact.options if self.artifact else spec.options if spec else ()
        self.wanted: Canonical = spec.platform if spec else ()
        self.platform: Canonical = (
            self.artifact.platform if self.artifact else self.deciding.platform if self.deciding else self.wanted
        )

    @property
    def short(self) -> str:
        """What was built in a few words, "" where that is not known."""
        ref = self.requests[0].demand.ref if self.requests else ""
        commit = f" ({self.revision[:8]})" if self.revision else ""
        typed = ref if _REF_IN_SUBJECT.match(ref) else ""
        return f"{typed}{commit}" if typed and not self.revision.startswith(typed) else self.revision[:12]

    def chosen(self, defaults: Defaults) -> str:
        """Return the options that are not at their defaults, if they are few and the project's defaults are known."""
        usual = defaults.get(self.project)
        own = [(name, value) for name, value in self.options if usual is not None and usual.get(name) != value]
        few = 0 < len(own) <= _OPTIONS_IN_SUBJECT and all(_VALUE_IN_SUBJECT.match(written(value)) for _, value in own)
        return f", {shown(tuple(own))}" if few else ""

    @property
    def what(self) -> str:
        """The Build in one sentence's worth of words."""
        ref = plain(self.requests[0].demand.ref, 60) if self.requests else ""
        name = f"{ref} ({self.revision[:12]})" if ref and ref != self.revision else self.revision[:12]
        return f"{self.project} {name} for {machine(self.platform)}"

    @property
    def reason(self) -> str:
        """Why it ended so."""
        own = next((request.reason for request in self.requests if request.reason), "")
        deciding = self.deciding.reason if self.deciding else ""
        of_build = self.build.reason if self.build else ""
        # What a Request waited for stands on the Request: of its Build it is only known that nobody was left.
        ended_alone = self.outcome in (RequestState.EXPIRED, RequestState.CANCELLED, RequestState.SUPERSEDED)
        first = own if ended_alone and own else of_build
        return plain(first or own or deciding, REASON_SHOWN)

    def rows(self) -> Iterable[tuple[str, str]]:
        """Return the facts as pairs of a label and a value."""
        yield "Project", self.project
        yield from _asked(self.requests, self.revision)
        yield "Revision", self.revision
        if self.source:
            yield "Source", self.source
        yield "Platform", shown(self.platform)
        need = lesser_need(self.artifact) if self.artifact else ()
        if need:
            yield "Needs", plain(need_words(need, self.platform))
        there = dict(self.platform)
        differing = [(name, value) for name, value in self.wanted if there.get(name) != value]
        if differing:
            yield "Asked for", ", ".join(plain(bound(name, value, comparison_of(name))) for name, value in differing)
        yield "Options", shown(self.options) or "none"
        yield from self._making()
        if self.artifact:
            yield "Size", size_in_bytes(self.artifact.size)
            yield "SHA-256", self.artifact.digest

    def _making(self) -> Iterable[tuple[str, str]]:
        if self.artifact:
            by = self.artifact.kind, self.artifact.server, self.artifact.seconds, self.artifact.evidence
        elif self.deciding:
            begun = self.deciding.accepted_at or self.deciding.offered_at
            took = max(0.0, (self.deciding.ended_at or begun) - begun)
            by = self.deciding.kind, self.deciding.server, took, self.deciding.evidence
        else:
            return
        kind, server, seconds, known = by
        within = f", {known.sandbox.words}" if known.sandbox is not SandboxLevel.NONE else ""
        strange = f", {known.source.words}" if known.source.words else ""
        yield "Built", f"{_MADE[kind]}, on the build server {plain(server)}{within}{strange}"
        yield "Duration", duration(seconds)


def _asked(requests: Sequence[Request], built: str) -> Iterable[tuple[str, str]]:
    for request in requests[:_REQUESTS_SHOWN]:
        revrange = f" --revrange {plain(request.demand.revrange)}" if request.demand.revrange else ""
        own = request.demand.spec.revision
        other = f" ({plain(own)[:12]}, for which the revision below will do)" if own != built else ""
        asked = f"{plain(request.demand.ref)}{revrange}{other}, of {at_time(request.admitted_at)}"
        yield f"Request {request.id}", asked
    if len(requests) > _REQUESTS_SHOWN:
        yield "", f"and {len(requests) - _REQUESTS_SHOWN} more"


def answered(ids: Sequence[int]) -> str:
    """Return which Requests a mail answers, in words."""
    shown = [str(number) for number in ids[:_REQUESTS_SHOWN]]
    if len(ids) > _REQUESTS_SHOWN:
        shown.append(f"{len(ids) - _REQUESTS_SHOWN} more")
    return f"request {shown[0]}" if len(shown) == 1 else f"the requests {listed(shown)}"


def ends_of(attempts: Sequence[Attempt]) -> list[str]:
    """Return what became of each of the last Attempts, in lines."""
    lines = []
    for attempt in attempts[-ENDS_SHOWN:]:
        end = attempt.end.value if attempt.end else attempt.state.value
        lines.append(wrapped(f"{attempt.epoch}. {plain(attempt.server)} ({attempt.kind.words}) - {end}", "  "))
        if attempt.reason:
            lines.append(quoted(attempt.reason, "     "))
    return lines
