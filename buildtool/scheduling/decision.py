"""One decision in the making: the state it changes, the time it is taken at, and the Effects it collects.

Here stand the steps that every decision is made of: ending a Request and writing its mail, ending a Build, telling
followers. What leads to them is in ``admission``, ``dispatching``, ``attempts`` and ``cancelling``.

The test is tests/scheduling/test_endings.py.
"""

from __future__ import annotations

from attrs import define, evolve, field

from buildtool.model.records import (
    Artifact,
    AttemptState,
    AuditEvent,
    Build,
    BuildState,
    JoinReason,
    Mail,
    Request,
    RequestState,
)
from buildtool.model.servers import Server
from buildtool.model.text import one_line
from buildtool.scheduling.effects import Abort, Effect, MailWritten, RequestMoved
from buildtool.scheduling.events import SessionEvent
from buildtool.scheduling.state.state import State
from buildtool.scheduling.waiting import lines, why

WHY_LIMIT = 600
"""Most characters of why nobody built something, in the reason that is mailed."""

DETAIL_LIMIT = 600
"""Most characters of an event's detail: a peer may have written it."""


@define
class DecisionContext:
    """The data that the steps of one decision share. ``now`` is wall time in seconds.

    ``freed`` names servers that got a free slot, or came, in this decision: older Builds may wait for those. ``again``
    has the Builds that wait again, ``anew`` the Requests that left what they had joined, ``left`` the Builds
    that a Request waits for no longer: ``settle`` serves them all.
    """

    state: State
    now: float
    freed: set[str] = field(factory=set)
    again: set[int] = field(factory=set)
    anew: set[int] = field(factory=set)
    left: set[int] = field(factory=set)
    effects: list[Effect] = field(factory=list)
    mails: dict[str, Mail] = field(factory=dict)

    def tell(self, effect: Effect) -> None:
        """Add an Effect, to be performed after the commit."""
        self.effects.append(effect)

    def happened(self, kind: str, subject: str, detail: str = "", by: str = "", seconds: float = 0.0) -> None:
        """Add a row to the events table; ``by`` says which operator did it, ``seconds`` how long it took or saved."""
        if by:
            detail = f"{detail}; by {by}" if detail else f"by {by}"
        self.effects.append(AuditEvent(kind, subject, one_line(detail, DETAIL_LIMIT), seconds))

    def mail_key(self, about: str) -> str:
        """Return the key of a mail: what it is about, and in which life of the state directory (``incarnations``)."""
        return f"{self.state.incarnation}:{about}" if self.state.incarnation else about

    def start_over(self) -> None:
        """Drop all that was collected: the changes that led to it were taken back."""
        for collected in (self.freed, self.again, self.anew, self.left, self.effects, self.mails):
            collected.clear()

    def finish(self) -> None:
        """Write the mails that the decision collected, one for each address, Build and outcome."""
        for mail in self.mails.values():
            self.state.append(mail)
        if self.mails:
            self.tell(MailWritten())


def server_of(context: DecisionContext, event: SessionEvent) -> Server | None:
    """Return the server of an event if the Session that it comes from is the newest one and open, else None."""
    server = context.state.servers.get(event.server)
    return server if server is not None and server.connected and server.session == event.session else None


def satisfy(context: DecisionContext, request: Request, artifact: Artifact, reason: str = "") -> Request:
    """End a waiting Request with an artifact that satisfies it, and mail its requester; ``reason`` is what to know."""
    ended = evolve(
        request,
        state=RequestState.SATISFIED,
        artifact_id=artifact.id,
        build_id=artifact.build_id,
        reason=reason,
        ended_at=context.now,
    )
    _end(context, ended, artifact.build_id)
    return ended


def disappoint(context: DecisionContext, request: Request, state: RequestState, reason: str) -> Request:
    """End a waiting Request without an artifact, and mail its requester why."""
    ended = evolve(request, state=state, reason=reason, ended_at=context.now)
    _end(context, ended, request.build_id)
    return ended


def expire(context: DecisionContext, request: Request) -> None:
    """End a Request whose own time is over before anybody could build it, and its Build if it was the last."""
    build = context.state.builds.get(request.build_id) if request.build_id is not None else None
    reason = "no build server took it before the request expired"
    if build is not None:
        told = why(context.state, build, context.now)
        said = "; ".join(lines(evolve(told, ahead=0, estimate=None)))
        reason = f"{reason}: {said}" if len(said) <= WHY_LIMIT else f"{reason}: {said[:WHY_LIMIT]}..."
    disappoint(context, request, RequestState.EXPIRED, reason)
    if build is not None and not context.state.records.waiting_on.get(build.id):
        close_build(context, build, BuildState.EXPIRED, "every request for it expired")


def expire_held(context: DecisionContext, request: Request) -> None:
    """End a Request whose e-mail address was not confirmed in time: no mail is sent."""
    disappoint(context, request, RequestState.EXPIRED, "its e-mail address was not confirmed in time")


def close_build(context: DecisionContext, build: Build, state: BuildState, reason: str) -> Build:
    """End a Build, whatever else ``build`` changes in its row.

    An Attempt of it that still lives is told to stop; it keeps its slot until it has.
    """
    attempt = context.state.running_attempt(build)
    for key in list(context.state.records.missing_of.get(build.id, ())):
        context.state.put(evolve(context.state.attempts[key], state=AttemptState.ENDED, ended_at=context.now))
    ended = evolve(build, state=state, reason=reason, ended_at=context.now)
    context.state.put(ended)
    for server in list(context.state.records.refusals_of.get(build.id, ())):
        context.state.records.forget_refusal((build.id, server))
    if attempt is not None and attempt.state is not AttemptState.ABORTING:
        context.state.put(evolve(attempt, state=AttemptState.ABORTING, reason=reason))
        context.tell(Abort(attempt.server, attempt.session, attempt.build_id, attempt.epoch, reason))
    took = context.now - build.started_at if build.started_at is not None else 0.0
    context.happened(f"build-{state.value}", f"build/{build.id}", reason, seconds=max(0.0, took))
    return ended


def leave(context: DecisionContext, request: Request) -> None:
    """Take a waiting Request off the Build that it had joined, which came to nothing: ``settle`` admits it anew.

    From now on it wants its own exact revision. It keeps its place in the order of admission.
    """
    now = context.state.requests[request.id]  # that another of its group has ended may just have been noted
    own = evolve(now.demand, acceptable=(now.demand.spec.revision,))
    context.state.put(evolve(now, demand=own, build_id=None, joined=JoinReason.OWN))
    context.anew.add(request.id)
    note_left(context, now)


def note_left(context: DecisionContext, request: Request) -> None:
    """Record that a Request waits for its Build no longer, which may be charged to it."""
    if request.build_id is not None:
        context.left.add(request.build_id)


def tell_unsuccessful(context: DecisionContext, waiting: list[Request], state: RequestState, reason: str) -> None:
    """End the Requests whose own Build came to nothing; those that joined by Attempt or range leave it."""
    for request in waiting:
        if request.joined in (JoinReason.ATTEMPT, JoinReason.RANGE):
            leave(context, request)
        else:
            disappoint(context, request, state, reason)


def announce(context: DecisionContext, build: Build, server: str = "") -> None:
    """Send the followers of a Build's Requests its state."""
    for request in context.state.waiters(build.id):
        context.tell(RequestMoved(request, build.state.value, build.epoch, server))


def _end(context: DecisionContext, ended: Request, build_id: int | None) -> None:
    before = context.state.requests.get(ended.id)
    context.state.put(ended)
    context.tell(RequestMoved(ended))
    note_left(context, before or ended)
    context.happened(f"request-{ended.state.value}", f"request/{ended.id}", ended.reason)
    if ended.held or not ended.email:
        return  # its address was never confirmed; or it is the operator's or a trigger's own, who see how it ends
    if ended.group is not None:
        for request_id in list(context.state.records.group_open.get(ended.group, ())):
            other = context.state.requests[request_id]
            if not other.group_due:
                context.state.put(evolve(other, group_due=True))
        sum_up(context, ended, ended.group)
        return
    alone = f":{ended.id}" if ended.state is RequestState.EXPIRED else ""
    together = f"{build_id or 0}:{ended.state.value}{alone}:{ended.email}"
    mail = context.mails.get(together)
    if mail is None:
        # A Request ends once, so its id makes the key unique: who is told of the same Build later gets another mail.
        key = context.mail_key(f"{build_id or 0}:{ended.state.value}:{ended.id}:{ended.email}")
        context.mails[together] = Mail(
            key, ended.email, build_id, (ended.id,), ended.state, context.now, asker=ended.asker
        )
    else:
        context.mails[together] = evolve(mail, request_ids=(*mail.request_ids, ended.id))


def sum_up(context: DecisionContext, ended: Request, group: int) -> None:
    """Write the one mail about Requests that were made together, once the last of them has ended."""
    if context.state.records.group_open.get(group):
        return
    key = context.mail_key(f"together:{group}:{ended.email}")
    members = tuple(range(group, group + ended.group_size))
    context.mails[key] = Mail(key, ended.email, None, members, ended.state, context.now, True, asker=ended.asker)
