"""The logins of private origins: which one goes with a repository's URL."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from attrs import field, frozen

from buildtool.errors import UsageError

_SPECIAL = frozenset("?#%\\ ")
"""What has a meaning of its own in URLs."""

_PREFIX = re.compile(r"https?://[^/@\s]+/[^@\s]*\Z")


@frozen
class OriginLogins:
    """The logins (``user:password``, or a token) of private origins, each with what its URLs begin with."""

    found: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the URLs begin with that there are logins for."""
        return tuple(prefix for prefix, _ in self.found)

    def url(self, url: str) -> str:
        """Return a URL with the login for it, or as it is: where there is none, or where it has one already."""
        entry = self._entry(url)
        if not entry:
            return url
        login = dict(self.found)[entry]
        user, colon, password = login.partition(":")
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{quote(user, safe='')}{colon}{quote(password, safe='')}@{rest}"

    def shares(self, url: str, submodule: str) -> bool:
        """Return whether the login for a repository may be shown for one of its submodules: by the same entry.

        Who may commit chooses the second URL, so it names a repository and nothing else: no query, nothing encoded.
        """
        entry = self._entry(url)
        return bool(entry) and self._entry(submodule) == entry and _SPECIAL.isdisjoint(submodule[len(entry) :])

    def _entry(self, url: str) -> str:
        """Return the longest of the beginnings that leads to a URL, or ""."""
        return max((one for one, _ in self.found if _leads_to(one, url)), key=len, default="")


NO_LOGINS = OriginLogins()


def check_prefix(prefix: str) -> None:
    """Raise UsageError for what is no beginning of URLs that a login may be for: it has a whole host."""
    if not _PREFIX.match(prefix) or not prefix.isprintable():
        raise UsageError("it is the beginning of http:// or https:// URLs, with a whole host: https://git.example.org/")


def check_login(login: str) -> None:
    """Raise UsageError for what is no login; the text does not repeat it."""
    if not login.partition(":")[0] or not login.isprintable() or login != login.strip():
        raise UsageError("it holds user:password, or a token, in one line")


def _leads_to(prefix: str, url: str) -> bool:
    """Return whether a URL begins with a prefix, whole parts of its path compared, and leads out of it by no ``..``."""
    rest = url[len(prefix) :]
    if not url.startswith(prefix) or not (prefix.endswith("/") or rest[:1] in ("", "/")):
        return False
    return ".." not in unquote(rest).replace("\\", "/").split("/")
