"""What a mail says: from the rows of the database to a subject and a body, by the templates in ``templates``.

Everything here may have been made up by a stranger (refs, options, logs, names from build servers), so every value
is made printable before it meets a template.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import jinja2
from attrs import frozen

from buildtool.adapters.mail.plain_text import (
    REASON_SHOWN,
    at_time,
    defanged,
    duration,
    facts,
    link,
    listed,
    log_end,
    machine,
    plain,
    quoted,
    shown,
    size_in_bytes,
    verify,
    why,
    wrapped,
)
from buildtool.errors import InternalError
from buildtool.model.matching.reasons import bound
from buildtool.model.options import Canonical, written
from buildtool.model.platforms import Value
from buildtool.model.properties import comparison_of
from buildtool.model.records import Artifact, Attempt, AttemptEnd, Build, Request, RequestState
from buildtool.model.servers import OfferKind
from buildtool.ports.metaserver import OutgoingMail
from buildtool.ports.pages import RunningBuild

ENDS_SHOWN = 20
"""How many Attempts a mail lists at most, the last ones."""

Defaults = Mapping[str, Mapping[str, Value | None]]
"""The defaults of each project's compile options, by project and option."""

NONE_KNOWN: Defaults = {}

_OPTIONS_IN_SUBJECT = 3
_REQUESTS_SHOWN = 20
_REF_IN_SUBJECT = re.compile(r"(?!.*//)[A-Za-z0-9._/+@-]{1,60}\Z")
_VALUE_IN_SUBJECT = re.compile(r"[A-Za-z0-9._+-]{1,24}\Z")

_VERB = {
    RequestState.SATISFIED: "built",
    RequestState.FAILED: "failed",
    RequestState.UNBUILDABLE: "could not be built",
    RequestState.EXPIRED: "expired",
    RequestState.CANCELLED: "cancelled",
}
_MADE = {
    OfferKind.NATIVE: "natively",
    OfferKind.CROSS: "with a cross toolchain",
    OfferKind.EMULATED: "in an emulated system",
}


@frozen
class MailLinks:
    """The whole URLs of what a mail points to: an artifact by digest and name, the page and the log of a Build."""

    artifact: Callable[[str, str], str]
    build: Callable[[int], str]
    log: Callable[[int], str]


def render(outgoing: OutgoingMail, links: MailLinks, now: float, defaults: Defaults = NONE_KNOWN) -> tuple[str, str]:
    """Return subject and body of a mail; ``now`` is wall time. Raises InternalError for an outcome that is none.

    The subject names what was asked for besides the ``defaults`` of the project's compile options.
    """
    outcome = outgoing.mail.outcome
    if outgoing.members:
        return _render_digest(outgoing, links, now)
    if outgoing.mail.server:
        return _render_missing(outgoing, now)
    if outgoing.mail.summary:
        return _render_summary(outgoing, links)
    if outcome not in _VERB:
        raise InternalError(f"mail {outgoing.mail.key} tells of {outcome.value}, which is no outcome")
    told = _Told(outgoing)
    body = template(outcome.value).render(
        headline=wrapped(defanged(f"{_HEADLINE[outcome]}: {told.what}.")),
        facts="\n".join(facts(told.rows())),
        reason=why(told.reason, outcome, "  "),
        prose=wrapped,
        artifact=told.artifact,
        artifact_url=link(links.artifact(told.artifact.digest, told.artifact.name)) if told.artifact else "",
        verify=verify(told.artifact) if told.artifact else "",
        page_url=link(links.build(told.build_id)) if told.build_id is not None else "",
        log_url=link(links.log(told.build_id)) if told.build_id is not None else "",
        log=[defanged(line) for line in log_end(told.deciding.log_tail)] if told.deciding else [],
        who=f"the build server {plain(told.deciding.server)}" if told.deciding else "the build server",
        ends=_ends(outgoing.attempts),
        ends_left_out=max(0, len(outgoing.attempts) - ENDS_SHOWN),
        repeated_on=listed(told.build.failed_on) if told.build and len(told.build.failed_on) > 1 else "",
        mistaken=told.deciding is not None and told.deciding.end is AttemptEnd.MISTAKEN,
        expired_at=at_time(max((r.expires_at for r in outgoing.requests), default=now)),
        answers=_answers(outgoing.mail.request_ids),
        address=plain(outgoing.mail.email),
    )
    return plain(f"[{told.project}] {_VERB[outcome]}: {told.short}{told.chosen(defaults)}", 150), body


def _render_digest(outgoing: OutgoingMail, links: MailLinks, now: float) -> tuple[str, str]:
    """Return subject and body of the one mail that tells all that was held back for an address."""
    members: list[_Member] = []
    for one in outgoing.members:
        if one.mail.server:
            members.append(_Member(_render_missing(one, now)[0], "", "", "", "", ""))
            continue
        found = {artifact.id: artifact for artifact in (*one.artifacts, *((one.artifact,) if one.artifact else ()))}
        told = [_member(request, found, {}, links, whole=True) for request in one.requests]
        gone = _Member(f"requests {listed(map(str, one.mail.request_ids))}", _OUTCOME[one.mail.outcome], "", "", "", "")
        members += told or [gone]
    count = len(members)
    what = "1 thing is" if count == 1 else f"{count} things are"
    body = template("digest").render(
        headline=wrapped(f"{what} told here at once: so many mails were due that they were put together."),
        members=members,
        prose=wrapped,
        address=plain(outgoing.mail.email),
    )
    return f"[build farm] {what} told in one mail", body


def _render_summary(outgoing: OutgoingMail, links: MailLinks) -> tuple[str, str]:
    """Return subject and body of the one mail about Requests that were made together."""
    artifacts = {artifact.id: artifact for artifact in outgoing.artifacts}
    common = _common(outgoing.requests)
    members = [_member(request, artifacts, common, links) for request in outgoing.requests]
    ready = sum(request.state is RequestState.SATISFIED for request in outgoing.requests)
    project = plain(outgoing.requests[0].demand.spec.project if outgoing.requests else "build farm")
    subject = f"[{project}] {ready} of {len(members)} built"
    body = template("summary").render(
        headline=wrapped(f"Of the {len(members)} binaries that you asked for together, {ready} are ready."),
        common=wrapped(f"All of them: {shown(tuple(sorted(common.items())))}.") if common else "",
        members=members,
        prose=wrapped,
        address=plain(outgoing.mail.email),
    )
    return plain(subject, 150), body


def _render_missing(outgoing: OutgoingMail, now: float) -> tuple[str, str]:
    """Return subject and body of the mail to the owner of a build server that is missing."""
    server, name = outgoing.server, plain(outgoing.mail.server, 80)
    since = server.missing_since if server is not None else 0.0
    heard = since or (server.last_seen if server is not None else 0.0) or outgoing.mail.created_at
    back = server is not None and not since
    body = template("missing").render(
        headline=wrapped(f"Your build server {name} is missing: it was last heard of at {at_time(heard)}."),
        back=wrapped(f"It has been heard of again since, or said good-bye ({at_time(heard)}).") if back else "",
        lasted=duration(max(0.0, now - heard)),
        building=[wrapped(_lost(it), indent="  ") for it in outgoing.lost],
        prose=wrapped,
        name=name,
        command=f"bin/buildserver.py --name {shlex.quote(name)}",
        address=plain(outgoing.mail.email),
    )
    return plain(f"[build farm] {name} is missing since {at_time(heard)}", 150), body


def _lost(it: RunningBuild) -> str:
    spec = it.build.spec
    begun = it.attempt.accepted_at or it.attempt.offered_at
    what = f"{plain(spec.project)} {plain(spec.revision)[:12]} for {machine(it.attempt.platform)}"
    return f"build {it.build.id}: {what}, begun {at_time(begun)}"


def _asked_values(request: Request) -> dict[str, Value]:
    spec = request.demand.spec
    return {"revision": request.demand.ref, **dict(spec.platform), **dict(spec.options)}


def _common(requests: Sequence[Request]) -> dict[str, Value]:
    """Return what all Requests ask for alike."""
    values = [_asked_values(request) for request in requests]
    first = values[0] if values else {}
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in values[1:])}


def _member(
    request: Request,
    artifacts: Mapping[int, Artifact],
    common: Mapping[str, Value],
    links: MailLinks,
    *,
    whole: bool = False,
) -> _Member:
    """Return what is said of a Request among others; with ``whole``, of which project it is too."""
    own = {name: value for name, value in _asked_values(request).items() if name not in common}
    artifact = artifacts.get(request.artifact_id) if request.artifact_id is not None else None
    named = f"request {request.id} of {request.demand.spec.project}:" if whole else f"request {request.id}"
    return _Member(
        what=plain(
            f"{named} {shown(tuple(sorted(own.items())))}" if whole else shown(tuple(sorted(own.items()))) or named
        ),
        outcome=_OUTCOME[request.state],
        reason=why(request.reason, request.state, "    "),
        url=link(links.artifact(artifact.digest, artifact.name)) if artifact else "",
        digest=artifact.digest if artifact else "",
        page=link(links.build(request.build_id)) if request.build_id is not None else "",
    )


@frozen
class _Member:
    """What a summary says of one Request."""

    what: str
    outcome: str
    reason: str
    url: str
    digest: str
    page: str


def render_test(address: str, server: str, now: float) -> tuple[str, str]:
    """Return subject and body of the mail by which an operator tries the settings at ``now`` (wall time)."""
    body = template("test").render(address=plain(address), server=plain(server), at=at_time(now), prose=wrapped)
    return "Test of the build farm's mail", body


class _Told:
    """What there is to tell, whichever rows the mail has: a Build, an Artifact, Requests."""

    def __init__(self, outgoing: OutgoingMail) -> None:
        self.outcome = outgoing.mail.outcome
        self.build: Build | None = outgoing.build
        self.artifact: Artifact | None = outgoing.artifact
        self.requests = outgoing.requests
        self.attempts = outgoing.attempts
        self.build_id = outgoing.build.id if outgoing.build else outgoing.mail.build_id
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
        """The Build in a few words."""
        ref = self.requests[0].demand.ref if self.requests else ""
        commit = f" ({self.revision[:8]})" if self.revision else ""
        typed = ref if _REF_IN_SUBJECT.match(ref) else ""
        name = f"{typed}{commit}" if typed and not self.revision.startswith(typed) else self.revision[:12]
        return f"{name} for {machine(self.platform)}" if name else machine(self.platform)

    def chosen(self, defaults: Defaults) -> str:
        """The options that are not at their defaults, if they are few; nothing for a project without known defaults."""
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
        ended_alone = self.outcome in (RequestState.EXPIRED, RequestState.CANCELLED)
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
            by = self.artifact.kind, self.artifact.server, self.artifact.seconds
        elif self.deciding:
            begun = self.deciding.accepted_at or self.deciding.offered_at
            by = self.deciding.kind, self.deciding.server, max(0.0, (self.deciding.ended_at or begun) - begun)
        else:
            return
        kind, server, seconds = by
        yield "Built", f"{_MADE[kind]}, on the build server {plain(server)}"
        yield "Duration", duration(seconds)


_OUTCOME = {
    RequestState.SATISFIED: "ready",
    RequestState.FAILED: "failed",
    RequestState.UNBUILDABLE: "could not be built",
    RequestState.EXPIRED: "expired before it could be built",
    RequestState.CANCELLED: "cancelled",
    RequestState.WAITING: "still waits",
}

_HEADLINE = {
    RequestState.SATISFIED: "Your binary is ready",
    RequestState.FAILED: "The build failed",
    RequestState.UNBUILDABLE: "This could not be built",
    RequestState.EXPIRED: "Your request expired before it could be built",
    RequestState.CANCELLED: "Your request was cancelled",
}


def _asked(requests: Sequence[Request], built: str) -> Iterable[tuple[str, str]]:
    for request in requests[:_REQUESTS_SHOWN]:
        revrange = f" --revrange {plain(request.demand.revrange)}" if request.demand.revrange else ""
        own = request.demand.spec.revision
        other = f" ({plain(own)[:12]}, for which the revision below will do)" if own != built else ""
        asked = f"{plain(request.demand.ref)}{revrange}{other}, of {at_time(request.admitted_at)}"
        yield f"Request {request.id}", asked
    if len(requests) > _REQUESTS_SHOWN:
        yield "", f"and {len(requests) - _REQUESTS_SHOWN} more"


def _answers(ids: Sequence[int]) -> str:
    shown = [str(number) for number in ids[:_REQUESTS_SHOWN]]
    if len(ids) > _REQUESTS_SHOWN:
        shown.append(f"{len(ids) - _REQUESTS_SHOWN} more")
    return f"request {shown[0]}" if len(shown) == 1 else f"the requests {listed(shown)}"


def _ends(attempts: Sequence[Attempt]) -> list[str]:
    lines = []
    for attempt in attempts[-ENDS_SHOWN:]:
        end = attempt.end.value if attempt.end else attempt.state.value
        lines.append(wrapped(f"{attempt.epoch}. {plain(attempt.server)} - {end}", "  "))
        if attempt.reason:
            lines.append(quoted(attempt.reason, "     "))
    return lines


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("buildtool.adapters.mail"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - plain text: there is nothing to escape
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def template(name: str) -> jinja2.Template:
    """Return the template of a mail of this kind."""
    return _environment().get_template(f"{name}.txt")
