"""What a mail says: from the rows of the database to a subject and a body, by the templates in ``templates``.

Everything here may have been made up by a stranger (refs, options, logs, names from build servers), so every value
is made printable before it meets a template.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

import jinja2
from attrs import frozen

from buildtool.errors import InternalError
from buildtool.model.matching.reasons import bound
from buildtool.model.options import Canonical, written
from buildtool.model.platforms import Value
from buildtool.model.properties import comparison_of
from buildtool.model.records import Artifact, Attempt, AttemptEnd, Build, Request, RequestState
from buildtool.model.servers import OfferKind
from buildtool.model.text import log_line, printable
from buildtool.ports.metaserver import OutgoingMail
from buildtool.ports.pages import RunningBuild

WIDTH = 78
"""The longest line of prose, in characters."""

LOG_LINES = 60
"""How many lines of a log's end a mail shows at most."""

LOG_BYTES = 8 * 1024
"""How many bytes of a log's end a mail shows at most."""

ENDS_SHOWN = 20
"""How many Attempts a mail lists at most, the last ones."""

Defaults = Mapping[str, Mapping[str, Value | None]]
"""The defaults of each project's compile options, by project and option."""

NONE_KNOWN: Defaults = {}

_OPTIONS_IN_SUBJECT = 3
_REQUESTS_SHOWN = 20
_TEXT_SHOWN = 600
_REASON_SHOWN = 900
_LINE_SHOWN = 400
_URL_SHOWN = 2000
_LABEL = 11
_LINK = re.compile("://")
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
    body = _template(outcome.value).render(
        headline=_wrapped(_defanged(f"{_HEADLINE[outcome]}: {told.what}.")),
        facts="\n".join(_facts(told.rows())),
        reason=_reason(told.reason, outcome, "  "),
        prose=_wrapped,
        artifact=told.artifact,
        artifact_url=_url(links.artifact(told.artifact.digest, told.artifact.name)) if told.artifact else "",
        verify=_verify(told.artifact) if told.artifact else "",
        page_url=_url(links.build(told.build_id)) if told.build_id is not None else "",
        log_url=_url(links.log(told.build_id)) if told.build_id is not None else "",
        log=[_defanged(line) for line in log_end(told.deciding.log_tail)] if told.deciding else [],
        who=f"the build server {plain(told.deciding.server)}" if told.deciding else "the build server",
        ends=_ends(outgoing.attempts),
        ends_left_out=max(0, len(outgoing.attempts) - ENDS_SHOWN),
        repeated_on=_words(told.build.failed_on) if told.build and len(told.build.failed_on) > 1 else "",
        mistaken=told.deciding is not None and told.deciding.end is AttemptEnd.MISTAKEN,
        expired_at=_time(max((r.expires_at for r in outgoing.requests), default=now)),
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
        gone = _Member(f"requests {_words(map(str, one.mail.request_ids))}", _OUTCOME[one.mail.outcome], "", "", "", "")
        members += told or [gone]
    count = len(members)
    what = "1 thing is" if count == 1 else f"{count} things are"
    body = _template("digest").render(
        headline=_wrapped(f"{what} told here at once: so many mails were due that they were put together."),
        members=members,
        prose=_wrapped,
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
    body = _template("summary").render(
        headline=_wrapped(f"Of the {len(members)} binaries that you asked for together, {ready} are ready."),
        common=_wrapped(f"All of them: {_shown(tuple(sorted(common.items())))}.") if common else "",
        members=members,
        prose=_wrapped,
        address=plain(outgoing.mail.email),
    )
    return plain(subject, 150), body


def _render_missing(outgoing: OutgoingMail, now: float) -> tuple[str, str]:
    """Return subject and body of the mail to the owner of a build server that is missing."""
    server, name = outgoing.server, plain(outgoing.mail.server, 80)
    since = server.missing_since if server is not None else 0.0
    heard = since or (server.last_seen if server is not None else 0.0) or outgoing.mail.created_at
    back = server is not None and not since
    body = _template("missing").render(
        headline=_wrapped(f"Your build server {name} is missing: it was last heard of at {_time(heard)}."),
        back=_wrapped(f"It has been heard of again since, or said good-bye ({_time(heard)}).") if back else "",
        lasted=_duration(max(0.0, now - heard)),
        building=[_wrapped(_lost(it), indent="  ") for it in outgoing.lost],
        prose=_wrapped,
        name=name,
        command=f"bin/buildserver.py --name {shlex.quote(name)}",
        address=plain(outgoing.mail.email),
    )
    return plain(f"[build farm] {name} is missing since {_time(heard)}", 150), body


def _lost(it: RunningBuild) -> str:
    spec = it.build.spec
    begun = it.attempt.accepted_at or it.attempt.offered_at
    what = f"{plain(spec.project)} {plain(spec.revision)[:12]} for {_machine(it.attempt.platform)}"
    return f"build {it.build.id}: {what}, begun {_time(begun)}"


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
            f"{named} {_shown(tuple(sorted(own.items())))}" if whole else _shown(tuple(sorted(own.items()))) or named
        ),
        outcome=_OUTCOME[request.state],
        reason=_reason(request.reason, request.state, "    "),
        url=_url(links.artifact(artifact.digest, artifact.name)) if artifact else "",
        digest=artifact.digest if artifact else "",
        page=_url(links.build(request.build_id)) if request.build_id is not None else "",
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
    body = _template("test").render(address=plain(address), server=plain(server), at=_time(now), prose=_wrapped)
    return "Test of the build farm's mail", body


def plain(text: str, limit: int = _TEXT_SHOWN) -> str:
    """Return ``text`` as one printable line of at most ``limit`` characters."""
    return printable(text, limit)


def log_end(tail: str) -> list[str]:
    """Return the last lines of a log for people: no control sequences, of a progress display its last state only."""
    text = tail[-8 * LOG_BYTES :].rstrip()
    lines: list[str] = []
    room = LOG_BYTES
    for raw in reversed(text.split("\n") if text else []):
        line = log_line(raw, _LINE_SHOWN).rstrip()
        room -= len(line.encode()) + 1
        if room < 0 or len(lines) == LOG_LINES:
            break
        lines.append(line)
    return lines[::-1]


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
        return f"{name} for {_machine(self.platform)}" if name else _machine(self.platform)

    def chosen(self, defaults: Defaults) -> str:
        """The options that are not at their defaults, if they are few; nothing for a project without known defaults."""
        usual = defaults.get(self.project)
        own = [(name, value) for name, value in self.options if usual is not None and usual.get(name) != value]
        few = 0 < len(own) <= _OPTIONS_IN_SUBJECT and all(_VALUE_IN_SUBJECT.match(written(value)) for _, value in own)
        return f", {_shown(tuple(own))}" if few else ""

    @property
    def what(self) -> str:
        """The Build in one sentence's worth of words."""
        ref = plain(self.requests[0].demand.ref, 60) if self.requests else ""
        name = f"{ref} ({self.revision[:12]})" if ref and ref != self.revision else self.revision[:12]
        return f"{self.project} {name} for {_machine(self.platform)}"

    @property
    def reason(self) -> str:
        """Why it ended so."""
        own = next((request.reason for request in self.requests if request.reason), "")
        deciding = self.deciding.reason if self.deciding else ""
        of_build = self.build.reason if self.build else ""
        # What a Request waited for stands on the Request: of its Build it is only known that nobody was left.
        ended_alone = self.outcome in (RequestState.EXPIRED, RequestState.CANCELLED)
        first = own if ended_alone and own else of_build
        return plain(first or own or deciding, _REASON_SHOWN)

    def rows(self) -> Iterable[tuple[str, str]]:
        """Return the facts as pairs of a label and a value."""
        yield "Project", self.project
        yield from _asked(self.requests, self.revision)
        yield "Revision", self.revision
        if self.source:
            yield "Source", self.source
        yield "Platform", _shown(self.platform)
        there = dict(self.platform)
        differing = [(name, value) for name, value in self.wanted if there.get(name) != value]
        if differing:
            yield "Asked for", ", ".join(plain(bound(name, value, comparison_of(name))) for name, value in differing)
        yield "Options", _shown(self.options) or "none"
        yield from self._making()
        if self.artifact:
            yield "Size", _size(self.artifact.size)
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
        yield "Duration", _duration(seconds)


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
        asked = f"{plain(request.demand.ref)}{revrange}{other}, of {_time(request.admitted_at)}"
        yield f"Request {request.id}", asked
    if len(requests) > _REQUESTS_SHOWN:
        yield "", f"and {len(requests) - _REQUESTS_SHOWN} more"


def _answers(ids: Sequence[int]) -> str:
    shown = [str(number) for number in ids[:_REQUESTS_SHOWN]]
    if len(ids) > _REQUESTS_SHOWN:
        shown.append(f"{len(ids) - _REQUESTS_SHOWN} more")
    return f"request {shown[0]}" if len(shown) == 1 else f"the requests {_words(shown)}"


def _facts(rows: Iterable[tuple[str, str]]) -> Iterable[str]:
    for label, value in rows:
        head = f"  {label:<{_LABEL}} "
        yield textwrap.fill(
            _defanged(value), WIDTH, initial_indent=head, subsequent_indent=" " * len(head),
            break_long_words=False, break_on_hyphens=False,
        ) or head.rstrip()  # fmt: skip


def _ends(attempts: Sequence[Attempt]) -> list[str]:
    lines = []
    for attempt in attempts[-ENDS_SHOWN:]:
        end = attempt.end.value if attempt.end else attempt.state.value
        lines.append(_wrapped(f"{attempt.epoch}. {plain(attempt.server)} - {end}", "  "))
        if attempt.reason:
            lines.append(_quoted(attempt.reason, "     "))
    return lines


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        " ".join(text.split()), WIDTH, initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _quoted(text: str, indent: str = "") -> str:
    """Return what a stranger may have written, marked as that: lines that begin with ">", and nothing to click on."""
    return _wrapped(_defanged(_sentence(plain(text, _REASON_SHOWN))), f"{indent}> ") if text else ""


def _reason(text: str, outcome: RequestState, indent: str) -> str:
    """Return why something ended so: quoted where a build server says it, which the farm does not where it expired."""
    if outcome in (RequestState.FAILED, RequestState.UNBUILDABLE):
        return _quoted(text, indent)
    return _wrapped(_defanged(_sentence(plain(text, _REASON_SHOWN))), indent)


def _defanged(text: str) -> str:
    """Return a stranger's text without links that a mail program would make out of it: only the farm's own are."""
    return _LINK.sub("[:]//", text)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""


def _machine(platform: Canonical) -> str:
    values = dict(platform)
    words = [plain(written(values[name])) for name in ("os", "arch") if name in values]
    return " ".join(words) or "any platform"


def _shown(values: Canonical) -> str:
    return _defanged(" ".join(f"{plain(name)}={plain(written(value))}" for name, value in values))


def _words(items: Iterable[str]) -> str:
    words = [plain(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _verify(artifact: Artifact) -> str:
    return f"echo {shlex.quote(f'{artifact.digest}  {plain(artifact.name)}')} | sha256sum -c"


def _url(url: str) -> str:
    return plain(url, _URL_SHOWN)


def _size(size: int) -> str:
    amount, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:  # noqa: PLR2004 - what the units above are made of
            break
        amount, unit = amount / 1024, larger
    return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit} ({size} bytes)"


def _duration(seconds: float) -> str:
    if seconds < 10:  # noqa: PLR2004 - below, tenths are of interest
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount) or "0 s"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


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


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(f"{name}.txt")
