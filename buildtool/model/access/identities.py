"""Identities: keys of machines and people that the metaserver knows, and invitations to become one.

An identity is a *key*: a certificate only carries it for a while. Times are wall time, in seconds. What happens to them
is decided in ``enrolment``, whose test covers this module too: tests/model/access/test_enrolment.py.
"""

from __future__ import annotations

import hashlib

from attrs import frozen

from buildtool.model.principal import UNLIMITED, PrincipalRole, Scope
from buildtool.model.servers import QuickEnum


class KeyState(QuickEnum):
    """The state of a key: SHOWN with an invitation, ACTIVE once it was used, REVOKED for ever."""

    SHOWN = "shown"
    ACTIVE = "active"
    REVOKED = "revoked"


@frozen
class Identity:
    """One key (``key_id``: the SHA-256 of its SubjectPublicKeyInfo, in hex), whose it is, and what it may be.

    ``certificate`` is the newest that was made for it, as PEM, and ``expires`` when that ends. ``owner`` is the e-mail
    address of the person responsible, or empty. ``reason`` says why it was revoked, ``by`` who invited it.
    """

    key: str
    name: str
    role: PrincipalRole
    state: KeyState
    since: float
    certificate: str
    expires: float
    owner: str = ""
    by: str = ""
    reason: str = ""
    limits: Scope = UNLIMITED


@frozen
class Invitation:
    """A permission to join once, whose token only its bearer knows: ``token`` is the digest of it (``token_digest``).

    ``key`` is the first key that was shown with it, or empty; no other can use it any more. ``life`` is the id of the
    metaserver's incarnation that it was made in: after a restore those of older ones are void. ``replaces`` says that
    the key that has the name now is revoked once the new one is used. ``void`` says why it cannot be used, or is empty.
    ``shown_again`` is when it was last shown with another key, from the address ``shown_from``, and 0 where it was not,
    or an operator has acted on it.
    """

    token: str
    name: str
    role: PrincipalRole
    made: float
    expires: float
    life: str
    owner: str = ""
    by: str = ""
    key: str = ""
    void: str = ""
    replaces: bool = False
    shown_again: float = 0.0
    shown_from: str = ""
    limits: Scope = UNLIMITED


Account = Identity | Invitation
"""What is kept of who is known, or invited."""


def token_digest(token: str) -> str:
    """Return what is kept of a token, in hex: it is long and random, so that its SHA-256 gives nothing of it away."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
