"""How each value is read out of its table.

Tested by tests/adapters/sql/test_broker_store.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from sys import intern
from typing import Any

from sqlalchemy import Row

from buildtool.adapters.sql.cells import TEXTS_KEPT
from buildtool.concurrency.bounded_cache import remembering, weight_of_json
from buildtool.model.options import Canonical
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildSpec,
    BuildState,
    Demand,
    JoinReason,
    Mail,
    Refusal,
    RememberedFailure,
    Request,
    RequestState,
    ShelfKey,
)
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill, Server

_ALONE = len('[""]')
"""By how much the JSON text of one commit is longer than the commit; its own revision is always acceptable."""


# To look a member up by its value costs the enum's own call several times as much, and a page has hundreds of them.
_REQUEST_STATE = {member.value: member for member in RequestState}
_BUILD_STATE = {member.value: member for member in BuildState}
_ATTEMPT_STATE = {member.value: member for member in AttemptState}
_ATTEMPT_END = {member.value: member for member in AttemptEnd}
_OFFER_KIND = {member.value: member for member in OfferKind}
_JOINED = {member.value: member for member in JoinReason}


@remembering(TEXTS_KEPT, lambda _pairs, text: weight_of_json(text))
def canonical_of(text: str) -> Canonical:
    """Return canonical pairs from their JSON text: the lists in it are the tuples that they were.

    The same few platforms, options and requirements stand in most rows: they are read once, and held once.
    """
    return _canonical(json.loads(text))


def _canonical(plain: list[list[Any]]) -> Canonical:
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in plain)


@remembering(TEXTS_KEPT, lambda _strings, text: weight_of_json(text))
def strings_of(text: str) -> tuple[str, ...]:
    """Return a tuple of strings from its JSON text."""
    return tuple(json.loads(text))


def _spec(row: Row[Any]) -> BuildSpec:
    return BuildSpec(
        project=intern(row.project),
        source=intern(row.source),
        revision=intern(row.revision),
        recipe_version=row.recipe_version,
        options=canonical_of(row.options),
        platform=canonical_of(row.platform),
        machine=canonical_of(row.machine),
        native=bool(row.native),
    )


def _shelf(row: Row[Any]) -> ShelfKey:
    return ShelfKey(
        project=row.project,
        source=row.source,
        recipe_version=row.recipe_version,
        options_digest=row.options_digest,
        revision=row.revision,
    )


def request_of(row: Row[Any], spec: BuildSpec | None = None) -> Request:
    """Return the Request that a row of ``requests`` is; ``spec`` is that of its Build if that is known to be the same.

    Thousands of them may wait: what many of them have in common is held once.
    """
    spec = spec or _spec(row)
    acceptable = (spec.revision,) if len(row.acceptable) == len(spec.revision) + _ALONE else strings_of(row.acceptable)
    return Request(
        id=row.id,
        client_id=row.client_id,
        body_digest=row.body_digest,
        email=intern(row.email),
        demand=Demand(spec, intern(row.ref), row.revrange, acceptable),
        force=bool(row.force),
        admitted_at=row.admitted_at,
        expires_at=row.expires_at,
        state=_REQUEST_STATE[row.state],
        build_id=row.build_id,
        joined=_JOINED[row.joined],
        artifact_id=row.artifact_id,
        answer=intern(row.answer),
        reason=row.reason,
        ended_at=row.ended_at,
        group=row.group_first,
        group_size=row.group_size,
        group_due=bool(row.group_due),
        asker=intern(row.asker),
    )


def build_of(row: Row[Any]) -> Build:
    """Return the Build that a row of ``builds`` is."""
    number = row.id
    return Build(
        id=number,
        key=row.key,
        spec=_spec(row),
        place=number if row.place == number else row.place,  # held once, as often as not
        created_at=row.created_at,
        state=_BUILD_STATE[row.state],
        epoch=row.epoch,
        not_before=row.not_before or 0.0,
        delays=row.delays,
        broken_on=strings_of(row.broken_on),
        failed_on=strings_of(row.failed_on),
        failed_platform=canonical_of(row.failed_platform),
        failed_kind=_OFFER_KIND[row.failed_kind],
        forced=bool(row.forced),
        started_at=row.started_at,
        ended_at=row.ended_at,
        deciding_epoch=row.deciding_epoch,
        artifact_id=row.artifact_id,
        reason=row.reason,
    )


def attempt_of(row: Row[Any]) -> Attempt:
    """Return the Attempt that a row of ``attempts`` is; a query that leaves the end of the log out says ''."""
    return Attempt(
        build_id=row.build_id,
        epoch=row.epoch,
        server=row.server,
        session=row.session,
        platform=canonical_of(row.platform),
        kind=_OFFER_KIND[row.kind],
        offered_at=row.offered_at,
        state=_ATTEMPT_STATE[row.state],
        accepted_at=row.accepted_at,
        ended_at=row.ended_at,
        end=_ATTEMPT_END[row.end] if row.end is not None else None,
        reason=row.reason,
        log_tail=row.log_tail,
        suspected=bool(row.suspected),
        struck=bool(row.struck),
    )


def artifact_of(row: Row[Any]) -> Artifact:
    """Return the Artifact that a row of ``artifacts`` is."""
    return Artifact(
        id=row.id,
        shelf=_shelf(row),
        options=canonical_of(row.options),
        platform=canonical_of(row.platform),
        kind=_OFFER_KIND[row.kind],
        build_id=row.build_id,
        epoch=row.epoch,
        server=row.server,
        digest=row.digest,
        content_digest=row.content_digest,
        size=row.size,
        name=row.name,
        built_at=row.built_at,
        seconds=row.seconds,
        withdrawn=row.withdrawn,
    )


def failure_of(row: Row[Any]) -> RememberedFailure:
    """Return the remembered failure that a row of ``failures`` is."""
    return RememberedFailure(
        build_id=row.build_id,
        shelf=_shelf(row),
        platform=canonical_of(row.platform),
        until=row.until,
        reason=row.reason,
        kind=_OFFER_KIND[row.kind],
    )


def server_of(row: Row[Any]) -> Server:
    """Return the build server that a row of ``servers`` is."""
    return Server(
        name=row.name,
        session=row.session,
        capability=_capability(json.loads(row.capability)),
        connected=bool(row.connected),
        since=row.since,
        last_seen=row.last_seen,
        strikes=row.strikes,
        quarantines=row.quarantines,
        quarantined_until=row.quarantined_until,
        quarantine_reason=row.quarantine_reason,
        missing_since=row.missing_since,
        missing_told=bool(row.missing_told),
        paused=row.paused,
        draining=bool(row.draining),
        instance=row.instance,
        origin=row.origin,
        used_at=row.used_at,
    )


def refusal_of(row: Row[Any]) -> Refusal:
    """Return the Refusal that a row of ``refusals`` is."""
    return Refusal(row.build_id, row.server, row.until, row.reason, row.times)


def mail_of(row: Row[Any]) -> Mail:
    """Return the Mail that a row of ``outbox`` is."""
    return Mail(
        key=row.key,
        email=row.email,
        build_id=row.build_id,
        request_ids=tuple(json.loads(row.request_ids)),
        outcome=_REQUEST_STATE[row.outcome],
        created_at=row.created_at,
        summary=row.summary,
        server=row.server,
        asker=row.asker,
    )


def _capability(plain: Mapping[str, Any]) -> Capability:
    return Capability(
        offers=tuple(
            Offer(
                _canonical(offer["platform"]),
                OfferKind(offer["kind"]),
                tuple((name, value) for name, value in offer["tools"]),
            )
            for offer in plain["offers"]
        ),
        machine=_canonical(plain["machine"]),
        skills=tuple(ProjectSkill(*skill) for skill in plain["skills"]),
        max_builds=plain["max_builds"],
        host_info=plain["host_info"],
        admin=plain["admin"],
        software=plain["software"],
    )
