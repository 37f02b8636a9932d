"""Whose word a delivery is: the signature over its bytes as they came, or GitLab's token, against a project's secrets.

A project has two secrets while one is changed. All of them are compared each time, in constant time. Which forge sends
is what the headers say, which a forger chooses too: so none of the ways is weaker than another. The test is
tests/model/hooks/test_signing.py.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from attrs import frozen

__all__ = [
    "HEADERS",
    "HOOK_LIMIT",
    "SECRETS",
    "ForgeKind",
    "HookRefusal",
    "RefusedHook",
    "event_of",
    "forge_of",
    "id_of",
    "proved",
    "signature_of",
]  # fmt: skip

HOOK_LIMIT = 1024 * 1024
"""Most bytes of a delivery. Forges send up to 25 MiB, of which nearly all is lists of files that nothing here reads."""

SECRETS = 2
"""Most secrets of a project: the one, and while it is changed the other."""

_PREFIX = "sha256="
_ID = 100


class ForgeKind(enum.Enum):
    """A kind of forge, by what its deliveries look like; the values are what people call them."""

    GITHUB = "GitHub"
    GITLAB = "GitLab"
    FORGEJO = "Forgejo"
    GITEA = "Gitea"
    GENERIC = "a signed delivery"


class HookRefusal(enum.Enum):
    """The reasons for which deliveries are refused; the values are those of the metric's label."""

    FORGED = "forged"
    UNSIGNED = "unsigned"
    PLAIN = "plain"
    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    NOT_HERE = "not-here"


@frozen
class RefusedHook:
    """The refusal of a delivery: why, and what its sender is told, in one line."""

    why: HookRefusal
    words: str


@frozen
class _Manner:
    """The headers of a kind of forge: of the event, the id (the first that is there), and the signature."""

    event: str
    ids: tuple[str, ...]
    signature: str


_MANNERS: Mapping[ForgeKind, _Manner] = {
    ForgeKind.FORGEJO: _Manner("x-forgejo-event", ("x-forgejo-delivery",), "x-forgejo-signature"),
    ForgeKind.GITEA: _Manner("x-gitea-event", ("x-gitea-delivery",), "x-gitea-signature"),
    ForgeKind.GITLAB: _Manner("x-gitlab-event", ("idempotency-key", "x-gitlab-event-uuid"), "x-gitlab-token"),
    ForgeKind.GITHUB: _Manner("x-github-event", ("x-github-delivery",), "x-hub-signature-256"),
    ForgeKind.GENERIC: _Manner("x-event", ("x-delivery-id",), "x-signature-256"),
}
"""What each sends. Forgejo sends the headers of Gitea and GitHub too, and Gitea those of GitHub: the first counts."""

_OWN = (name for one in _MANNERS.values() for name in (one.event, *one.ids, one.signature))
HEADERS = tuple(dict.fromkeys(("content-type", "x-hub-signature", *_OWN)))
"""The headers of a delivery that count, in small letters."""

Headers = Mapping[str, str]


def forge_of(headers: Headers) -> ForgeKind:
    """Return which kind of forge sent headers, given by names in small letters."""
    return next((kind for kind, one in _MANNERS.items() if headers.get(one.event)), ForgeKind.GENERIC)


def event_of(headers: Headers) -> str:
    """Return the name of the event that a delivery is about, "" where it does not say."""
    return headers.get(_MANNERS[forge_of(headers)].event, "")


def id_of(headers: Headers) -> str:
    """Return the id of a delivery, "" where it has none that is one."""
    ids = _MANNERS[forge_of(headers)].ids
    found = next((headers[name] for name in ids if headers.get(name)), "")
    plain = found.isascii() and found.replace("-", "").replace("_", "").replace(".", "").isalnum()
    return found if plain and len(found) <= _ID else ""


def signature_of(secret: str, body: bytes) -> str:
    """Return the signature of a body, in hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def proved(headers: Headers, body: bytes, secrets: Sequence[str], *, by_tls: bool) -> RefusedHook | None:
    """Return why a delivery is not believed, None where it is. ``by_tls`` says whether it came by TLS.

    Without ``secrets`` none is, after as long: neither the words nor the time tell that a project takes none.
    """
    compared = secrets or ("",)
    kind = forge_of(headers)
    name = _MANNERS[kind].signature
    said = headers.get(name, "")
    if not said and kind in (ForgeKind.FORGEJO, ForgeKind.GITEA, ForgeKind.GENERIC):
        name = "x-hub-signature-256"  # which Gitea and Forgejo send too, and so do others
        said = headers.get(name, "")
    if not said:
        return RefusedHook(HookRefusal.UNSIGNED, _unsigned(kind, headers))
    if kind is ForgeKind.GITLAB:
        if not by_tls:
            return RefusedHook(
                HookRefusal.PLAIN,
                "GitLab's token is taken over TLS only: deliver to an https URL, and where a proxy ends TLS, name it "
                "in proxies and have it set X-Forwarded-Proto",
            )
        matches = [hmac.compare_digest(_bytes(said), one.encode()) for one in compared]
    else:
        given = said.strip().lower().removeprefix(_PREFIX)
        matches = [hmac.compare_digest(_bytes(given), signature_of(one, body).encode()) for one in compared]
    if secrets and any(matches):
        return None
    what = "token" if kind is ForgeKind.GITLAB else "signature"
    return RefusedHook(
        HookRefusal.FORGED,
        f"the {what} in {_shown(name)} is not made over these bytes with the secret of a project that takes deliveries "
        "under this name",
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _unsigned(kind: ForgeKind, headers: Headers) -> str:
    if headers.get("x-hub-signature"):
        return "only a signature by SHA-1 is there (X-Hub-Signature), which is not taken: X-Hub-Signature-256 is"
    what = "token" if kind is ForgeKind.GITLAB else "signature"
    return f"there is no {what} in {_shown(_MANNERS[kind].signature)}: enter the project's secret at {kind.value}"


def _shown(name: str) -> str:
    return "-".join(word.capitalize() for word in name.split("-"))
