"""Whom a project is for: who sees it, who may ask for builds of it, and which build servers may build it.

People are named by a role, by the name of their key, by an e-mail address or by a domain (``@example.org``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from buildtool.errors import UsageError
from buildtool.model.addresses import valid_address
from buildtool.model.names import is_server_name
from buildtool.model.principal import Principal, PrincipalRole

__all__ = ["EVERYBODY", "Audience", "ProjectAccess", "read_audience"]

MEMBERS = 500
"""Most members of an audience."""

WRITTEN = "everybody, nobody, a role, the name of a key, an e-mail address, or @ and a domain"

_ROLES: Mapping[str, PrincipalRole] = MappingProxyType(
    {role.value: role for role in (PrincipalRole.VISITOR, PrincipalRole.REQUESTER, PrincipalRole.OBSERVER)}
)

_WORDS = ("everybody", "nobody", *_ROLES)
_SYNONYMS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("all", "any", "anybody", "anyone", "everyone"), "everybody")
    | dict.fromkeys(("none", "noone", "nothing"), "nobody")
)


@frozen
class Audience:
    """A set of callers: all, or who has one of these roles, keys' names, e-mail addresses or domains."""

    everybody: bool = False
    roles: frozenset[PrincipalRole] = frozenset()
    names: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()

    def includes(self, by: Principal) -> bool:
        """Return whether a caller belongs to it: operators do, and who is believed without a key."""
        if self.everybody or by.trusted or by.role is PrincipalRole.OPERATOR or by.role in self.roles:
            return True
        return self.has(by.name, by.owner)

    def has(self, name: str, owner: str) -> bool:
        """Return whether it has a key of this name, whose owner has this e-mail address."""
        if self.everybody or (name and name in self.names):
            return True
        address = owner.lower()
        return bool(address) and (address in self.addresses or f"@{address.rpartition('@')[2]}" in self.addresses)

    def __str__(self) -> str:
        members = sorted((*(role.value for role in self.roles), *self.names, *self.addresses))
        return "everybody" if self.everybody else ", ".join(members) or "nobody"


EVERYBODY = Audience(everybody=True)
NOBODY = Audience()


@frozen
class ProjectAccess:
    """The audiences of a project. Who may not see it may not ask for it either."""

    visible_to: Audience = field(default=EVERYBODY)
    may_request: Audience = field(default=EVERYBODY)
    may_build: Audience = field(default=EVERYBODY)


def read_audience(value: object) -> Audience:
    """Return the audience that a configuration names, by a word or a list of them. Raises UsageError."""
    words = (value,) if isinstance(value, str) else value
    if not isinstance(words, list | tuple | set | frozenset) or len(words) > MEMBERS:
        raise UsageError(f"it is a list of at most {MEMBERS}, each {WRITTEN}")
    roles, names, addresses = set(), set(), set()
    for word in words:
        if word == "everybody":
            return EVERYBODY
        if not isinstance(word, str):
            raise UsageError(f"{word!r:.60} is not {WRITTEN}")
        if word in _ROLES:
            roles.add(_ROLES[word])
        elif "@" in word:
            addresses.add(_address(word))
        elif word != "nobody":
            if not is_server_name(word):
                raise UsageError(f"{word!r:.60} is not {WRITTEN}")
            _check_meant(word)
            names.add(word)
    return Audience(roles=frozenset(roles), names=frozenset(names), addresses=frozenset(addresses))


def _check_meant(word: str) -> None:
    """Raise UsageError for what is more likely a word that was mistyped than the name of a key."""
    near = difflib.get_close_matches(word.lower(), _WORDS, n=1, cutoff=0.8) if word.isalpha() else []
    meant = _SYNONYMS.get(word.lower()) or (near[0] if near else "")
    if meant:
        raise UsageError(f"{word!r:.60} is not {WRITTEN}: did you mean {meant!r}?")


def _address(word: str) -> str:
    """Return an e-mail address, or ``@`` with a domain, in small letters. Raises UsageError."""
    domain = word.startswith("@")
    address = valid_address(f"anybody{word}" if domain else word).lower()
    return address.removeprefix("anybody") if domain else address
