"""Several builds asked for at once: what differs between them, the table at the end, and the worst exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from buildtool.concurrency.signal import Signal
from buildtool.model.options import differing
from buildtool.model.platforms import Value
from buildtool.ports.requester import MetaserverClient
from buildtool.protocol.messages import Follow, RequestStatus, Submit
from buildtool.requester.follow import until_closed
from buildtool.requester.outcome import RequestResult
from buildtool.requester.text import (
    answered,
    came_back_to,
    clean,
    differs,
    raised,
    waits,
    where_to_look,
)


def differences(submits: Sequence[Submit]) -> list[str]:
    """Return for each submission in words what it asks for that not all ask for alike."""
    return differing([_values(submit) for submit in submits])


def answered_together(
    submits: Sequence[Submit], answers: Sequence[RequestStatus], milliseconds: float, program: str
) -> list[str]:
    """Return what was answered to each of several submissions: its id and the answer, and for what waits how to go on.

    Each line that can be copied stands whole.
    """
    said = []
    for what, submit, told in zip(differences(submits), submits, answers, strict=True):
        asked = f" ({clean(what)})" if what else ""
        head, *more = answered(told, milliseconds) or [f"{clean(told.state)}, as it was told before"]
        said.append(f"request {told.request_id}{asked}: {head}")
        more += [f"  {line}" for line in raised(submit, told)]
        if waits(told):
            more += [f"  {line}" for line in where_to_look(told, program)]
        said += more
    return said


def table(submits: Sequence[Submit], results: Sequence[RequestResult]) -> list[str]:
    """Return the table at the end: what was asked for, the answer, the state, and the artifact or why not."""
    rows = [("asked for", "answer", "outcome", "artifact")]
    for what, result in zip(differences(submits), results, strict=True):
        told = result.told
        answer, state = (clean(told.answer), clean(told.state)) if told is not None else ("", "")
        rows.append((clean(what) or "as given", answer, state, _where(result)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]


@define(eq=False)
class RequestWatch:
    """A watch over several Requests until all have ended. ``told`` has their statuses in the order of submission."""

    told: list[RequestStatus]
    moved: Callable[[RequestStatus], None]
    say: Callable[[str], None]
    _changed: Signal = field(factory=Signal, init=False)

    def goes_on(self) -> bool:
        """Return whether a Request has not ended."""
        return any(waits(told) for told in self.told)

    async def hear_over(self, client: MetaserverClient, away: float | None = None) -> str:
        """Follow all that wait over one connection; return why that ended, "" when all have ended before.

        Where the metaserver was ``away`` for so many seconds, one line tells what changed meanwhile.
        """
        before = [told for told in self.told if waits(told)]
        for told in before:
            now = await client.follow(Follow(told.request_id, told.token), self.note)
            self.note(now, told_already=away is not None)
        if away is not None:
            standing = {told.request_id: told for told in self.told}
            changed = [news(standing[old.request_id]) for old in before if differs(old, standing[old.request_id])]
            self.say(came_back_to(changed, away))
        return await until_closed(client, self._changed, self.goes_on)

    def note(self, told: RequestStatus, *, told_already: bool = False) -> None:
        """Record the status of one Request."""
        for index, before in enumerate(self.told):
            if before.request_id == told.request_id and waits(before):
                self.told[index] = told
                if differs(before, told) and not told_already:
                    self.moved(told)
        self._changed.notify()


def news(told: RequestStatus) -> str:
    """Return in one line how a Request of several stands now."""
    where = f" on {clean(told.server)}" if told.server and waits(told) else ""
    reason = f": {clean(told.reason)}" if told.reason and not waits(told) else ""
    state = told.build_state if waits(told) else told.state
    return f"request {told.request_id}, build {told.build_id}: {clean(state)}{where}{reason}"


def _values(submit: Submit) -> dict[str, Value]:
    tool = {"source": submit.source, "revision": submit.revision, "revrange": submit.revrange}
    return {name: value for name, value in tool.items() if value} | submit.system | submit.compile


def _where(result: RequestResult) -> str:
    told = result.told
    if result.error is not None:
        return clean(str(result.error))
    if result.path:
        return result.path
    if told is None:
        return ""
    return clean(told.artifact.url) if told.artifact is not None else clean(told.reason or told.page_url)
