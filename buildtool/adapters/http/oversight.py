"""What the transfer port asks and tells the broker.

Tested by tests/adapters/http/test_sources.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from buildtool.errors import NotFound
from buildtool.ports.metaserver import Bundle


async def _no_bundle(build_id: int) -> Bundle:
    raise NotFound(f"there are no sources of build {build_id} here")


async def _unheard(_build_id: int, _epoch: int, _reason: str) -> None:
    """Nobody is to be told that an artifact cannot be kept."""


@frozen
class Oversight:
    """The broker, as the transfer port asks and informs it.

    ``lives`` says whether an Attempt, by build and epoch, has not ended. ``corrupt`` is called with the digest of an
    artifact whose bytes turned out to differ from it, so that it is withdrawn. ``bundle`` gives the commit of a Build.
    ``unkept`` is called with an Attempt whose artifact there is no room for, and why.
    """

    lives: Callable[[int, int], bool]
    corrupt: Callable[[str], object]
    bundle: Callable[[int], Awaitable[Bundle]] = _no_bundle
    unkept: Callable[[int, int, str], Awaitable[object]] = _unheard
