"""What a build server remembers of a configuration that it follows, and how that changes: values, no files.

A commit that was tried is first noted as *beginning*; the build server starts anew by it, and notes that it holds once
it was loaded. What ends the program while it is loaded is so found out at the next start, which goes back to what held.
"""

from __future__ import annotations

from attrs import evolve, frozen

MOST_STARTS = 2
"""How often the program is started by a commit that ended it."""


@frozen
class FollowRecord:
    """The memory of one followed repository, which ``source`` names; commits are ids, or "".

    ``holds`` is the commit by which builds are made, since ``since`` in seconds of wall time, and ``before`` the one
    that held earlier. ``accepted`` was named by the owner by hand. ``begins`` is to hold from the next start on, for
    which ``starts`` were made. ``failed`` ended a start, for the reason ``failed_words``; ``lost`` is why what holds
    was not loaded at the last start. ``tip`` is the newest commit that was seen, at ``seen_at`` in seconds of wall
    time, and ``words`` is what is to be said of it.
    """

    source: str = ""
    holds: str = ""
    since: float = 0.0
    before: str = ""
    accepted: str = ""
    begins: str = ""
    starts: int = 0
    failed: str = ""
    failed_words: str = ""
    lost: str = ""
    tip: str = ""
    seen_at: float = 0.0
    words: str = ""

    def of(self, source: str) -> FollowRecord:
        """Return the record of a source: an empty one where this is of another, so that nothing holds of that."""
        return self if self.source == source else FollowRecord(source)

    def starting(self) -> FollowRecord:
        """Return the record for a start, which uses ``begins`` or else ``holds``."""
        if not self.begins:
            return self
        if self.starts >= MOST_STARTS:
            return self.gone_back(f"the build server ended {MOST_STARTS} times while it was loaded")
        return evolve(self, starts=self.starts + 1)

    def gone_back(self, why: str) -> FollowRecord:
        """Return the record where what begins cannot be used."""
        return evolve(self, begins="", starts=0, failed=self.begins, failed_words=why, accepted="")

    def held(self, now: float) -> FollowRecord:
        """Return the record once what begins was loaded, at ``now`` in seconds of wall time."""
        if not self.begins:
            return self
        return evolve(
            self, holds=self.begins, since=now, before=self.holds, begins="", starts=0, accepted="", failed="",
            failed_words="", lost="", words="",
        )  # fmt: skip

    def accepting(self, commit: str) -> FollowRecord:
        """Return the record where the owner has named a commit by hand, which is tried again if it failed."""
        if commit != self.failed:
            return evolve(self, accepted=commit)
        return evolve(self, accepted=commit, failed="", failed_words="")

    @property
    def waits(self) -> str:
        """The newest commit, where another one holds."""
        return self.tip if self.tip != self.holds else ""
