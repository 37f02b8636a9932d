"""How each value is written into its table.

Tested by tests/adapters/sql/test_broker_store.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from buildtool.concurrency.bounded_cache import remembering, weight_of_json
from buildtool.model.options import Canonical
from buildtool.model.records import (
    Artifact,
    Attempt,
    Build,
    BuildSpec,
    Mail,
    Refusal,
    RememberedFailure,
    Request,
    ShelfKey,
)
from buildtool.model.servers import Capability, Server

Cells = dict[str, object]
"""One row on its way into a table, by column."""

TEXTS_KEPT = 2 * 1024 * 1024
"""In how many bytes texts are remembered with what they stand for; most differ in nothing from those of other rows."""

_dump = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=True).encode


def _canonical_text(pairs: Canonical) -> str:
    """Return the JSON text of canonical pairs; the same few stand in most rows."""
    # Equal is not the same here: True is 1, but not in JSON.
    return _text_of_pairs(pairs, tuple([type(value) for _, value in pairs]))


@remembering(TEXTS_KEPT, lambda text, _pairs, _types: weight_of_json(text))
def _text_of_pairs(pairs: Canonical, _types: tuple[type, ...]) -> str:
    return _dump(pairs)


def _spec_cells(spec: BuildSpec) -> Cells:
    return {
        "project": spec.project,
        "source": spec.source,
        "revision": spec.revision,
        "recipe_version": spec.recipe_version,
        "options": _canonical_text(spec.options),
        "platform": _canonical_text(spec.platform),
        "machine": _canonical_text(spec.machine),
        "native": spec.native,
    }


def _shelf_cells(shelf: ShelfKey) -> Cells:
    return {
        "project": shelf.project,
        "source": shelf.source,
        "recipe_version": shelf.recipe_version,
        "options_digest": shelf.options_digest,
        "revision": shelf.revision,
    }


def request_cells(value: Request) -> Cells:
    """Return the columns of a Request, less what the mailer writes."""
    demand = value.demand
    return _spec_cells(demand.spec) | {
        "id": value.id,
        "client_id": value.client_id,
        "body_digest": value.body_digest,
        "email": value.email,
        "ref": demand.ref,
        "revrange": demand.revrange,
        "acceptable": _dump(demand.acceptable),
        "force": value.force,
        "admitted_at": value.admitted_at,
        "expires_at": value.expires_at,
        "state": value.state.value,
        "build_id": value.build_id,
        "joined": value.joined.value,
        "artifact_id": value.artifact_id,
        "answer": value.answer,
        "reason": value.reason,
        "ended_at": value.ended_at,
        "group_first": value.group,
        "group_size": value.group_size,
        "group_due": value.group_due,
        "asker": value.asker,
    }


def build_cells(value: Build) -> Cells:
    """Return the columns of a Build."""
    return _spec_cells(value.spec) | {
        "id": value.id,
        "key": value.key,
        "place": value.place,
        "created_at": value.created_at,
        "state": value.state.value,
        "epoch": value.epoch,
        "not_before": value.not_before,
        "delays": value.delays,
        "broken_on": _dump(value.broken_on),
        "failed_on": _dump(value.failed_on),
        "failed_platform": _dump(value.failed_platform),
        "failed_kind": value.failed_kind.value,
        "forced": value.forced,
        "started_at": value.started_at,
        "ended_at": value.ended_at,
        "deciding_epoch": value.deciding_epoch,
        "artifact_id": value.artifact_id,
        "reason": value.reason,
    }


def attempt_cells(value: Attempt) -> Cells:
    """Return the columns of an Attempt."""
    return {
        "build_id": value.build_id,
        "epoch": value.epoch,
        "server": value.server,
        "session": value.session,
        "platform": _dump(value.platform),
        "kind": value.kind.value,
        "offered_at": value.offered_at,
        "state": value.state.value,
        "accepted_at": value.accepted_at,
        "ended_at": value.ended_at,
        "end": value.end.value if value.end is not None else None,
        "reason": value.reason,
        "suspected": value.suspected,
        "struck": value.struck,
        "log_tail": value.log_tail,
    }


def artifact_cells(value: Artifact) -> Cells:
    """Return the columns of an Artifact."""
    return _shelf_cells(value.shelf) | {
        "id": value.id,
        "options": _dump(value.options),
        "platform": _dump(value.platform),
        "kind": value.kind.value,
        "build_id": value.build_id,
        "epoch": value.epoch,
        "server": value.server,
        "digest": value.digest,
        "content_digest": value.content_digest,
        "size": value.size,
        "name": value.name,
        "built_at": value.built_at,
        "seconds": value.seconds,
        "withdrawn": value.withdrawn,
    }


def failure_cells(value: RememberedFailure) -> Cells:
    """Return the columns of a remembered failure."""
    return _shelf_cells(value.shelf) | {
        "build_id": value.build_id,
        "platform": _dump(value.platform),
        "kind": value.kind.value,
        "until": value.until,
        "reason": value.reason,
    }


def server_cells(value: Server) -> Cells:
    """Return the columns of a build server."""
    return {
        "name": value.name,
        "session": value.session,
        "capability": _dump(_capability_plain(value.capability)),
        "connected": value.connected,
        "since": value.since,
        "last_seen": value.last_seen,
        "strikes": value.strikes,
        "quarantines": value.quarantines,
        "quarantined_until": value.quarantined_until,
        "quarantine_reason": value.quarantine_reason,
        "missing_since": value.missing_since,
        "missing_told": value.missing_told,
        "paused": value.paused,
        "draining": value.draining,
        "instance": value.instance,
        "origin": value.origin,
        "used_at": value.used_at,
    }


def refusal_cells(value: Refusal) -> Cells:
    """Return the columns of a Refusal."""
    return {
        "build_id": value.build_id,
        "server": value.server,
        "until": value.until,
        "reason": value.reason,
        "times": value.count,
    }


def mail_cells(value: Mail) -> Cells:
    """Return the columns of a Mail that was not tried yet: it is due at once."""
    return {
        "key": value.key,
        "email": value.email,
        "build_id": value.build_id,
        "request_ids": numbers_text(value.request_ids),
        "outcome": value.outcome.value,
        "created_at": value.created_at,
        "summary": value.summary,
        "server": value.server,
        "asker": value.asker,
        "digest": "",
        "tries": 0,
        "next_try": value.created_at,
        "sent_at": None,
        "refused_at": None,
        "last_error": "",
    }


def numbers_text(numbers: Sequence[int]) -> str:
    """Return the JSON text of several ids."""
    return _dump(tuple(numbers))


def _capability_plain(value: Capability) -> dict[str, object]:
    return {
        "offers": [
            {"platform": offer.platform, "kind": offer.kind.value, "tools": offer.tools} for offer in value.offers
        ],
        "machine": value.machine,
        "skills": [[skill.project, skill.recipe_version, skill.options_digest] for skill in value.skills],
        "max_builds": value.max_builds,
        "host_info": value.host_info,
        "admin": value.admin,
        "software": value.software,
    }
