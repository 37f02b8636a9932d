"""Build servers come and go: logins, lost connections, and owners who are told.

The test is tests/scheduling/servers/test_leases.py.
"""

from __future__ import annotations

from attrs import evolve

from buildtool.model.addresses import find_address
from buildtool.model.records import AttemptEnd, AttemptState, Mail, RequestState
from buildtool.model.servers import Capability, HeldVerdict, Server, Verdict
from buildtool.scheduling.answers import Acknowledged, NameHeld, NameLimitReached, SessionOpened
from buildtool.scheduling.attempts import close_attempt, end, settle_confirmations, undelivered
from buildtool.scheduling.decision import DecisionContext, server_of
from buildtool.scheduling.effects import Fence, MailWritten
from buildtool.scheduling.events import Disconnected, Registered
from buildtool.scheduling.order.rounds import place_of
from buildtool.scheduling.servers import names
from buildtool.scheduling.servers.leases import judge
from buildtool.scheduling.servers.owners import note_wishes

CHANGING = frozenset({"disk", "memory"})
"""Properties of a machine that are looked at anew at each login."""

OWNERS = "build servers"
"""Against whose share mails to the owners of build servers count, all of them together: anybody may name anybody."""


def register(context: DecisionContext, event: Registered) -> SessionOpened | NameHeld | NameLimitReached:
    """Open a new Session, if the name is free; what the server has goes on, what it has not is lost.

    One that is connected under the name is cut off only if it was asked and did not answer.
    """
    refused = names.refusal(context, event)
    if refused is not None:
        return refused
    old = context.state.servers.get(event.server)
    if old is not None and old.connected:
        context.happened("server-fenced", f"server/{old.name}", "a newer login of the same build server took over")
        context.tell(Fence(old.name, old.session))
    session = old.session if old is not None else context.state.names.sessions.get(event.server, 0)
    new = old or Server(event.server, 0, event.capability, connected=True, since=context.now, last_seen=context.now)
    server = evolve(
        new,
        session=session + 1,
        capability=event.capability,
        connected=True,
        since=context.now,
        last_seen=context.now,
        missing_since=0.0,
        missing_told=False,
        draining=False,
        instance=event.instance,
        origin=event.origin,
        owner=event.owner,
    )
    held = event.held
    if old is not None and names.is_another(old, event):
        names.lose_all(context, old)
        held = ()
    context.state.put(server)
    context.happened("server-connected", f"server/{server.name}", f"session {server.session}")
    server = note_wishes(context, server, event.notice)
    if old is not None and _is_another(old.capability, server.capability):
        _ask_again(context, server.name)
    verdicts = tuple(judge(context, server, one) for one in held)
    _lose_what_is_not_there(context, server)
    if held is not event.held:
        verdicts = tuple(
            HeldVerdict(one.build_id, one.epoch, Verdict.DROP, "it is not this machine's") for one in event.held
        )
    context.freed.add(server.name)
    settle_confirmations(context)
    return SessionOpened(server.session, tuple(_still(context, one) for one in verdicts))


def _still(context: DecisionContext, verdict: HeldVerdict) -> HeldVerdict:
    """Return a verdict as it is at the end of a login: with what the machine is now, its Build may have failed."""
    attempt = context.state.attempts.get((verdict.build_id, verdict.epoch))
    if verdict.verdict is Verdict.DROP or (attempt is not None and attempt.state is not AttemptState.ABORTING):
        return verdict
    return evolve(verdict, verdict=Verdict.DROP, reason="its build has just ended: nobody is there to repeat it")


def _is_another(before: Capability, now: Capability) -> bool:
    """Return whether a machine announces something else than before, but for what changes by itself."""
    return _lasting(before) != _lasting(now)


def _lasting(capability: Capability) -> tuple[object, ...]:
    machine = tuple((name, value) for name, value in capability.machine if name not in CHANGING)
    own = capability.offers, capability.skills, capability.max_builds, capability.software, capability.sandbox
    return (*own, machine)


def _ask_again(context: DecisionContext, server: str) -> None:
    """Drop the refusals of a machine that has changed: it has another limit, other tools, another recipe."""
    for build_id in list(context.state.records.refused_by.get(server, ())):
        refusal = context.state.refusals[build_id, server]
        if refusal.until > context.now:
            context.state.put(evolve(refusal, until=context.now))


def disconnect(context: DecisionContext, event: Disconnected) -> Acknowledged:
    """End a Session; what it builds is believed alive until its Lease ends, unless it may never come back.

    An older Session's end changes nothing.
    """
    server = server_of(context, event)
    if server is None:
        return Acknowledged(stale=True)
    missing_since = 0.0 if event.clean else context.now
    context.state.put(
        evolve(
            server,
            connected=False,
            last_seen=context.now,
            since=context.now,
            missing_since=missing_since,
            draining=False,
        )
    )
    context.happened("server-disconnected", f"server/{server.name}", event.reason)
    if event.final:
        names.lose_missing(context, server, event.reason)
        for key in _by_place(context, server):
            end(context, context.state.attempts[key], AttemptEnd.RETURNED, event.reason)
    names.forget_largest(context)
    settle_confirmations(context)
    return Acknowledged()


def tell_owner(context: DecisionContext, name: str) -> None:
    """Write a mail to the owner of a server that is missing for long, unless one was written."""
    server = context.state.servers[name]
    if server.missing_told:
        return
    context.state.put(evolve(server, missing_told=True))
    context.happened("server-missing", f"server/{name}", f"not heard of for {context.now - server.missing_since:.0f} s")
    owner = find_address(server.capability.admin)
    if owner is not None:
        key = context.mail_key(f"missing:{name}:{server.session}:{owner}")
        told = Mail(key, owner, None, (), RequestState.WAITING, context.now, server=name, asker=OWNERS)
        context.state.append(told)
        context.tell(MailWritten())


def _lose_what_is_not_there(context: DecisionContext, server: Server) -> None:
    """End every Attempt of a server that it did not bring to its new Session."""
    for key in _by_place(context, server):
        attempt = context.state.attempts[key]
        if attempt.session == server.session:
            continue
        if attempt.state is AttemptState.ABORTING:
            close_attempt(context, attempt, AttemptEnd.ABORTED, attempt.reason)
        elif attempt.state is AttemptState.OFFERED:
            undelivered(context, attempt, f"{server.name} came back without it")
        else:
            end(context, attempt, AttemptEnd.LOST, f"{server.name} came back without it")


def _by_place(context: DecisionContext, server: Server) -> list[tuple[int, int]]:
    """Return what a server has, in the order of the places: each may be started elsewhere at once.

    An aborted one has no place.
    """
    state = context.state
    return sorted(
        state.slots.attempts_of.get(server.name, ()),
        key=lambda key: place_of(state.builds[key[0]]) if key[0] in state.builds else (0, 0),
    )
