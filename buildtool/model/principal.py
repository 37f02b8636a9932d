"""Who calls: made where a connection is known, and the first argument of every method of a service.

Tested by tests/adapters/control/test_gateway.py and tests/metaserver/test_handlers.py.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen


class PrincipalRole(Enum):
    """The role of a caller; the values are their names in Hello.

    A ``STRANGER`` has not said hello yet. Who is ``JOINING`` has no key yet, and who is ``RENEWING`` one whose
    certificate may have expired: neither may do anything else. A ``VISITOR`` looks at pages or fetches something,
    and has shown no key. A ``TRIGGER`` is no caller: it is what a project's configuration has asked for by itself.
    """

    STRANGER = ""
    VISITOR = "visitor"
    JOINING = "joining"
    RENEWING = "renewing"
    REQUESTER = "requester"
    BUILD_SERVER = "build server"
    OBSERVER = "observer"
    OPERATOR = "operator"
    PAGES = "pages"
    TRIGGER = "trigger"


@frozen
class Scope:
    """The projects, platforms and acts that rights are limited to, by name; an empty tuple limits nothing.

    A key is limited to projects and platforms, a token of it to acts too, by their words.
    """

    projects: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()

    @property
    def everywhere(self) -> bool:
        """Whether it limits to no projects or platforms."""
        return not (self.projects or self.platforms)


UNLIMITED = Scope()


@frozen
class Principal:
    """The caller of a service.

    ``name`` is what the connection proves, or under which a build server has registered; else it is empty. ``address``
    is the network that the connection comes from (``network_of``), ``connection`` its number, and ``session`` the
    number of a build server's Session. ``key`` (``key_id``) is the one that the connection proves to have, and
    ``owner`` the e-mail address that belongs to it; ``limits`` are the key's. ``token`` is the digest of the token that
    was shown instead of it. A ``trusted`` one is believed without a key, under any name. What is not known is empty
    or 0.
    """

    role: PrincipalRole
    name: str = ""
    address: str = ""
    connection: int = 0
    session: int = 0
    key: str = ""
    owner: str = ""
    limits: Scope = UNLIMITED
    trusted: bool = False
    token: str = ""
