"""What becomes of the newest commit of a repository that a configuration follows: one pure function.

A configuration is a program that runs on its owner's machine outside of every sandbox. So nothing of a commit is tried
or taken over unless it is signed by a key of the owner's; nothing that does not descend from what holds, unless the
owner has named that very commit by hand; where they wish to be asked, nothing else either; and nothing while something
builds. ``decide_following`` is asked again after every step.
"""

from __future__ import annotations

import enum

from attrs import frozen

SHORT = 12
"""Characters of a commit's id that people are shown."""


class SignatureVerdict(enum.Enum):
    """The state of a commit's own signature; those of tags and of the commits before it do not count."""

    TRUSTED = "trusted"
    UNSIGNED = "unsigned"
    UNKNOWN = "unknown"
    BROKEN = "broken"


class Kinship(enum.Enum):
    """The place of a commit in history, seen from the one that holds; FIRST where none does."""

    FIRST = "first"
    SAME = "same"
    NEWER = "newer"
    OLDER = "older"
    FORKED = "forked"


class TrialVerdict(enum.Enum):
    """The outcome of loading a configuration in a process of its own and asking its recipes."""

    UNTRIED = "untried"
    PASSED = "passed"
    FAILED = "failed"


class FollowStep(enum.Enum):
    """The next thing to do about a commit: TRY runs it for the first time, APPLY starts the build server by it."""

    REST = "rest"
    REFUSE = "refuse"
    ASK = "ask"
    TRY = "try"
    DRAIN = "drain"
    APPLY = "apply"


@frozen
class FollowedTip:
    """The newest commit of what is followed; ``signer`` says by what it was signed, as far as that is known."""

    commit: str
    signature: SignatureVerdict
    kinship: Kinship
    signer: str = ""


@frozen
class FollowStanding:
    """All that the next step depends on.

    ``holds`` is the commit that holds, "" where none does, and ``loaded`` whether it was at the start. ``asks`` is
    whether the owner wishes to be asked, ``accepted`` the commit that they named by hand. ``trial`` and ``trial_words``
    are about the tip. ``running`` is how many builds run, ``closed`` whether no more are taken.
    """

    tip: FollowedTip
    holds: str = ""
    asks: bool = False
    accepted: str = ""
    trial: TrialVerdict = TrialVerdict.UNTRIED
    trial_words: str = ""
    running: int = 0
    closed: bool = False
    loaded: bool = True


@frozen
class FollowDecision:
    """The next step, and in words what is to be said of it: empty where there is nothing to say."""

    step: FollowStep
    words: str = ""


def decide_following(standing: FollowStanding) -> FollowDecision:
    """Return the next step, by what stands now."""
    tip, name = standing.tip, standing.tip.commit[:SHORT]
    by_hand = standing.accepted == tip.commit
    refused = _refusal(standing, by_hand=by_hand)
    if refused:
        return FollowDecision(FollowStep.REFUSE, refused)
    if tip.kinship is Kinship.SAME and standing.loaded:
        return FollowDecision(FollowStep.REST)
    if standing.asks and not by_hand and tip.kinship is not Kinship.SAME:
        return FollowDecision(
            FollowStep.ASK, f"{name} waits for you: read what config-diff shows, then type accept-config {name}"
        )
    if standing.trial is TrialVerdict.UNTRIED:
        return FollowDecision(FollowStep.TRY)
    if standing.running or not standing.closed:
        return FollowDecision(FollowStep.DRAIN, f"{name} is taken over when nothing builds any more")
    return FollowDecision(FollowStep.APPLY, f"{name} is taken over: the build server starts anew by it")


def _refusal(standing: FollowStanding, *, by_hand: bool) -> str:
    """Return why nothing of the tip runs, or runs any more, "" where nothing is against it."""
    tip, name, old = standing.tip, standing.tip.commit[:SHORT], standing.holds[:SHORT]
    if tip.signature is not SignatureVerdict.TRUSTED:
        return _unsigned_words(standing)
    against = {
        Kinship.OLDER: f"is older than {old}, which holds",
        Kinship.FORKED: f"does not descend from {old}, which holds: its history was written anew",
    }
    if not by_hand and tip.kinship in against:
        return f"{name} {against[tip.kinship]}; if you mean it, type accept-config {name}"
    if standing.trial is TrialVerdict.FAILED and not (tip.kinship is Kinship.SAME and standing.loaded):
        return f"{name} cannot be used: {standing.trial_words}"
    return ""


def _unsigned_words(standing: FollowStanding) -> str:
    tip = standing.tip
    match tip.signature:
        case SignatureVerdict.UNSIGNED:
            why = "is not signed"
        case SignatureVerdict.UNKNOWN:
            why = f"is signed by {tip.signer or 'a key'}, which is none of yours that count now"
        case _:
            why = "has a signature that is not right"
    if tip.kinship is Kinship.SAME:
        return f"{tip.commit[:SHORT]}, which holds, {why}: it is not loaded at the next start"
    return f"{tip.commit[:SHORT]} {why}, so nothing of it is used"
