"""What became of one Request, from everything that its requester was told. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

WAITING = "waiting"
IN_ANSWER = ("hit", "known-failure")
"""Answers that are an end: no mail follows."""


@define
class Told:
    """Everything that one requester heard.

    ``ids`` are of the Requests that their submissions were said to be (of the first of those made together), ``ends``
    how it ended by what told it: the answer, a cancellation, or the Message-ID of each different mail. ``heard`` are
    the ends that they heard besides, from following or asking, which have to be the same; unless several Requests were
    made ``together``, each with an end of its own, about which one mail tells.
    """

    ids: set[int] = field(factory=set)
    ends: dict[str, str] = field(factory=dict)
    heard: set[str] = field(factory=set)
    fetched: bool = False
    wrong: list[str] = field(factory=list)
    together: bool = False

    def answered(self, request_id: int, states: Sequence[str], *, over: bool) -> None:
        """A submission was answered, which was the end of all of it if ``over``; ``states`` are of each Request."""
        self.ids.add(request_id)
        self.together = len(states) > 1
        if over:
            self.ends["answer"] = "satisfied" if "satisfied" in states else states[0]
            return
        for state in states:
            self.stands(state)

    def cancelled(self, state: str) -> None:
        """A cancellation was answered: with that end, or one that came before."""
        if state == "cancelled":
            self.ends["cancellation"] = state
        else:
            self.stands(state)

    def mailed(self, message_id: str, outcome: str) -> None:
        """A mail has come."""
        self.ends[message_id] = outcome

    def stands(self, state: str) -> None:
        """It was said how the Request stands."""
        if state != WAITING:
            self.heard.add(state)

    def lost(self) -> str:
        """Return what this requester misses, "" when nothing."""
        if self.wrong:
            return "; ".join(self.wrong)
        if not self.ids:
            return "was never answered"
        if not self.ends:
            return f"was told no end (request {min(self.ids)})"
        if "satisfied" in self.ends.values() and not self.fetched:
            return f"did not get the artifact (request {min(self.ids)})"
        return ""

    def twice(self) -> str:
        """Return what this requester was told that does not go together, "" when all does."""
        if len(self.ids) > 1:
            return f"is several requests: {sorted(self.ids)}"
        if len(self.ends) > 1:
            return f"was told {len(self.ends)} ends: {self.ends}"
        if not self.together and not self.heard <= set(self.ends.values()):
            return f"was told {self.ends}, and heard {sorted(self.heard)}"
        return ""
