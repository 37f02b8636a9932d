"""What a mail says: from the rows of the database to a Letter, by the templates in ``templates``.

Everything here may have been made up by a stranger (refs, options, logs, names from build servers), so every value
is made printable before it meets a template.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen

from buildtool.adapters.mail.letter import Letter, Look, farm_words
from buildtool.adapters.mail.plain_text import (
    at_time,
    defanged,
    duration,
    facts,
    link,
    listed,
    log_end,
    machine,
    plain,
    sentence,
    shown,
    verify,
    why,
    wrapped,
)
from buildtool.adapters.mail.templating import BUILT_IN, MailTemplates
from buildtool.adapters.mail.told import ENDS_SHOWN, Defaults, MailFacts, answered, ends_of
from buildtool.errors import InternalError
from buildtool.model.farm.deployment import NO_PLACE, UNNAMED, Deployment, ProjectPlace
from buildtool.model.logs.error_lines import Excerpt, first_error
from buildtool.model.platforms import Value
from buildtool.model.records import Artifact, AttemptEnd, Request, RequestState
from buildtool.model.text import size_words
from buildtool.ports.metaserver import OutgoingMail
from buildtool.ports.pages import RunningBuild

NONE_KNOWN: Defaults = {}

_VERB = {
    RequestState.SATISFIED: "built",
    RequestState.FAILED: "failed",
    RequestState.UNBUILDABLE: "could not be built",
    RequestState.EXPIRED: "expired",
    RequestState.CANCELLED: "cancelled",
    RequestState.SUPERSEDED: "superseded",
}
_LOOK = {
    RequestState.SATISFIED: Look("ok", "✓", "Ready"),
    RequestState.FAILED: Look("bad", "✕", "Failed"),
    RequestState.UNBUILDABLE: Look("bad", "△", "Could not be built"),
    RequestState.EXPIRED: Look("wait", "⧗", "Expired"),
    RequestState.CANCELLED: Look("quiet", "⊘", "Cancelled"),
    RequestState.SUPERSEDED: Look("quiet", "↷", "Superseded"),
}


@frozen
class MailLinks:
    """The whole URLs of what a mail points to: an artifact by digest and name, the page and the log of a Build."""

    artifact: Callable[[str, str], str]
    build: Callable[[int], str]
    log: Callable[[int], str]


@frozen
class MailStyle:
    """The way in which mails are written: by which templates, and what they say of farm and projects.

    The subject names what was asked for besides the ``defaults`` of the project's compile options. With ``strict`` a
    template that fails is an error, see ``MailTemplates``. ``unsubscribe`` is the link that ends mails like the one
    that is written, "" for none.
    """

    templates: MailTemplates = BUILT_IN
    farm: Deployment = UNNAMED
    places: Mapping[str, ProjectPlace] = field(factory=dict)
    defaults: Defaults = NONE_KNOWN
    strict: bool = False
    unsubscribe: str = ""

    def letter(self, name: str, subject: str, look: Look, words: Mapping[str, object], **headers: str) -> Letter:
        """Return the Letter that a template makes of ``words``; ``headers`` are further fields of it."""
        subject = plain(subject, 150)
        topic = headers.get("topic", "")
        place = self.places.get(topic, NO_PLACE)
        given = {
            **farm_words(self.farm, topic, place),
            "prose": wrapped,
            "defanged": defanged,
            "subject": subject,
            "look": look,
            "unsubscribe": link(self.unsubscribe),
        }
        text, html = self.templates.write(name, {**given, **words}, strict=self.strict)
        return Letter(subject, text, html, farm=self.farm, unsubscribe=self.unsubscribe, **headers)

    @property
    def farm_name(self) -> str:
        """The name of the farm in subjects."""
        return "build farm" if self.farm.title == UNNAMED.title else self.farm.title


USUAL_STYLE = MailStyle()


def render(
    outgoing: OutgoingMail,
    links: MailLinks,
    now: float,
    style: MailStyle = USUAL_STYLE,
    error: Excerpt | None = None,
) -> Letter:
    """Return what a mail says; ``now`` is wall time. Raises InternalError for an outcome that is none.

    ``error`` is the first error of the log, which is looked for at the log's end where that is not known.
    """
    outcome = outgoing.mail.outcome
    if outgoing.members:
        return _render_digest(outgoing, links, now, style)
    if outgoing.mail.server:
        return _render_missing(outgoing, now, style)
    if outgoing.mail.summary:
        return _render_summary(outgoing, links, style)
    if outcome not in _VERB:
        raise InternalError(f"mail {outgoing.mail.key} tells of {outcome.value}, which is no outcome")
    told = MailFacts(outgoing)
    rows = [(label, defanged(value)) for label, value in told.rows()]
    artifact = told.artifact
    words = {
        "headline": wrapped(defanged(f"{_headline(told)}: {told.what}.")),
        "facts": "\n".join(facts(rows)),
        "rows": rows,
        "reason": why(told.reason, outcome, "  "),
        "said": sentence(told.reason),
        "artifact": artifact,
        "artifact_url": link(links.artifact(artifact.digest, artifact.name)) if artifact else "",
        "artifact_size": size_words(artifact.size) if artifact else "",
        "verify": verify(artifact) if artifact else "",
        "page_url": link(links.build(told.build_id)) if told.build_id is not None else "",
        "log_url": link(links.log(told.build_id)) if told.build_id is not None else "",
        "log": [defanged(line) for line in log_end(told.deciding.log_tail)] if told.deciding else [],
        "error": error or _error_at_the_end(told),
        "who": f"the build server {plain(told.deciding.server)}" if told.deciding else "the build server",
        "ends": ends_of(outgoing.attempts),
        "ends_left_out": max(0, len(outgoing.attempts) - ENDS_SHOWN),
        "repeated_on": listed(told.build.failed_on) if told.build and len(told.build.failed_on) > 1 else "",
        "mistaken": told.deciding is not None and told.deciding.end is AttemptEnd.MISTAKEN,
        "expired_at": at_time(max((r.expires_at for r in outgoing.requests), default=now)),
        "answers": answered(outgoing.mail.request_ids) if outgoing.mail.request_ids else "",
        "address": plain(outgoing.mail.email),
        "watch": told.watch,
        "watch_words": told.watched,
    }
    where = machine(told.platform)
    name = f": {told.short}" if told.short else ""
    subject = f"[{told.project}] {where}: {_VERB[outcome]}{name}{told.chosen(style.defaults)}"
    thread = f"{told.project} {where}"
    kind = "watch" if told.watch else outcome.value
    return style.letter(kind, subject, _LOOK[outcome], words, topic=told.project, thread=thread)


def _error_at_the_end(told: MailFacts) -> Excerpt | None:
    """Return the first error at the end of the deciding Attempt's log, which may be all of it."""
    return first_error(told.deciding.log_tail.encode(errors="replace"), 0) if told.deciding else None


def _render_digest(outgoing: OutgoingMail, links: MailLinks, now: float, style: MailStyle) -> Letter:
    """Return the one mail that tells all that was held back for an address."""
    members: list[_Member] = []
    for one in outgoing.members:
        if one.mail.server:
            members.append(_Member(_render_missing(one, now, style).subject, ""))
            continue
        found = {artifact.id: artifact for artifact in (*one.artifacts, *((one.artifact,) if one.artifact else ()))}
        told = [_member(request, found, {}, links, whole=True) for request in one.requests]
        if one.mail.about:
            told = [_new_binary(one, links)]
        gone = _Member(f"requests {listed(map(str, one.mail.request_ids))}", _OUTCOME[one.mail.outcome])
        members += told or [gone]
    count = len(members)
    what = "1 thing is" if count == 1 else f"{count} things are"
    headline, told_of = f"{what} told here at once: so many mails were due that they were put together.", ""
    if outgoing.mail.about:
        branch, project = MailFacts(outgoing.members[0]).watched, MailFacts(outgoing.members[0]).project
        told_of = f"{count} new " + ("binary" if count == 1 else "binaries")
        headline, what = f"{told_of} of {branch} of {project}, which you watch.", f"{told_of} of {branch}"
    words = {
        "headline": wrapped(defanged(headline)),
        "watch": MailFacts(outgoing.members[0]).watch if told_of else "",
        "members": members,
        "address": plain(outgoing.mail.email),
    }
    look = Look("quiet", "≡", "Several things")
    if told_of:
        return style.letter("digest", f"[{project}] {what}", Look("ok", "✓", "New binaries"), words, topic=project)
    return style.letter("digest", f"[{style.farm_name}] {what} told in one mail", look, words)


def _headline(told: MailFacts) -> str:
    return f"A new binary of {told.watched}" if told.watch else _HEADLINE[told.outcome]


def _new_binary(outgoing: OutgoingMail, links: MailLinks) -> _Member:
    """Return what a digest says of one binary that came to a branch."""
    told, artifact = MailFacts(outgoing), outgoing.artifact
    return _Member(
        plain(told.what), "ready" if artifact else "ready once, but no longer kept",
        url=link(links.artifact(artifact.digest, artifact.name)) if artifact else "",
        digest=artifact.digest if artifact else "",
        page=link(links.build(told.build_id)) if told.build_id is not None else "",
    )  # fmt: skip


def _render_summary(outgoing: OutgoingMail, links: MailLinks, style: MailStyle) -> Letter:
    """Return the one mail about Requests that were made together."""
    artifacts = {artifact.id: artifact for artifact in outgoing.artifacts}
    common = _common(outgoing.requests)
    members = [_member(request, artifacts, common, links) for request in outgoing.requests]
    ready = sum(request.state is RequestState.SATISFIED for request in outgoing.requests)
    project = plain(outgoing.requests[0].demand.spec.project if outgoing.requests else "build farm")
    are = "is" if ready == 1 else "are"
    words = {
        "headline": wrapped(f"Of the {len(members)} binaries that you asked for together, {ready} {are} ready."),
        "common": wrapped(f"All of them: {shown(tuple(sorted(common.items())))}.") if common else "",
        "members": members,
        "address": plain(outgoing.mail.email),
    }
    all_ready = ready == len(members)
    look = Look("ok", "✓", "All are ready") if all_ready else Look("bad", "✕", f"{ready} of {len(members)} {are} ready")
    subject = f"[{project}] {ready} of {len(members)} built"
    return style.letter("summary", subject, look, words, topic=project, thread=project)


def _render_missing(outgoing: OutgoingMail, now: float, style: MailStyle) -> Letter:
    """Return the mail to the owner of a build server that is missing."""
    server, name = outgoing.server, plain(outgoing.mail.server, 80)
    since = server.missing_since if server is not None else 0.0
    heard = since or (server.last_seen if server is not None else 0.0) or outgoing.mail.created_at
    back = server is not None and not since
    words = {
        "headline": wrapped(f"Your build server {name} is missing: it was last heard of at {at_time(heard)}."),
        "back": wrapped(f"It has been heard of again since, or said good-bye ({at_time(heard)}).") if back else "",
        "lasted": duration(max(0.0, now - heard)),
        "building": [wrapped(_lost(it), indent="  ") for it in outgoing.lost],
        "name": name,
        "command": f"bin/buildserver.py --name {shlex.quote(name)}",
        "address": plain(outgoing.mail.email),
    }
    look = Look("ok", "✓", "Was heard of again") if back else Look("wait", "△", "Missing")
    subject = f"[{style.farm_name}] {name} is missing since {at_time(heard)}"
    return style.letter("missing", subject, look, words, thread=f"build server {name}")


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
        said=sentence(request.reason),
        url=link(links.artifact(artifact.digest, artifact.name)) if artifact else "",
        digest=artifact.digest if artifact else "",
        page=link(links.build(request.build_id)) if request.build_id is not None else "",
    )


@frozen
class _Member:
    """What a summary says of one Request."""

    what: str
    outcome: str
    reason: str = ""
    said: str = ""
    url: str = ""
    digest: str = ""
    page: str = ""


def render_test(address: str, server: str, now: float, style: MailStyle = USUAL_STYLE) -> Letter:
    """Return the mail by which an operator tries the settings at ``now`` (wall time)."""
    words = {
        "headline": f"Mail from the build farm reaches {plain(address)}.",
        "address": plain(address),
        "server": plain(server),
        "at": at_time(now),
    }
    return style.letter("test", "Test of the build farm's mail", Look("ok", "✓", "It works"), words)


_OUTCOME = {
    RequestState.SATISFIED: "ready",
    RequestState.FAILED: "failed",
    RequestState.UNBUILDABLE: "could not be built",
    RequestState.EXPIRED: "expired before it could be built",
    RequestState.CANCELLED: "cancelled",
    RequestState.SUPERSEDED: "superseded by a newer commit",
    RequestState.WAITING: "still waits",
}

_HEADLINE = {
    RequestState.SATISFIED: "Your binary is ready",
    RequestState.FAILED: "The build failed",
    RequestState.UNBUILDABLE: "This could not be built",
    RequestState.EXPIRED: "Your request expired before it could be built",
    RequestState.CANCELLED: "Your request was cancelled",
    RequestState.SUPERSEDED: "A newer commit of yours took the place of your request",
}
