"""Whether the rows say together what the lifecycles allow: invariants that no single row shows.

Each check returns its findings by ``now``, wall time in seconds.

Tested by tests/adapters/maintenance/test_fsck.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, select, update

from buildtool.adapters.maintenance.finding import Finding
from buildtool.adapters.sql import rows, schema
from buildtool.adapters.sql.rows import build_cells, numbers_text
from buildtool.adapters.sql.search.indexing import index_again
from buildtool.errors import ConflictingRow
from buildtool.model.access.confirmation import UNCONFIRMED
from buildtool.model.records import AttemptEnd, AttemptState, Build, BuildState, JoinReason, RequestState
from buildtool.model.trust.evidence import SandboxLevel, SourceTrust

builds, requests, attempts, outbox = schema.builds, schema.requests, schema.attempts, schema.outbox
artifacts = schema.artifacts

OPEN = (BuildState.QUEUED.value, BuildState.RUNNING.value)
LIVE = (AttemptState.OFFERED.value, AttemptState.BUILDING.value)
"""They go on, each as the newest of a Build that runs; others of it may be missing, or about to be gone."""

HOLDING = (*LIVE, AttemptState.ABORTING.value)
WAITING = RequestState.WAITING.value

Check = Callable[[Connection, float], list[Finding]]


def findings(connection: Connection, now: float) -> list[Finding]:
    """Return all that is wrong between rows; ``now`` is wall time, which mended rows carry."""
    return [finding for check in CHECKS for finding in check(connection, now)]


def _waits() -> ColumnElement[bool]:
    return exists().where(requests.c.build_id == builds.c.id, requests.c.state == WAITING)


def twice_open(connection: Connection, now: float) -> list[Finding]:
    """Find BuildKeys with two open Builds, which would be built twice."""
    opened = select(builds.c.key, builds.c.id, builds.c.state).where(builds.c.state.in_(OPEN)).order_by(builds.c.id)
    by_key: dict[str, list[tuple[bool, int]]] = {}
    for key, build_id, state in connection.execute(opened):
        by_key.setdefault(key, []).append((state != BuildState.RUNNING.value, build_id))
    found = []
    for found_open in by_key.values():
        (_, kept), *others = sorted(found_open)
        found += [
            Finding(
                "build-twice",
                f"build {other}",
                f"it is open and makes the same as build {kept}, which is open too",
                "the metaserver cannot start",
                f"--repair closes it and lets its requests wait for build {kept}",
                partial(_merge, other, kept, now),
            )
            for _, other in others
        ]
    return found


def _merge(other: int, kept: int, now: float, connection: Connection) -> None:
    waiting = update(requests).where(requests.c.build_id == other, requests.c.state == WAITING)
    connection.execute(waiting.values(build_id=kept))
    _close(other, f"build {kept} makes the same", now, connection)


def _close(build_id: int, reason: str, now: float, connection: Connection) -> None:
    """Close a Build that nobody waits for, and end what goes on for it."""
    changed = {"state": BuildState.CANCELLED.value, "ended_at": now, "reason": f"fsck: {reason}"}
    connection.execute(update(builds).where(builds.c.id == build_id).values(**changed))
    index_again(connection, [build_id])
    going_on = select(attempts.c.epoch).where(attempts.c.build_id == build_id, attempts.c.state.in_(LIVE))
    for epoch in connection.execute(going_on).scalars().all():
        _end_attempt(build_id, epoch, now, connection)


def _end_attempt(build_id: int, epoch: int, now: float, connection: Connection) -> None:
    """End an Attempt that the rest of the database knows nothing of: its server is told to drop it."""
    ended = {
        "state": AttemptState.ENDED.value,
        "end": AttemptEnd.ABORTED.value,
        "ended_at": now,
        "reason": "fsck: its build does not know of it",
    }
    connection.execute(update(attempts).where(attempts.c.build_id == build_id, attempts.c.epoch == epoch).values(ended))


def waits_for_nothing(connection: Connection, now: float) -> list[Finding]:
    """Find Requests that wait for a Build that is closed or not there: they would wait for ever."""
    opened = exists().where(builds.c.id == requests.c.build_id, builds.c.state.in_(OPEN))
    held = and_(requests.c.answer == UNCONFIRMED, requests.c.build_id.is_(None))
    lost = (
        select(requests.c.id, requests.c.build_id)
        .where(requests.c.state == WAITING, ~opened, ~held)
        .order_by(requests.c.id)
    )
    there = set(connection.execute(select(builds.c.id).join(requests, requests.c.build_id == builds.c.id)).scalars())
    return [
        Finding(
            "request-stranded",
            f"request {request_id}",
            f"it waits for build {build_id}, which is {'closed' if build_id in there else 'not there'}",
            "it would wait until it expires",
            "--repair lets it wait for an open build of the same, or puts one into the queue",
            partial(_readmit, request_id, now),
        )
        for request_id, build_id in connection.execute(lost)
    ]


def _readmit(request_id: int, now: float, connection: Connection) -> None:
    row = connection.execute(select(requests).where(requests.c.id == request_id)).one()
    try:
        request = rows.request_of(row)
    except (LookupError, TypeError, ValueError) as error:
        raise ConflictingRow(f"request {request_id} cannot be read: {error}") from error
    spec = request.demand.spec
    same = select(builds.c.id).where(builds.c.key == spec.key(), builds.c.state.in_(OPEN))
    build_id = connection.execute(same).scalar()
    if build_id is None:
        build_id = (connection.execute(select(func.max(builds.c.id))).scalar() or 0) + 1
        made = Build(build_id, spec.key(), spec, request.id, now, forced=request.force)
        connection.execute(insert(builds).values(build_cells(made)))
    changed = {"build_id": build_id, "joined": JoinReason.OWN.value}
    connection.execute(update(requests).where(requests.c.id == request_id).values(changed))
    index_again(connection, [build_id])


def unwanted(connection: Connection, now: float) -> list[Finding]:
    """Find open Builds that no Request waits for: they would be built in vain."""
    nobody = select(builds.c.id, builds.c.state).where(builds.c.state.in_(OPEN), ~_waits()).order_by(builds.c.id)
    return [
        Finding(
            "build-unwanted",
            f"build {build_id}",
            f"it is {state}, but no request waits for it",
            "a machine would build it for nobody",
            "--repair closes it as cancelled",
            partial(_close, build_id, "no request waits for it", now),
        )
        for build_id, state in connection.execute(nobody)
    ]


def strays(connection: Connection, now: float) -> list[Finding]:
    """Find Attempts that go on without being the newest of a running Build, and missing ones of a closed Build."""
    alone = (builds.c.state != BuildState.RUNNING.value) | (builds.c.epoch > attempts.c.epoch)
    going_on = (
        select(attempts.c.build_id, attempts.c.epoch, attempts.c.state, builds.c.state, builds.c.epoch)
        .join(builds, builds.c.id == attempts.c.build_id)
        .where(
            (attempts.c.state.in_(LIVE) & alone)
            | ((attempts.c.state == AttemptState.MISSING.value) & builds.c.state.not_in(OPEN))
        )
        .order_by(attempts.c.build_id, attempts.c.epoch)
    )
    found = []
    for build_id, epoch, state, build_state, newest in connection.execute(going_on):
        closed = build_state not in OPEN
        why = f"its build is {build_state}" if newest == epoch or closed else f"attempt {newest} came after it"
        found.append(
            Finding(
                "attempt-stray",
                f"attempt {epoch} of build {build_id}",
                f"it is {state}, but {why}",
                "it holds a place on its build server for nothing",
                "--repair ends it; its build server is told to drop it",
                partial(_end_attempt, build_id, epoch, now),
            )
        )
    return found


def runs_nowhere(connection: Connection, _now: float) -> list[Finding]:
    """Find running Builds whose newest Attempt does not go on."""
    held = exists().where(
        attempts.c.build_id == builds.c.id, attempts.c.epoch == builds.c.epoch, attempts.c.state.in_(HOLDING)
    )
    lost = select(builds.c.id).where(builds.c.state == BuildState.RUNNING.value, ~held).order_by(builds.c.id)
    return [
        Finding(
            "build-runs-nowhere",
            f"build {build_id}",
            "it is running, but none of its attempts is",
            "it would run for ever",
            "--repair puts it back into its place in the queue",
            partial(_queue, build_id),
        )
        for build_id in connection.execute(lost).scalars()
    ]


def _queue(build_id: int, connection: Connection) -> None:
    changed = {"state": BuildState.QUEUED.value, "not_before": 0.0}
    connection.execute(update(builds).where(builds.c.id == build_id).values(changed))
    index_again(connection, [build_id])


def epochs(connection: Connection, _now: float) -> list[Finding]:
    """Find Builds whose epoch is not that of their last Attempt: a number given twice would fence nothing."""
    behind = (
        select(builds.c.id, builds.c.epoch, func.max(attempts.c.epoch))
        .join(attempts, attempts.c.build_id == builds.c.id)
        .group_by(builds.c.id, builds.c.epoch)
        .having(func.max(attempts.c.epoch) > builds.c.epoch)
    )
    return [
        Finding(
            "epoch-behind",
            f"build {build_id}",
            f"its epoch is {epoch}, but there is an attempt {newest}",
            f"the next attempt would be called {epoch + 1} like an older one",
            f"--repair sets it to {newest}",
            partial(_set_epoch, build_id, newest),
        )
        for build_id, epoch, newest in connection.execute(behind.order_by(builds.c.id))
    ]


def _set_epoch(build_id: int, epoch: int, connection: Connection) -> None:
    connection.execute(update(builds).where(builds.c.id == build_id).values(epoch=epoch))


def undecided(connection: Connection, _now: float) -> list[Finding]:
    """Find Builds whose deciding Attempt or Artifact is not there."""
    attempt = exists().where(attempts.c.build_id == builds.c.id, attempts.c.epoch == builds.c.deciding_epoch)
    without = select(builds.c.id, builds.c.deciding_epoch).where(builds.c.deciding_epoch.is_not(None), ~attempt)
    made = exists().where(schema.artifacts.c.id == builds.c.artifact_id)
    unmade = select(builds.c.id, builds.c.artifact_id).where(builds.c.artifact_id.is_not(None), ~made)
    return [
        Finding(
            "build-undecided",
            f"build {build_id}",
            f"it names {thing} {number}, which is not there",
            "its page cannot be shown in full",
            "--repair lets it name none",
            partial(_name_none, build_id, column),
        )
        for thing, column, query in (("attempt", "deciding_epoch", without), ("artifact", "artifact_id", unmade))
        for build_id, number in connection.execute(query.order_by(builds.c.id))
    ]


def _name_none(build_id: int, column: str, connection: Connection) -> None:
    connection.execute(update(builds).where(builds.c.id == build_id).values({column: None}))


_FACTS = {
    "sandbox": {level.value: level.words for level in SandboxLevel},
    "trust": {trust.value: trust.words or "from a trusted ref" for trust in SourceTrust},
}
"""What is known of how something was made, by the column that it stands in: its values, the least first, in words."""


def _less(fact: str, have: str, wanted: str) -> bool:
    order = list(_FACTS[fact])
    return order.index(have) < order.index(wanted)


def believed_too_much(connection: Connection, _now: float) -> list[Finding]:
    """Find Artifacts of which more is believed than of the Attempts that made them."""
    made = and_(attempts.c.build_id == artifacts.c.build_id, attempts.c.epoch == artifacts.c.epoch)
    found = []
    for fact, words in _FACTS.items():
        says, had = artifacts.c[fact], attempts.c[fact]
        claimed = select(artifacts.c.id, says, had).join(attempts, made).where(says != had).order_by(artifacts.c.id)
        found += [
            Finding(
                "evidence-too-good",
                f"artifact {artifact_id}",
                f"it is said to be made {words[said]}, and its attempt was {words[known]}",
                "whoever demands that may be given it",
                "--repair believes what the attempt had",
                partial(_believe, artifact_id, fact, known),
            )
            for artifact_id, said, known in connection.execute(claimed)
            if _less(fact, known, said)
        ]
    return found


def _believe(artifact_id: int, fact: str, known: str, connection: Connection) -> None:
    connection.execute(update(artifacts).where(artifacts.c.id == artifact_id).values({fact: known}))


def given_less(connection: Connection, _now: float) -> list[Finding]:
    """Find Requests that were given an Artifact made in less than they demand."""
    found = []
    for fact, words in _FACTS.items():
        wanted, had = requests.c[f"demanded_{fact}"], artifacts.c[fact]
        given = (
            select(requests.c.id, wanted, artifacts.c.id, had)
            .join(artifacts, artifacts.c.id == requests.c.artifact_id)
            .where(wanted != had)
            .order_by(requests.c.id)
        )
        found += [
            Finding(
                "request-given-less",
                f"request {request_id}",
                f"it demands what is made {words[demanded]}, and was given artifact {artifact_id}, made {words[known]}",
                "who asked believes more of it than is known",
                "tell them; nothing can be taken back",
            )
            for request_id, demanded, artifact_id, known in connection.execute(given)
            if _less(fact, known, demanded)
        ]
    return found


def mails(connection: Connection, _now: float) -> list[Finding]:
    """Find mails about Requests that are not there; one to the owner of a machine is about that, and about none."""
    known = set(connection.execute(select(requests.c.id)).scalars())
    found = []
    of_requests = select(outbox.c.key, outbox.c.request_ids).where(outbox.c.server == "")
    for key, text in connection.execute(of_requests.order_by(outbox.c.key)):
        told = _numbers(text)
        left = tuple(number for number in told if number in known)
        if left == told:
            continue
        gone = ", ".join(str(number) for number in told if number not in known) or "none"
        found.append(
            Finding(
                "mail-astray",
                f"mail {key[:60]}",
                f"it tells of request {gone}" + (", which is not there" if told else " at all"),
                "nobody asked for what it says" if not left else "it cannot be written in full",
                "--repair leaves it out" if left else "--repair deletes it",
                partial(_remail, key, left),
            )
        )
    return found


def _numbers(text: str) -> tuple[int, ...]:
    """Return the ids that a mail tells of; what cannot be read is ``fsck_database``'s to tell."""
    try:
        return tuple(int(number) for number in json.loads(text))
    except (TypeError, ValueError):
        return ()


def _remail(key: str, left: tuple[int, ...], connection: Connection) -> None:
    if left:
        kept = {"request_ids": numbers_text(left)}
        connection.execute(update(outbox).where(outbox.c.key == key).values(kept))
    else:
        connection.execute(delete(outbox).where(outbox.c.key == key))


CHECKS: tuple[Check, ...] = (
    twice_open,
    epochs,
    waits_for_nothing,
    unwanted,
    strays,
    runs_nowhere,
    undecided,
    believed_too_much,
    given_less,
    mails,
)
"""In an order in which mending one finding makes no other worse."""
