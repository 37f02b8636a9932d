"""The client of the API: what pages and the command line do, for programs in Python, and for ``--http``.

``BlockingFarm`` is for programs as most are, ``FarmClient`` for those on Twisted; both are loaded when they are named.
Tested by tests/client/test_blocking.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildtool.client.blocking import BlockingFarm
    from buildtool.client.farm import FarmClient
    from buildtool.client.groups import BuildWish

__all__ = ["BlockingFarm", "BuildWish", "FarmClient"]

_PLACES = {"BlockingFarm": "blocking", "FarmClient": "farm", "BuildWish": "groups"}


def __getattr__(name: str) -> object:
    """Return what is named, loaded only now: the command line reads an address without any of it."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - see above

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
