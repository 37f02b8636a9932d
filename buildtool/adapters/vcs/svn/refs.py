"""Addresses and revisions of Subversion, checked before svn sees any of them. Pure functions.

The full id of a revision is ``r`` and its number without leading zeros: ``r123``.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from attrs import field, frozen

from buildtool.adapters.vcs.refs import mask
from buildtool.errors import RepositoryUnreachable, UnknownRef

FIRST = 1
"""The first revision that can hold anything; 0 is the empty repository."""

_URL_LIMIT = 2000
_SHOWN = 60
_REVISION = re.compile(r"r?([0-9]{1,10})\Z")
_FULL_ID = re.compile(r"r([1-9][0-9]{0,9})\Z")

# A host or user that began with "-" would be an option to ssh.
_URL = re.compile(
    r"(?P<scheme>svn|svn\+ssh|svn\+file|svn\+https?)://"
    r"(?:(?P<user>[^-/@:][^/@:]*)?(?P<password>:[^/@]*)?@)?"
    r"(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])?"
    r"(?P<port>:[0-9]{1,5})?"
    r"(?P<path>/.*)?\Z",
    re.IGNORECASE,
)
_UNWRAPPED = {"svn+file": "file", "svn+http": "http", "svn+https": "https"}


@frozen
class Address:
    """An address for svn: the URL without a password, and who to log in as ("" for no login)."""

    url: str
    user: str = ""
    password: str = field(default="", repr=False)

    def at(self, revision: str) -> str:
        """Return the URL pinned to a revision: its last ``@`` is then ours, whatever the path has in it."""
        return f"{self.url}@{revision}"


def is_svn(url: str) -> bool:
    """Return whether ``url`` says by its scheme that it is Subversion's."""
    return url[:4].lower() in {"svn:", "svn+"}


def address(url: str) -> Address:
    """Return what svn is told for ``url``. Raises RepositoryUnreachable, also for a scheme that runs other programs.

    ``svn+file``, ``svn+http`` and ``svn+https`` stand for the schemes that git has too. A user and password in the URL
    are taken out of it and told to svn apart; with ``svn+ssh`` the user belongs to ssh, which takes no password here.
    """
    found = _URL.match(url) if len(url) <= _URL_LIMIT and url.isprintable() else None
    if found is None:
        raise _refused(url, "use svn://, svn+ssh://, svn+file:///, svn+http:// or svn+https://")
    scheme, path = found["scheme"].lower(), found["path"] or ""
    if ".." in unquote(path).split("/"):
        raise _refused(url, "its path has a .. in it")
    user, password = unquote(found["user"] or ""), unquote((found["password"] or "")[1:])
    if not (user + password).isprintable() or user.startswith("-"):
        raise _refused(url, "its user or password is not plain text")
    server = (found["host"] or "") + (found["port"] or "")
    if (scheme == "svn+file") != (not server) or (not server and (user or password or path.strip("/") == "")):
        raise _refused(url, "svn+file:/// takes a path and no host, the others take a host")
    if scheme == "svn+ssh":
        if password:
            raise _refused(url, "ssh takes no password here: use a key")
        return Address(f"{scheme}://{found['user']}@{server}{path}" if user else f"{scheme}://{server}{path}")
    return Address(f"{_UNWRAPPED.get(scheme, scheme)}://{server}{path}", user, password)


def revision_number(ref: str, url: str) -> int | None:
    """Return the number that ``ref`` (``123`` or ``r123``) says, None for ``HEAD``. Raises UnknownRef."""
    if ref == "HEAD":
        return None
    found = _REVISION.match(ref)
    if found is None or not ref.isascii():
        shown = ref if len(ref) <= _SHOWN else f"{ref[:_SHOWN]}..."
        raise UnknownRef(f"{shown!r} is no revision of {mask(url)}: use a number (123 or r123) or HEAD")
    number = int(found[1])
    if number < FIRST:
        raise UnknownRef(f"{mask(url)} has no revision {number}: the first is {FIRST}")
    return number


def full_id(number: int) -> str:
    """Return the full id of a revision."""
    return f"r{number:d}"


def full_number(commit: str, url: str) -> int:
    """Return the number of a full id. Raises UnknownRef for anything else."""
    found = _FULL_ID.match(commit) if commit.isascii() else None
    if found is None:
        raise UnknownRef(f"{commit[:_SHOWN]!r} is not the full id (r123) of a revision of {mask(url)}")
    return int(found[1])


def _refused(url: str, words: str) -> RepositoryUnreachable:
    return RepositoryUnreachable(f"{mask(url[:200])!r} is not the address of a Subversion repository: {words}")
