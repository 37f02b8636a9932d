"""The refs of a project, as the metaserver tells them to who completes a command line; kept for a minute.

Where it does not answer soon there are none: nobody waits for a completion. Tested by
tests/programs/startcompile/completing/test_refs.py and tests/e2e/test_requests.py.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from buildtool.errors import BuildToolError, UsageError
from buildtool.model.project_options import tool_option
from buildtool.programs.startcompile.description_cache import cache_directory
from buildtool.programs.startcompile.places import MetaserverPlaces

if TYPE_CHECKING:
    from twisted.internet.base import ReactorBase

    from buildtool.programs.common.program import StopRequest

KEPT = 60.0
"""Seconds for which refs are kept here."""

WITHIN = 3.0
"""Seconds that asking may take in all."""

_MOST = 1024 * 1024

Asks = Callable[[MetaserverPlaces, str, str], Sequence[str]]
"""What asks the metaserver at these places for the refs of a project, in one of its sources. Raises BuildToolError."""


def refs_of(
    where: MetaserverPlaces, project: str, source: str, *, asks: Asks | None = None, now: float | None = None
) -> Sequence[str]:
    """Return the refs that can be typed: those kept ``now`` (wall time in seconds), else what is answered, or none."""
    if not where.asked:
        return ()
    moment = time.time() if now is None else now
    path = _path(where, project, source)
    if path is not None and (found := _kept(path, moment)) is not None:
        return found
    try:
        names = [name for name in (asks or ask)(where, project, source) if _typed(name)]
    except BuildToolError:
        return ()
    if path is not None:
        with suppress(OSError):  # then they are asked for again
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(json.dumps({"at": moment, "names": names}), encoding="utf-8")
    return names


def ask(where: MetaserverPlaces, project: str, source: str) -> Sequence[str]:
    """Return what the metaserver answers within ``WITHIN`` seconds. Raises Unavailable and what it refuses with."""
    from buildtool.programs.common.launch import loading
    from buildtool.programs.startcompile.sparing import sparing

    with loading(), sparing():
        from twisted.internet.defer import Deferred
        from twisted.internet.defer import TimeoutError as Late

        from buildtool.errors import Unavailable
        from buildtool.programs.common.program import monotonic_reactor, run
        from buildtool.programs.startcompile.command_line import Arguments
        from buildtool.programs.startcompile.connecting import reached
        from buildtool.protocol.hello import AskRefs, RefsFound

        monotonic_reactor()
    found: list[str] = []
    problems: list[BuildToolError] = []

    async def asked(reactor: ReactorBase) -> None:
        there = await reached(reactor, Arguments(None, where=where))
        try:
            session = await there.connect.make(WITHIN)
            try:
                found.extend((await session.ask(AskRefs(project, source), RefsFound)).names)
            finally:
                session.close()
        finally:
            await there.connect.close()

    async def main(reactor: ReactorBase, _stop: StopRequest) -> int:
        try:
            await Deferred.fromCoroutine(asked(reactor)).addTimeout(WITHIN, reactor)
        except Late:
            problems.append(Unavailable(f"no answer within {WITHIN:g} s"))
        except BuildToolError as error:
            problems.append(error)
        return 0

    run("startcompile.py", main)
    if problems:
        raise problems[0]
    return found


def _path(where: MetaserverPlaces, project: str, source: str) -> Path | None:
    top = cache_directory()
    if top is None:
        return None
    text = "\n".join((*(one.where for one in where.asked), project, source))
    return top.parent / "refs" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _kept(path: Path, now: float) -> Sequence[str] | None:
    """Return what is kept and not too old, None where nothing is."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST))
        names, at = [str(name) for name in found["names"]], float(found["at"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return [name for name in names if _typed(name)] if 0 <= now - at < KEPT else None


def _typed(name: str) -> bool:
    """Return whether a name can be the value of ``--revision``."""
    try:
        tool_option("revision").check(name)
    except UsageError:
        return False
    return True
