"""What is said to become somebody, to stay it, and about who is known: joining, renewing, inviting, revoking.

The same rules as for ``messages``. Certificates are PEM, requests for one (PKCS #10) too. Times are wall time, in
seconds.
"""

from __future__ import annotations

from attrs import field, frozen

PEM = 8_000
"""Most bytes of a certificate or a request for one."""

AUTHORITIES = 8
"""Most authorities that are believed at once."""

LISTED = 1_000
"""Most identities in one answer."""


# --- whoever joins, or renews -> metaserver ---------------------------------------------------------------------


@frozen
class Join:
    """An act: become who the token invites, with the key that ``request`` is for and is signed by.

    For a code that was mailed the token is a proof of it (``model.access.confirmation.proof_of``). ``roles`` are those
    that the program can have: an invitation to another is not used up. None said is any.
    """

    token: str = field(metadata={"most": 200}, repr=False)
    request: str = field(metadata={"most": PEM})
    roles: tuple[str, ...] = field(default=(), metadata={"most": 40, "members": 10})


@frozen
class AskCode:
    """A wish for a code by mail, with which its reader can join as a requester who has that address."""

    email: str = field(metadata={"most": 400})


@frozen
class CodeMailed:
    """An answer: when a code was mailed there, now if it is ``fresh``, and until when it holds."""

    email: str = field(metadata={"most": 400, "sent": 400})
    mailed_at: float
    expires: float
    fresh: bool


@frozen
class ShowCodeFor:
    """A code that a visitor of the pages shows, who comes from a network: it confirms the address that it went to."""

    code: str = field(metadata={"most": 100}, repr=False)
    address: str = field(default="", metadata={"most": 100})


@frozen
class ShowCode:
    """An act: confirm the address that this code was mailed to."""

    code: str = field(metadata={"most": 100}, repr=False)


@frozen
class AddressShown:
    """An answer: the address that is confirmed."""

    email: str = field(metadata={"most": 400, "sent": 400})


@frozen
class Leave:
    """An act: revoke the key of this connection, which its holder does not need any more."""


@frozen
class Renew:
    """An act: get the next certificate for the key of this connection."""


@frozen
class Credentials:
    """An answer: who a key is, its certificate until ``expires``, and the authorities to believe (PEM).

    ``now`` is what the metaserver's clock says, 0 from one that does not tell.
    """

    name: str = field(metadata={"most": 100})
    role: str = field(metadata={"most": 40})
    certificate: str = field(metadata={"most": PEM, "sent": PEM})
    expires: float
    authorities: tuple[str, ...] = field(metadata={"most": PEM, "members": AUTHORITIES})
    owner: str = field(default="", metadata={"most": 400})
    now: float = 0.0


# --- operator -> metaserver -------------------------------------------------------------------------------------


@frozen
class InviteOne:
    """An act: invite a machine or person under a name, in a role, for so many seconds."""

    name: str = field(metadata={"most": 100})
    role: str = field(metadata={"most": 40})
    lasts: float
    owner: str = field(default="", metadata={"most": 400})
    replaces: bool = False
    projects: tuple[str, ...] = field(default=(), metadata={"most": 80, "members": 100})
    platforms: tuple[str, ...] = field(default=(), metadata={"most": 200, "members": 100})


@frozen
class InvitationLine:
    """An answer: the line that joins, when it expires, and until when an older line held that is void by it, if any."""

    line: str = field(metadata={"most": 2_000, "sent": 2_000}, repr=False)
    expires: float
    voided: float = 0.0


@frozen
class AskIdentities:
    """A question: who is known and who is invited, from the name ``after`` on."""

    after: str = field(default="", metadata={"most": 100})


@frozen
class ListedIdentity:
    """One that is known or invited. ``state`` is ``invited``, ``shown``, ``active``, ``revoked`` or ``void``.

    ``old_authority`` says that its newest certificate is by an authority that signs no more.
    """

    name: str = field(metadata={"most": 100, "sent": 100})
    role: str = field(metadata={"most": 40, "sent": 40})
    state: str = field(metadata={"most": 40, "sent": 40})
    key: str = field(metadata={"most": 64, "sent": 64})
    since: float
    expires: float
    owner: str = field(default="", metadata={"sent": 100, "kept": "start"})
    by: str = field(default="", metadata={"sent": 60, "kept": "start"})
    reason: str = field(default="", metadata={"sent": 100, "kept": "start"})
    old_authority: bool = False


@frozen
class Identities:
    """An answer: who is known and who is invited, by name; ``more`` says that there are further ones."""

    found: tuple[ListedIdentity, ...] = field(metadata={"members": LISTED})
    more: bool = False


@frozen
class RevokeOne:
    """An act: revoke every key of a name, and what invites to it."""

    name: str = field(metadata={"most": 100})
    reason: str = field(default="", metadata={"kept": "start"})


@frozen
class RotateAuthority:
    """An act: make a new authority, to which all keys move over while the old one is still believed."""
