"""The requests that this account made from here, as far as it was told of them: their ids are completed and listed.

They are kept in the account's cache, for it alone, since an id proves whose a request is; nothing is asked for that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from buildtool.model.text import one_line
from buildtool.programs.startcompile.description_cache import cache_directory
from buildtool.programs.startcompile.places import MetaserverPlaces

if TYPE_CHECKING:
    from buildtool.programs.startcompile.completing.candidates import Candidate
    from buildtool.protocol.messages import RequestStatus

KEPT = 64
"""How many requests are remembered of one metaserver: the newest."""

MOST = 64 * 1024
"""Bytes of the file beyond which it is written anew, with the newest only."""

_WORDS = 80
_TOKEN = 100
_YEAR_9999 = 253_402_300_799


@frozen
class OwnRequest:
    """A request: its number, the token that proves that it is one's own, what it was for, and whether it waits.

    ``asked`` is wall time, in seconds.
    """

    number: int
    token: str
    what: str
    asked: float
    waits: bool

    @property
    def id(self) -> str:
        """What commands take for it."""
        return f"{self.number}-{self.token}"


def remember(where: MetaserverPlaces, told: Iterable[RequestStatus]) -> None:
    """Keep how requests stand at a metaserver, as far as that can be."""
    path = _path(where)
    lines = [_line(_own(one)) for one in told if _is_token(one.token)]
    if path is None or not lines:
        return
    with suppress(OSError):  # then they are not completed
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, "".join(lines).encode())
            size = os.fstat(file).st_size
        finally:
            os.close(file)
        if size > MOST:
            _shorten(path)


def remembered(where: MetaserverPlaces) -> Sequence[OwnRequest]:
    """Return the requests at a metaserver that are remembered, the newest first."""
    path = _path(where)
    return () if path is None else _read(path)


def candidates(where: MetaserverPlaces, command: str) -> list[Candidate]:
    """Return the ids that a command may be about, with what each is of: of what has ended nothing is cancelled."""
    from buildtool.programs.startcompile.completing.candidates import Candidate

    return [
        Candidate(one.id, f"{one.what}, {datetime.fromtimestamp(one.asked):%Y-%m-%d %H:%M}")  # noqa: DTZ006 - for people
        for one in remembered(where)
        if one.waits or command != "cancel"
    ]


def _own(told: RequestStatus) -> OwnRequest:
    from buildtool.requester.text import waits

    what = one_line(f"{told.project} {told.ref or told.revision[:12]}")[:_WORDS].strip()
    return OwnRequest(told.request_id, told.token, what, told.asked_at, waits(told))


def _line(one: OwnRequest) -> str:
    return json.dumps([one.number, one.token, one.what, one.asked, one.waits]) + "\n"


def _shorten(path: Path) -> None:
    """Write the newest requests of a file anew; what is added in that moment may be forgotten."""
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        beside.touch(mode=0o600)
        beside.write_text("".join(map(_line, reversed(_read(path)))), encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path) -> Sequence[OwnRequest]:
    """Return the requests of a file, the newest first; what in it is no request is left out."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2 * MOST))
            lines = file.read(2 * MOST).splitlines()
    except OSError:
        return ()
    found: dict[int, OwnRequest] = {}
    for line in reversed(lines):
        one = _read_line(line)
        if one is not None and one.number not in found:
            found[one.number] = one
    return sorted(found.values(), key=lambda one: -one.number)[:KEPT]


def _read_line(line: bytes) -> OwnRequest | None:
    try:
        number, token, what, asked, waits = json.loads(line)
        fits = type(number) is int and 0 < number < 10**18 and _is_token(token) and type(waits) is bool
        if fits and 0 <= float(asked) <= _YEAR_9999:
            return OwnRequest(number, token, one_line(str(what))[:_WORDS], float(asked), waits)
    except (ValueError, TypeError, RecursionError):
        pass
    return None


def _is_token(token: object) -> bool:
    return isinstance(token, str) and token.isascii() and token.isalnum() and len(token) <= _TOKEN


def _path(where: MetaserverPlaces) -> Path | None:
    top = cache_directory()
    if top is None or not where.asked:
        return None
    text = "\n".join(one.where for one in where.asked)
    return top.parent / "requests" / f"{sha256(text.encode()).hexdigest()[:32]}.jsonl"
