"""What ``/health`` says: of the database, which the pages read themselves, and of the metaserver, which is asked."""

from __future__ import annotations

import re
from typing import Protocol

from attrs import asdict, frozen

from buildtool.ports.pages import ShownVisitor
from buildtool.protocol.messages import HealthStatus

OK = 200
NOT_OK = 503

_PATH = re.compile(r"(?<![\w.])/(?:[^\s/:]+/)*")


class HealthSource(Protocol):
    """A way to ask the metaserver for its health."""

    async def health(self, visitor: ShownVisitor) -> HealthStatus | None:
        """Return the metaserver's health, as far as a visitor may know; None when it does not answer in time."""


@frozen
class HealthAnswer:
    """An answer to monitoring: its status code, and the object that is its body."""

    status: int
    body: dict[str, object]


def health_answer(
    version: str, revision: str, trouble: str = "", told: HealthStatus | None = None, *, asked: bool = False
) -> HealthAnswer:
    """Return the answer to monitoring.

    ``revision`` is the database's; "" when it cannot be read, and then ``trouble`` is the error's code. ``told`` is
    what the metaserver said, if it was ``asked`` and has answered. Visitors are told no paths of this machine.
    """
    body: dict[str, object] = {"status": "ok", "version": version}
    if revision:
        body["database"] = revision
    problems = [_PATH.sub("", line) for line in told.problems] if told is not None else []
    if asked:
        body["metaserver"] = "no answer" if told is None else "ok" if told.ok else "troubled"
        body["problems"] = problems
    if told is not None and told.turns is not None:
        body["turns"] = asdict(told.turns)
    if told is not None and told.backup_age is not None:
        body["backup_age_s"] = int(told.backup_age)
    if asked and (told is None or not told.ok):
        body["status"] = "troubled"
    if trouble:
        body |= {"status": "unavailable", "reason": trouble}
    return HealthAnswer(OK if body["status"] == "ok" else NOT_OK, body)
