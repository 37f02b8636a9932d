"""A delivery of a forge that was taken, and what makes two deliveries one.

A forge that signs the body signs neither its id nor its event. So there only the body says that a delivery came before:
whoever holds no secret can send a body again under another id, which hints nothing new; and can use up an id with a
body that was seen before, which keeps no other body with that id from being taken. GitLab's token vouches for the
whole request, whose bodies may be the same for two pushes: there it is the id.

The test is tests/model/hooks/test_delivery.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from attrs import frozen

from buildtool.model.hooks.signing import ForgeKind, forge_of, id_of

__all__ = ["KEPT", "HookDelivery", "mark_of"]

KEPT = 2_000
"""Deliveries of a project that are remembered, of which none is taken twice: the newest."""


@frozen
class HookDelivery:
    """A delivery that was taken ``at`` a wall time in seconds: whose, by which mark it is known, and what it says.

    ``id`` is what its forge calls it, "" for nothing. ``said`` is a line for people.
    """

    project: str
    mark: str
    forge: ForgeKind
    id: str
    said: str
    at: float


def mark_of(headers: Mapping[str, str], body: bytes) -> str:
    """Return what a delivery that was proved is known by, the same where it comes again."""
    named = id_of(headers) if forge_of(headers) is ForgeKind.GITLAB else ""
    return f"id {named}" if named else hashlib.sha256(body).hexdigest()
