"""What is said in a channel of what comes of builds: which of it is worth a line, and how that is written.

The test is tests/model/notices/test_channel.py.
"""

from __future__ import annotations

from buildtool.model.notices.notice import Notice, NoticeState
from buildtool.model.text import one_line
from buildtool.model.triggers.trigger import short_ref

LINE_LIMIT = 400
"""Most bytes of a line: IRC has 512, of which the server's own words before it take their share."""


def is_news(notice: Notice, before: NoticeState | None, *, every: bool) -> bool:
    """Return whether a line is worth saying: with ``every`` each end, else what began to fail, and what works again."""
    if every:
        return True
    if notice.state is NoticeState.SUCCESS:
        return before is NoticeState.FAILURE
    return before is not notice.state


def channel_line(notice: Notice, url: str) -> str:
    """Return a line of at most ``LINE_LIMIT`` bytes, cut at a character, whose end is the URL."""
    how = {NoticeState.SUCCESS: "builds", NoticeState.FAILURE: "fails"}.get(notice.state, "was not built")
    why = "" if notice.state is NoticeState.SUCCESS else f": {notice.reason}"
    words = f"{notice.project} {short_ref(notice.ref)} at {notice.revision[:12]}, {notice.context}: {how}{why}"
    end = one_line(f" {url}", LINE_LIMIT)[: LINE_LIMIT // 2]
    return f"{_cut(one_line(words, LINE_LIMIT), LINE_LIMIT - len(end.encode()) - 1)} {end}"


def _cut(text: str, most: int) -> str:
    """Return a text of at most so many bytes."""
    said = text.encode("utf-8", "replace")
    return said.decode() if len(said) <= most else said[: most - 3].decode("utf-8", "ignore") + "..."
