"""The keys by which a configuration that is followed must be signed, as its owner's file has them.

A line is a public key (``ssh-ed25519 AAAA... name``), or one of ``allowed_signers`` of ssh-keygen(1), of which only the
key, its times and its namespaces count: whom it stands for is a name to show. Each key gets a principal of its own, so
that no pattern of a line matches more than that line's key. Times are in seconds of wall time since 1970.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo

from attrs import frozen

from buildtool.errors import ConfigurationError
from buildtool.model.text import one_line

MOST_KEYS = 64
"""Most keys of one file."""

NAMESPACE = "git"
"""What a key has to be for: what git signs."""

KINDS = frozenset(
    {
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "sk-ssh-ed25519@openssh.com",
        "ssh-ed25519",
        "ssh-rsa",
    }
)
"""The kinds of keys that are taken."""

LEAST_RSA = 2048
"""The least bits of an RSA key."""

OPENPGP = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
"""How a file with OpenPGP keys begins."""

_OPTION = re.compile(r'([A-Za-z-]{1,40})(?:="([^"]{0,1000})")?(?:,|\Z)')
_WORDS = re.compile(r'(?:"[^"]*"|[^\s"])+')
_TIME = re.compile(r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?(Z?)\Z")
_NAME_LIMIT = 60


@frozen
class SigningKey:
    """A key of the file: ``name`` is how its owner calls it, ``blob`` the key in base 64.

    It counts ``since`` and ``until`` these seconds of wall time, None is always.
    """

    name: str
    kind: str
    blob: str
    since: float | None = None
    until: float | None = None

    @property
    def fingerprint(self) -> str:
        """What ssh-keygen and git call the key."""
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"

    def holds(self, now: float) -> bool:
        """Return whether the key counts at ``now``, in seconds of wall time."""
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)


def read_signing_keys(text: str, zone: tzinfo) -> tuple[SigningKey, ...]:
    """Return the keys in a file; times without a zone are of ``zone``. Raises ConfigurationError naming the line."""
    found: list[SigningKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found.append(_key(line.strip(), zone))
        except ConfigurationError as error:
            raise ConfigurationError(f"line {number}: {error}") from error
    if not found:
        raise ConfigurationError("there is no key in it: a line is such as ssh-ed25519 AAAA... name")
    if len(found) > MOST_KEYS:
        raise ConfigurationError(f"there are more than {MOST_KEYS} keys in it")
    return tuple(found)


def allowed_signers(keys: Sequence[SigningKey]) -> str:
    """Return the text of a file for ``gpg.ssh.allowedSignersFile`` with these keys and nothing else."""
    lines = [f'key-{number} namespaces="{NAMESPACE}" {key.kind} {key.blob}\n' for number, key in enumerate(keys)]
    return "".join(lines)


# --- one line -------------------------------------------------------------------------------------------


def _key(line: str, zone: tzinfo) -> SigningKey:
    if "PRIVATE KEY" in line:
        raise ConfigurationError("that is a private key: name the file of the public one, which ends with .pub")
    words = _WORDS.findall(line) or [""]  # of a quotation mark alone
    if _is_kind(words[0]) and not any(map(_is_kind, words[1:3])):
        name, options, rest = " ".join(words[2:]), "", words
    else:
        name = words[0].strip('"')
        rest = words[1:] if len(words) > 1 and _is_kind(words[1]) else words[2:]
        options = "" if rest == words[1:] else words[1]
    if len(rest) < 2 or not _is_kind(rest[0]):  # noqa: PLR2004 - its kind and itself
        raise ConfigurationError("it is no key: say ssh-ed25519 AAAA... name, or a line of allowed_signers")
    if rest[0] not in KINDS:
        raise ConfigurationError(f"{one_line(rest[0], _NAME_LIMIT)} is no kind of key that is taken: use ssh-ed25519")
    _check_blob(rest[0], rest[1])
    since, until = _times(options, zone)
    return SigningKey(one_line(name, _NAME_LIMIT) or f"the key of {rest[0]}", rest[0], rest[1], since, until)


def _is_kind(word: str) -> bool:
    return word.startswith(("ssh-", "ecdsa-", "sk-"))


def _times(options: str, zone: tzinfo) -> tuple[float | None, float | None]:
    """Return since and until when a key counts. Raises ConfigurationError for an option that is not taken."""
    since, until = None, None
    for name, value in _options(options):
        match name:
            case "valid-after":
                since = _time(value, zone)
            case "valid-before":
                until = _time(value, zone)
            case "namespaces":
                if NAMESPACE not in [one.strip() for one in value.split(",")]:
                    raise ConfigurationError(f'the key is not for commits: its namespaces do not have "{NAMESPACE}"')
            case "cert-authority":
                raise ConfigurationError("an authority that makes certificates is not taken: name the keys themselves")
            case _:
                raise ConfigurationError(f"{one_line(name, _NAME_LIMIT)} is no option of allowed_signers")
    return since, until


def _options(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(text):
        found = _OPTION.match(text, place)
        if found is None:
            raise ConfigurationError(f"{one_line(text[place:], _NAME_LIMIT)} is no option of allowed_signers")
        yield found[1].lower(), found[2] or ""
        place = found.end()


def _time(text: str, zone: tzinfo) -> float:
    found = _TIME.match(text)
    wrong = f"{one_line(text, _NAME_LIMIT)} is no time: say 20271231 or 202712312359Z"
    if found is None:
        raise ConfigurationError(wrong)
    try:
        numbers = [int(one or 0) for one in found.groups()[:6]]
        return datetime(*numbers, tzinfo=UTC if found[7] else zone).timestamp()  # type: ignore[misc, arg-type]
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(wrong) from error


def _check_blob(kind: str, text: str) -> None:
    """Raise ConfigurationError unless a key is whole, and of the kind that its line says."""
    try:
        blob = base64.b64decode(text, validate=True)
        parts = _parts(blob)
    except (binascii.Error, ValueError, struct.error) as error:
        raise ConfigurationError("the key is not whole: copy the line from the file that ends with .pub") from error
    if parts[0] != kind.encode("ascii"):
        raise ConfigurationError(f"the key is none of {kind}: copy the line from the file that ends with .pub")
    if kind == "ssh-rsa" and int.from_bytes(parts[-1], "big").bit_length() < LEAST_RSA:
        raise ConfigurationError(f"an RSA key has at least {LEAST_RSA} bits here: use ssh-ed25519")


def _parts(blob: bytes) -> list[bytes]:
    """Return the parts of a key, each of which is written after its length. Raises ValueError."""
    parts, place = [], 0
    while place < len(blob):
        (length,) = struct.unpack_from(">I", blob, place)
        place += 4 + length
        if place > len(blob):
            raise ValueError("cut off")
        parts.append(blob[place - length : place])
    if len(parts) < 2:  # noqa: PLR2004 - its kind and a number at least
        raise ValueError("nothing in it")
    return parts
