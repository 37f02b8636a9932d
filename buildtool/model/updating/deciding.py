"""Whether the newest version is tried: one pure function.

A version is a program that runs with all that the farm has. So nothing of it is unpacked or run before its signature
and its place in history are right, and nothing that failed is tried again until something newer comes.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from buildtool.model.guest.following import SHORT, FollowedTip, Kinship, SignatureVerdict
from buildtool.model.text import moment_words
from buildtool.model.updating.record import FailedUpdate


class UpdateStep(Enum):
    """The thing to do about the newest version; FAILED is one that failed before and is left alone."""

    REST = "rest"
    REFUSE = "refuse"
    FAILED = "failed"
    ASK = "ask"
    TRY = "try"


@frozen
class UpdateStanding:
    """All that it depends on whether a version is tried; ``now`` is in seconds of wall time.

    ``name`` is how people call it. ``unsigned`` is whether signatures are not asked for, ``asks`` whether each version
    waits for its ``accepted``. ``failed`` is how it failed before. ``migrations`` are the database's revisions that it
    brings, for which a backup is made where ``backed_up``, and ``lacking`` those that it does not know any more.
    """

    tip: FollowedTip
    name: str
    holds: str = ""
    unsigned: bool = False
    asks: bool = False
    accepted: str = ""
    failed: FailedUpdate | None = None
    migrations: tuple[str, ...] = ()
    backed_up: bool = False
    lacking: tuple[str, ...] = ()
    now: float = 0.0


@frozen
class UpdateDecision:
    """The thing to do, and in words what is to be said of it."""

    step: UpdateStep
    words: str


def decide_update(standing: UpdateStanding) -> UpdateDecision:
    """Return what becomes of the newest version."""
    tip, name = standing.tip, standing.name
    if tip.kinship is Kinship.SAME:
        return UpdateDecision(UpdateStep.REST, f"{name} runs, and nothing is newer")
    refused = _refusal(standing)
    if refused:
        return UpdateDecision(UpdateStep.REFUSE, refused)
    failed, by_hand = standing.failed, standing.accepted == tip.commit
    if failed is not None and _waits(failed, standing.now, by_hand=by_hand):
        return UpdateDecision(UpdateStep.FAILED, _failed_words(failed))
    if standing.asks and not by_hand and tip.kinship is not Kinship.FIRST:
        return UpdateDecision(UpdateStep.ASK, f"{name} waits for you: read what diff shows, then type {_accept(tip)}")
    return UpdateDecision(UpdateStep.TRY, f"{name} is new")


def _waits(failed: FailedUpdate, now: float, *, by_hand: bool) -> bool:
    """Return whether a version that failed is left alone; one that is still to come is of a wrong clock."""
    return not by_hand if failed.again is None else failed.at <= now < failed.again


def _refusal(standing: UpdateStanding) -> str:
    """Return why the version is not taken, "" where nothing is against it."""
    tip, name, old = standing.tip, standing.name, standing.holds[:SHORT]
    if not standing.unsigned and tip.signature is not SignatureVerdict.TRUSTED:
        return f"{name} {_unsigned(tip)}, so nothing of it is used"
    if standing.accepted != tip.commit:
        if tip.kinship is Kinship.OLDER:
            return f"{name} is older than {old}, which runs; if you mean it, type {_accept(tip)}"
        if tip.kinship is Kinship.FORKED:
            return (
                f"{name} does not descend from {old}, which runs: its history was written anew; if you mean it, type "
                f"{_accept(tip)}"
            )
    if standing.lacking:
        return f"{name} does not know revision {standing.lacking[-1]} of the database, which {old} has brought"
    if standing.migrations and not standing.backed_up and tip.kinship is not Kinship.FIRST:
        return (
            f"{name} brings revision {standing.migrations[-1]} of the database, after which {old} cannot run any more: "
            "say --with-migrations DIR, and a backup is made there first"
        )
    return ""


def _unsigned(tip: FollowedTip) -> str:
    match tip.signature:
        case SignatureVerdict.UNSIGNED:
            return "is not signed"
        case SignatureVerdict.UNKNOWN:
            return f"is signed by {tip.signer or 'a key'}, which is none of yours that count now"
        case _:
            return "has a signature that is not right"


def _failed_words(failed: FailedUpdate) -> str:
    when = "something newer comes" if failed.again is None else moment_words(failed.again)
    return f"{failed.name} failed at {moment_words(failed.at)}, and is not tried again until {when}: {failed.why}"


def _accept(tip: FollowedTip) -> str:
    return f"accept {tip.commit[:SHORT]}"
