"""A mail of every kind and outcome, as an example: so that templates are tried before anybody is mailed by them."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve, frozen

from buildtool.adapters.mail.codes import DEFAULT_PORT, render_code
from buildtool.adapters.mail.letter import Letter
from buildtool.adapters.mail.text import MailLinks, MailStyle, render, render_test
from buildtool.model.access.confirmation import LIVES
from buildtool.model.logs.error_lines import Excerpt
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildSpec,
    BuildState,
    Demand,
    Mail,
    Request,
    RequestState,
)
from buildtool.model.servers import Capability, OfferKind, Server
from buildtool.model.trust.evidence import TRUSTED_ONLY
from buildtool.ports.metaserver import OutgoingMail
from buildtool.ports.pages import RunningBuild

_NOW = 1_700_000_000.0
_WHO = "ann@example.org"
_REVISION = "3f2a1b9c4d5e6f708192a3b4c5d6e7f8091a2b3c"
_DIGEST = "9b74c9897bac770ffc029102a200c5de8b1a0e6a1f6f4c2b4a5d0e6f7a8b9c0d"
_NAME = "lua-3f2a1b9c4d5e-linux-ppc-0a1b2c3d.zip"
_PLATFORM = (("arch", "ppc"), ("libc_version", "2.36"), ("os", "linux"))
_SPEC = BuildSpec("lua", "", _REVISION, 3, (("lto", True), ("opt", "O2")), _PLATFORM, policy=TRUSTED_ONLY)
_LOG = "cc -O2 -flto -c lapi.c\nlapi.c:12:5: error: unknown type name 'lua_State'\nmake: *** [lapi.o] Error 1\n"
_ERROR = Excerpt(311, tuple(_LOG.splitlines()), 1)
_OTHER_BYTES = (
    "not the same bytes as build 9 made of the same on orion: SHA-256 2c26b46b68ff... before, 9b74c9897bac... now"
)

_STATES = {
    RequestState.SATISFIED: BuildState.SUCCEEDED,
    RequestState.FAILED: BuildState.FAILED,
    RequestState.UNBUILDABLE: BuildState.UNBUILDABLE,
    RequestState.EXPIRED: BuildState.EXPIRED,
    RequestState.CANCELLED: BuildState.CANCELLED,
    RequestState.SUPERSEDED: BuildState.CANCELLED,
}
_ENDS = {RequestState.SATISFIED: AttemptEnd.SUCCEEDED, RequestState.FAILED: AttemptEnd.FAILED}


@frozen
class SampleMail:
    """An example of a mail: what it is an example of, in words, and what it says."""

    what: str
    letter: Letter


def sample_mails(links: MailLinks, style: MailStyle) -> Iterator[SampleMail]:
    """Yield an example of every mail that the farm sends, each with all that it may say, and with as little as it may.

    Raises ConfigurationError for a template that fails, where the ``style`` is strict.
    """
    for outcome in _STATES:
        full = outgoing(outcome)
        yield SampleMail(outcome.value, render(full, links, _NOW + 100, style, _ERROR))
        bare = OutgoingMail(full.mail, None, (), None, (), 0)
        yield SampleMail(f"{outcome.value}, of which nothing is kept", render(bare, links, _NOW + 100, style))
    built = outgoing(RequestState.SATISFIED)
    again = evolve(built, requests=tuple(evolve(request, reason=_OTHER_BYTES) for request in built.requests))
    yield SampleMail("satisfied by other bytes than before", render(again, links, _NOW + 100, style))
    failed = outgoing(RequestState.FAILED)
    mistaken = evolve(failed, attempts=(evolve(failed.attempts[-1], end=AttemptEnd.MISTAKEN, log_tail=""),))
    yield SampleMail("failed by a mistake of the project", render(mistaken, links, _NOW + 100, style))
    every = tuple(outgoing(outcome) for outcome in _STATES)
    requests = tuple(one.requests[0] for one in every)
    summary = evolve(every[0], mail=evolve(every[0].mail, summary=True, build_id=None), build=None, artifact=None)
    artifacts = tuple(one.artifact for one in every if one.artifact is not None)
    together = evolve(summary, requests=requests, artifacts=artifacts)
    yield SampleMail("all of several requests", render(together, links, _NOW + 100, style))
    missing = _missing(_NOW)
    yield SampleMail("a machine that is missing", render(missing, links, _NOW + 3_700, style))
    yield SampleMail("a machine that is back", render(_missing(0.0), links, _NOW + 3_700, style))
    digest = evolve(summary, mail=evolve(summary.mail, summary=False), members=(*every, missing))
    yield SampleMail("several put together", render(digest, links, _NOW + 100, style))
    came = evolve(built, mail=evolve(built.mail, request_ids=(), about="watch:7 refs/heads/main"), requests=())
    yield SampleMail("a new binary of a branch", render(came, links, _NOW + 100, style))
    day = evolve(came, members=(came, evolve(came, artifact=None)))
    yield SampleMail("new binaries of a branch", render(day, links, _NOW + 100, style))
    for purpose in sorted(LIVES):
        mail = Mail("code:1", _WHO, None, (), RequestState.WAITING, _NOW, asker="192.0.2.7", purpose=purpose)
        for pin in ("", _DIGEST):
            where = "farm.example.org", DEFAULT_PORT
            code = render_code(mail, "aaaa-bbbb-cccc-dddd", "https://farm.example.org", where, pin, style)
            yield SampleMail(f"a code to {purpose}", code)
    yield SampleMail("mail-test", render_test(_WHO, "mail.example.org:25", _NOW, style))


def outgoing(outcome: RequestState) -> OutgoingMail:
    """Return an example of a mail about a Build that ended like this."""
    number = list(_STATES).index(outcome) + 1
    demand = Demand(_SPEC, "v5.4", "", (_REVISION,))
    ready = outcome is RequestState.SATISFIED
    reason = "" if ready else "make exited with 2"
    request = Request(number, f"client-{number}", "", _WHO, demand, False, _NOW, _NOW + 7 * 86_400.0)
    request = evolve(request, state=outcome, reason=reason, build_id=12, artifact_id=5 if ready else None)
    build = Build(12, _SPEC.key(), _SPEC, number, _NOW, _STATES[outcome], epoch=2, deciding_epoch=2)
    build = evolve(build, reason=reason, failed_on=("orion", "vega") if outcome is RequestState.FAILED else ())
    end = _ENDS.get(outcome, AttemptEnd.BROKEN)
    attempts = (_attempt(1, "orion", AttemptEnd.LOST, "connection lost"), _attempt(2, "vega", end, reason))
    artifact = Artifact(
        5, _SPEC.shelf, _SPEC.options, _PLATFORM, OfferKind.CROSS, 12, 2, "vega", _DIGEST, "c" * 64, 1_234_567, _NAME,
        _NOW + 75, 72.2, evidence=TRUSTED_ONLY.least,
    )  # fmt: skip
    mail = Mail(f"12:{outcome.value}:{_WHO}", _WHO, 12, (number,), outcome, _NOW)
    return OutgoingMail(mail, build, (request,), artifact if ready else None, attempts, 0)


def _attempt(epoch: int, server: str, end: AttemptEnd, reason: str) -> Attempt:
    made = Attempt(12, epoch, server, 4, _PLATFORM, OfferKind.CROSS, _NOW + 1, evidence=TRUSTED_ONLY.least)
    return evolve(
        made,
        state=AttemptState.ENDED,
        accepted_at=_NOW + 2,
        ended_at=_NOW + 74.2,
        end=end,
        reason=reason,
        log_tail=_LOG,
    )


def _missing(since: float) -> OutgoingMail:
    mail = Mail("missing:orion:4", _WHO, None, (), RequestState.WAITING, _NOW, server="orion")
    server = Server("orion", 4, Capability((), (), (), admin=_WHO), False, _NOW, _NOW, missing_since=since)
    had = outgoing(RequestState.FAILED)
    lost = tuple(RunningBuild(had.attempts[0], build) for build in (had.build,) if build is not None)
    return OutgoingMail(mail, None, (), None, (), 0, server=server, lost=lost)
