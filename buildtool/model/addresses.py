"""Addresses that people write: one reading of host names, IP addresses, URLs and e-mail addresses everywhere.

Taken is what can only be meant in one way, and returned in one form: names in lower case and ASCII (IDNA), without
blanks around them or a dot at their end, IP addresses as the standards write them. Everything else is refused in one
line that says what to write instead. Of e-mail addresses fewer are taken than the standards allow, so that each is safe
wherever it is written.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache

from buildtool.errors import UsageError
from buildtool.model.text import printable, quoted

NAME_LIMIT = 253
"""The longest name of a machine, in characters (RFC 1035, less the length of the root)."""

WIDE_FOUR, WIDE_SIX = 24, 56
"""How many bits of an address name the network that one customer of a provider has, of IPv4 and IPv6."""

SIX_NETWORK = 64
"""Bits of an IPv6 address that name a network: whoever has one address has all of the rest."""

PORTS = range(1, 65_536)

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_SCOPE = re.compile(r"[A-Za-z0-9._~-]{1,15}\Z")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)\Z", re.DOTALL)
_DIGITS = 5
"""Of the largest port; what has more is none, though it may begin with zeros."""

_PATH = re.compile(r"(?:/[A-Za-z0-9._~/%-]*)?\Z")
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})
_LABEL_LIMIT = 63
URL_LIMIT = 300
"""The longest base URL, in characters: what is made of it has to fit into answers."""

_READ = 1_000
_LAST = {2: 24, 3: 16, 4: 8}
"""How many bits the last number has in an address of so many numbers."""


class _Wrong(Exception):
    """Why a text names no machine; ``instead`` is what was probably meant, ``port`` the port that was with it."""

    def __init__(self, why: str, instead: str = "", port: str = "") -> None:
        super().__init__(why)
        self.instead = instead
        self.port = port

    def told(self, what: str, text: object, right: str, port: str) -> UsageError:
        """Return the one line that says all of it; ``right`` is what is wanted here."""
        if self.instead:
            right = repr(self.instead) + (f", and {port} {self.port}" if self.port and port else "")
        return UsageError(f"{what} {quoted(text)} is not usable: {self}; say {right}")


def valid_host(text: object, what: str, port: str = "") -> str:
    """Return the name or address of a machine in its one form; an IPv6 address has no brackets, but may have a scope.

    Raises UsageError for anything else, in one line that begins with ``what`` (the flag, or the setting with its
    ``=``). ``port`` is likewise where a port is said, for those who wrote one behind the name.
    """
    try:
        return _host(text)
    except _Wrong as wrong:
        raise wrong.told(what, text, "the name or address of a machine", port) from wrong


def valid_bind(text: object, what: str) -> str:
    """Return an IP address in its one form. Raises UsageError for anything else, also for a name."""
    right = "an IP address of this machine, or '0.0.0.0' for all of IPv4"
    try:
        found = _host(text)
    except _Wrong as wrong:
        raise wrong.told(what, text, right, "") from wrong
    if not is_address(found):
        raise _Wrong("it is a name").told(what, text, right, "")
    return found


def valid_url(text: object, what: str) -> str:
    """Return an http or https URL in its one form, without a slash at its end. Raises UsageError for anything else."""
    try:
        return _url(text)
    except _Wrong as wrong:
        raise wrong.told(what, text, "a URL such as http://farm.example.org:8080", "") from wrong


def at_port(host: str, port: int) -> str:
    """Return ``host`` (as valid_host returns it) with a port, as people and URLs write it."""
    return f"{in_url(host)}:{port}"


def in_url(host: str) -> str:
    """Return ``host`` (as valid_host returns it) as it stands in a URL: an IPv6 address in brackets (RFC 6874)."""
    return f"[{host.replace('%', '%25')}]" if ":" in host else host


def is_address(host: str) -> bool:
    """Return whether ``host`` (as valid_host returns it) is an address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(1_000)
def is_loopback(host: str) -> bool:
    """Return whether an address (as valid_host returns it) is this machine's own, which no other can reach."""
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def is_port(text: str) -> bool:
    """Return whether this is the number of a port."""
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text) in PORTS


def ascii_name(text: str) -> str:
    """Return a name in lower case, in ASCII (IDNA), without a dot at its end; what is no name is left as it is."""
    try:
        return ".".join(_ascii_label(label) for label in _folded(text).removesuffix(".").split("."))
    except _Wrong:
        return text


@lru_cache(1_000)
def network_of(host: str) -> str:
    """Return the network that an address shares its connections with: itself, or an IPv6 address's /64."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, SIX_NETWORK), strict=False))


@lru_cache(4_096)
def wide_network_of(network: str) -> str:
    """Return the /24 or /56 around an address or a ``network_of``; "" for this machine itself, and what is no address.

    One customer of a provider has so many addresses. What connects from this machine may be a proxy, which stands for
    all who come through it.
    """
    try:
        found = ipaddress.ip_network(network.partition("%")[0], strict=False)
    except ValueError:
        return ""
    if found.is_loopback:
        return ""
    wide = WIDE_FOUR if found.version == 4 else WIDE_SIX  # noqa: PLR2004 - the versions of IP
    return str(found.supernet(new_prefix=wide)) if found.prefixlen > wide else str(found)


# --- hosts ----------------------------------------------------------------------------------------------


def _host(text: object) -> str:
    if not isinstance(text, str):
        raise _Wrong("it is not text")
    said = _folded(text.strip())
    _refuse_other_things(said)
    if ":" in said or said.startswith("["):
        return _address6(said)
    name = said.removesuffix(".")
    if len(name) > NAME_LIMIT:
        raise _Wrong(f"it is longer than {NAME_LIMIT} characters")
    parts = name.split(".")
    if all(part.isdecimal() for part in parts):
        return _address4(parts)
    if parts[-1].isdecimal():
        raise _Wrong("the last part of a name is not a number")
    found = ".".join(_ascii_label(part) for part in parts)
    if len(found) > NAME_LIMIT:
        raise _Wrong(f"it is longer than {NAME_LIMIT} characters")
    return found


def _folded(text: str) -> str:
    """Return a text with every character in its plain form: full-width digits, ideographic dots, capitals."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKC", text.translate(_DOTS)).lower()
    return unicodedata.normalize("NFC", plain)


def _refuse_other_things(said: str) -> None:
    if not said:
        raise _Wrong("it is empty")
    if len(said) > _READ:
        raise _Wrong(f"it is longer than {NAME_LIMIT} characters")
    url = _URL.match(said)
    if url is not None:
        raise _Wrong("it is a URL", _meant(url[2]))
    if "/" in said:
        raise _Wrong("there is a / in it", _meant(said.partition("/")[0]))
    if "@" in said:
        raise _Wrong("there is an @ in it", _meant(said))
    if any(char.isspace() or not char.isprintable() for char in said):
        raise _Wrong("there is a blank or an unprintable character in it")


def _meant(text: str) -> str:
    """Return the host in a text that may have a user before and a port behind it; "" when there is none."""
    try:
        return _host(text.rpartition("@")[2])
    except _Wrong as wrong:
        return wrong.instead


def _address6(said: str) -> str:
    inner, behind = said, ""
    if said.startswith("["):
        inner, bracket, behind = said[1:].partition("]")
        if not bracket:
            raise _Wrong("its bracket is not closed")
    elif said.count(":") == 1:
        inner, colon, behind = said.partition(":")
        behind = colon + behind
    if behind:
        number = behind[1:] if behind.startswith(":") and is_port(behind[1:]) else ""
        why = "a port is no part of it" if number or behind == ":" else f"{behind!r} is no part of it"
        raise _Wrong(why, _meant(inner), number)
    bare, percent, scope = inner.partition("%")
    if scope.startswith("25") and len(scope) > len("25"):
        scope = scope[2:]  # as a URL says it
    try:
        address = ipaddress.IPv6Address(bare)
    except ValueError:
        raise _Wrong("only an IPv6 address has colons or brackets, and it is none") from None
    if percent and not _SCOPE.match(scope):
        raise _Wrong("behind its % belongs the name of a network interface")
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{address}%{scope}" if percent else str(address)


def _address4(numbers: list[str]) -> str:
    """Return an address of two to four numbers; the last one fills what is left, as in 127.1."""
    if not all(number.isascii() and (number == "0" or not number.startswith("0")) for number in numbers):
        raise _Wrong("the numbers of an address do not begin with 0")
    bits = _LAST.get(len(numbers))
    if bits is None or any(len(number) > len(str(1 << 24)) for number in numbers):
        raise _Wrong("an address has four numbers")
    *first, last = map(int, numbers)
    if any(number >= 1 << 8 for number in first) or last >= 1 << bits:
        raise _Wrong("the numbers of an address are at most 255")
    return str(ipaddress.IPv4Address(last + sum(number << (24 - 8 * place) for place, number in enumerate(first))))


def _ascii_label(label: str) -> str:
    """Return one part of a folded name in ASCII. Raises _Wrong."""
    if not label:
        raise _Wrong("two dots follow each other, or it begins with one")
    found = label
    if not label.isascii():
        plain = label.replace("l·l", "ll").replace("l·l", "ll")  # in Catalan (RFC 5892, A.3), also twice in a row
        if not all(char == "-" or unicodedata.category(char)[0] in "LMN" for char in plain):
            raise _Wrong("in a name are only letters, digits, - and _")
        found = "xn--" + label.encode("punycode").decode("ascii")
    if len(found) > _LABEL_LIMIT:
        raise _Wrong(f"between two dots of a name are at most {_LABEL_LIMIT} characters")
    if not _LABEL.match(found):
        raise _Wrong("in a name are only letters, digits, - and _, and between two dots no - at either end")
    return found


# --- URLs -----------------------------------------------------------------------------------------------


def _url(text: object) -> str:
    if not isinstance(text, str):
        raise _Wrong("it is not text")
    parts = _URL.match(text.strip())
    if parts is None or parts[1].lower() not in ("http", "https"):
        raise _Wrong("it does not begin with http:// or https://")
    scheme, place, path = parts[1].lower(), parts[2], parts[3]
    if not _PATH.match(path):
        raise _Wrong("behind the machine's name belongs nothing but a plain path")
    port = re.search(r":([0-9]*)\Z", place) if place.count(":") == 1 or "]" in place else None
    if port is not None and not is_port(port[1]):
        raise _Wrong("a port is a number from 1 to 65535")
    name = place if port is None else place[: port.start()]
    try:
        host = _host(name)
    except _Wrong as wrong:
        raise _Wrong(str(wrong)) from wrong
    end = f"{port[0] if port is not None else ''}{path.rstrip('/')}"
    if ":" in host and not name.startswith("["):
        raise _Wrong("an IPv6 address is in brackets in a URL", f"{scheme}://{in_url(host)}{end}")
    found = f"{scheme}://{in_url(host)}{end}"
    if len(found) > URL_LIMIT:
        raise _Wrong(f"it is longer than {URL_LIMIT} characters")
    return found


# --- e-mail ---------------------------------------------------------------------------------------------

ADDRESS_LIMIT = 254
"""The longest address, in bytes (RFC 5321 section 4.5.3.1.3, less the angle brackets)."""

LOCAL_LIMIT = 64
"""The longest part before the @, in bytes (RFC 5321 section 4.5.3.1.1)."""

_ATOM = r"[A-Za-z0-9_+=&'~#/\u0080-\U0010ffff-]+"
_LOCAL = re.compile(rf"(?!-){_ATOM}(\.{_ATOM})*\Z")
_SELECTORS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
"""Marks that say which shape of a letter is meant, and show nothing themselves."""

_MAIL_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"({_MAIL_LABEL}\.)*(?![0-9]+\Z){_MAIL_LABEL}\Z")


@lru_cache(1_000)
def valid_address(text: str) -> str:
    """Return the address in its canonical form: the domain in lower case, and in ASCII (IDNA) without a dot at its end.

    Raises UsageError, saying what is wrong. Taken is ``name@domain``, the name in ASCII or of letters, marks and digits
    of any script (RFC 6531), composed: no quoting, comments, display names or address literals, and none of the
    characters that old mail systems take for routes or programs (``!``, ``%``, ``|``).
    """
    local, at, domain = text.strip(" ").rpartition("@")
    if not local.isascii() and len(local) <= ADDRESS_LIMIT:
        local = unicodedata.normalize("NFC", local)
    domain = ascii_name(domain) if len(domain) <= ADDRESS_LIMIT else domain
    octets = len(local.encode(errors="replace"))
    if not text:
        wrong = "is empty"
    elif max(len(text), octets + 1 + len(domain)) > ADDRESS_LIMIT:
        wrong = f"is longer than {ADDRESS_LIMIT} characters"
    elif not at or not local or not domain:
        wrong = "is not a name, an @ and a domain"
    elif octets > LOCAL_LIMIT:
        wrong = f"has more than {LOCAL_LIMIT} {'characters' if local.isascii() else 'bytes'} before the @"
    elif not _LOCAL.match(local) or not (local.isascii() or _is_spoken(local)):
        wrong = "has something before the @ that is not a letter, a digit, or one of . _ + - = & ' ~ # /"
    elif not _DOMAIN.match(domain):
        wrong = "has no usable domain after the @"
    else:
        return f"{local}@{domain.lower()}"
    raise UsageError(f"the e-mail address {quoted(text)} {wrong}: write it like name@example.org")


def _is_spoken(local: str) -> bool:
    """Return whether all that is not ASCII in a name are letters, marks and digits in the only form that they have.

    What has a plainer form (full-width letters, ligatures), or shows nothing, would make two addresses look like one.
    """
    wide = [char for char in local if not char.isascii()]
    return (
        all(unicodedata.category(char)[0] in "LMN" for char in wide)
        and not any(char in _SELECTORS for char in wide)
        and printable(local, len(local)) == local
        and unicodedata.normalize("NFKC", local) == local
        and not any(unicodedata.category(part[0])[0] == "M" for part in local.split("."))
    )


def find_address(text: str) -> str | None:
    """Return the first address in free text such as ``Ann <ann@example.org>``, or None."""
    for word in re.split(r"[\s<>(),;:\"]+", text):
        if "@" in word:
            try:
                return valid_address(word)
            except UsageError:
                continue
    return None


def masked(email: str) -> str:
    """Return an address that its owner recognises and no other reader can write to: ``u…@example.org``."""
    local, at, domain = email.rpartition("@")
    return f"{local[:1]}…@{domain}" if at else "…"
