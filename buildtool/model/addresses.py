"""Which e-mail addresses are taken: fewer than the standards allow, so that each is safe wherever it is written."""

from __future__ import annotations

import re
from functools import lru_cache

from buildtool.errors import UsageError
from buildtool.model.hosts import ascii_name
from buildtool.model.text import quoted

ADDRESS_LIMIT = 254
"""The longest address, in characters (RFC 5321 section 4.5.3.1.3, less the angle brackets)."""

LOCAL_LIMIT = 64
"""The longest part before the @, in characters (RFC 5321 section 4.5.3.1.1)."""

_ATOM = r"[A-Za-z0-9_+=&'~#/-]+"
_LOCAL = re.compile(rf"(?!-){_ATOM}(\.{_ATOM})*\Z")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"({_LABEL}\.)*(?![0-9]+\Z){_LABEL}\Z")


@lru_cache(1_000)
def valid_address(text: str) -> str:
    """Return the address in its canonical form: the domain in lower case, and in ASCII (IDNA) without a dot at its end.

    Raises UsageError, saying what is wrong. Taken is ``name@domain``, the name in ASCII: no quoting, comments, display
    names or address literals, and none of the characters that old mail systems take for routes or programs (``!``,
    ``%``, ``|``).
    """
    local, at, domain = text.strip(" ").rpartition("@")
    domain = ascii_name(domain) if len(domain) <= ADDRESS_LIMIT else domain
    if not text:
        wrong = "is empty"
    elif max(len(text), len(local) + 1 + len(domain)) > ADDRESS_LIMIT:
        wrong = f"is longer than {ADDRESS_LIMIT} characters"
    elif not at or not local or not domain:
        wrong = "is not a name, an @ and a domain"
    elif len(local) > LOCAL_LIMIT:
        wrong = f"has more than {LOCAL_LIMIT} characters before the @"
    elif not _LOCAL.match(local):
        wrong = "has something before the @ that is not a letter, a digit, or one of . _ + - = & ' ~ # /"
    elif not _DOMAIN.match(domain):
        wrong = "has no usable domain after the @"
    else:
        return f"{local}@{domain.lower()}"
    raise UsageError(f"the e-mail address {quoted(text)} {wrong}: write it like name@example.org")


def find_address(text: str) -> str | None:
    """Return the first address in free text such as ``Ann <ann@example.org>``, or None."""
    for word in re.split(r"[\s<>(),;:\"]+", text):
        if "@" in word:
            try:
                return valid_address(word)
            except UsageError:
                continue
    return None
