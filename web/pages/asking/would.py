"""What would come of asking: an artifact that is there, a build to wait for, a machine at once, or a wait.

Made of the metaserver's own explanations.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from buildtool.model.records import BuildState
from buildtool.model.text import about, ahead_words, size_words
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol.messages import Explanation, FoundArtifact

from ...urls import Urls
from .. import words
from ..build import WaitRow, wait_row
from ..common import cut, sentence
from ..views import Badge, PageLink
from .wish import EqualCommand

EXPLAINED = 4
"""Of how many of several combinations it is asked what would come: each costs the metaserver a decision."""

_QUEUED = BuildState.QUEUED.value

_VERDICTS: Mapping[str, Badge] = {
    "hit": Badge("ok", "It is there already"),
    "joined": Badge("busy", "A build of it would be joined"),
    "dispatched": Badge("busy", "It would start at once"),
    _QUEUED: Badge("wait", "It would be queued"),
    "known-failure": Badge("bad", "It failed before"),
}


@frozen
class WouldCard:
    """The prospect of one combination; ``what`` says which, where there are several.

    ``links`` lead to the build, the artifact or what comes nearest, and ``differences`` say in what that differs.
    """

    what: str
    badge: Badge
    notes: tuple[str, ...] = ()
    rows: tuple[WaitRow, ...] = ()
    links: tuple[PageLink, ...] = ()
    differences: tuple[str, ...] = ()


@frozen
class WouldPart:
    """The prospect of all that is asked for.

    ``cards`` are of the first, ``more`` says how many others there are. ``count`` is how many builds these are;
    ``note`` says why it is not known, and ``follows`` what is so without being said.
    """

    cards: tuple[WouldCard, ...] = ()
    count: int = 0
    more: str = ""
    note: str = ""
    follows: tuple[str, ...] = ()
    command: EqualCommand | None = None


def would_card(what: str, said: Explanation, urls: Urls) -> WouldCard:
    """Return what the metaserver says of one combination."""
    badge = _VERDICTS.get(said.verdict, Badge("quiet", cut(said.verdict) or "It is not known"))
    links = list[PageLink]()
    if said.artifact is not None:
        links.append(_artifact(said.artifact, urls, "Artifact"))
    if said.build_id is not None:
        links.append(PageLink(urls.build(said.build_id), f"Build {said.build_id}"))
    if said.nearest_artifact is not None:
        links.append(_artifact(said.nearest_artifact, urls, "Nearest artifact"))
    return WouldCard(
        what, badge, tuple(_notes(said)), tuple(wait_row(line, urls) for line in said.reasons), tuple(links),
        tuple(map(cut, said.differences)),
    )  # fmt: skip


def _notes(said: Explanation) -> list[str]:
    notes = [f"Revision {words.revision(said.revision)}."] if said.revision else []
    if said.reason:
        notes.append(sentence(words.without_addresses(cut(said.reason))))
    if said.verdict == "dispatched" and said.server:
        notes.append(f"{said.server} would build it.")
    if said.verdict == "joined" and said.server:
        notes.append(f"{said.server} is building it.")
    if said.artifact is not None:
        near = f"{words.count(said.steps, 'nearer revision')} {'has' if said.steps == 1 else 'have'} none"
        notes.append(f"{near[:1].upper()}{near[1:]}." if said.steps else "It is exactly what is asked for.")
    if said.nearest_server:
        notes.append(f"No known build server could ever build it. Nearest: {sentence(said.nearest_server)}")
    if said.ahead:
        notes.append(f"{ahead_words(said.ahead, said.ahead_own, said.ahead_shares)}.")
    if said.seconds is not None:
        notes.append(f"{_when(said)} {about(said.seconds)}{f' ({said.basis})' if said.basis else ''}.")
    elif said.verdict in (_QUEUED, "dispatched"):
        notes.append("Nobody knows yet how long it takes.")
    return notes


def _when(said: Explanation) -> str:
    if said.verdict in (_QUEUED, "joined") and not said.server:
        return "It may start in"
    return "It takes" if said.verdict == "dispatched" else "It may be done in"


def _artifact(found: FoundArtifact, urls: Urls, name: str) -> PageLink:
    runs = words.platform(found.platform, words.RUNS_FROM)
    within = f", {found.sandbox.words}" if found.sandbox is not SandboxLevel.NONE else ""
    about = f"{size_words(found.size)}, revision {words.revision(found.revision)}, {runs}{within}"
    return PageLink(urls.build(found.build_id), f"{name}: {found.name}", about)
