"""What OpenSSL's errors mean, in words for whoever connects.

Tested by tests/adapters/tls/test_one_port.py.
"""

from __future__ import annotations

import sys

from buildtool.model.principal import PrincipalRole
from buildtool.model.text import duration_words, moment_words

CONTROL = b"buildtool/3"
"""The name of Perspective Broker as we speak it, for ALPN (RFC 7301)."""

ALERT_RECORD = 21
"""The first byte of a record of TLS that says what is wrong (RFC 8446, section 5.1); the version follows, from 3 on."""

SPOKEN = b"this port speaks TLS"
"""What a port that waits for TLS says to who speaks something else."""

UNBELIEVED = "certificate verify failed"
"""What OpenSSL says of a certificate that it does not believe."""

JOIN = "join first, with the line that the operator's `bin/metaserver invite NAME` prints"

LOG_IN = "log in with a code that is mailed to you: `bin/startcompile.py login ADDRESS`"


def way_in(role: str) -> str:
    """Return how a program that comes in a role, and has no key, gets one."""
    return f"{JOIN}, or {LOG_IN}" if role == PrincipalRole.REQUESTER.value else JOIN


OTHER_PROTOCOL = "it speaks another protocol there: is that its control port?"

_WORDS = (
    (
        UNBELIEVED,
        "its certificate is of no authority that is believed here (join the farm), or this machine's clock is wrong",
    ),
    ("unknown ca", "it does not know the authority that signed this side's certificate: join again"),
    ("bad certificate", "it does not take this side's certificate: this machine's clock may be wrong, or join again"),
    ("unsupported certificate", "it does not take this side's certificate: join again"),
    ("no application protocol", OTHER_PROTOCOL),
    ("wrong version number", "it does not speak TLS there"),
    ("packet length too long", "it does not speak TLS there"),
    ("record layer failure", "it does not speak TLS there"),
    ("protocol version", "it speaks no version of TLS that is spoken here (1.2 and later)"),
)
"""What is in OpenSSL's reason, and what it means."""


def tls_errors() -> tuple[type[Exception], ...]:
    """Return the errors with which a connection by TLS ends that was not made; none before anything has spoken TLS."""
    if sys.modules.get("OpenSSL") is None:
        return ()
    from OpenSSL import SSL  # noqa: PLC0415 - only what speaks TLS pays for loading it
    from service_identity import VerificationError  # noqa: PLC0415 - the same

    return SSL.Error, VerificationError


def tls_words(error: Exception, unbelieved: str = "") -> str:
    """Return why a connection by TLS ended; ``unbelieved`` is said of a certificate that is not believed, if it is."""
    said = getattr(error, "words", "")  # of a WrongTime
    if said:
        return str(said)
    if type(error).__module__.startswith("service_identity"):
        return "its certificate is not for the host that was said here"
    reasons = " ".join(str(one[-1]) for one in error.args[0]) if error.args and isinstance(error.args[0], list) else ""
    for part, words in _WORDS:
        if part in reasons:
            return unbelieved if unbelieved and part == UNBELIEVED else words
    return f"TLS failed: {reasons or type(error).__name__}"


def speaks_tls(first: bytes) -> bool:
    """Return whether the first bytes of a peer are those of one that waited for a handshake of TLS in vain."""
    alerts = first[:1] == bytes((ALERT_RECORD,)) and first[1:2] in (b"", b"\3")
    return alerts or SPOKEN in first  # so says a metaserver that is older


TOLERATED = 120.0
"""Seconds by which clocks may differ before anybody is told."""


def skew_words(skew: float, now: float) -> str:
    """Return how far this machine's clock is off, which says ``now``: the metaserver's is ``skew`` seconds ahead of it.

    Empty where that does not matter.
    """
    if abs(skew) <= TOLERATED:
        return ""
    return (
        f"this machine's clock is {duration_words(abs(skew))} {'slow' if skew > 0 else 'fast'} "
        f"(it says {moment_words(now)}, the metaserver's {moment_words(now + skew)}): set it"
    )


def time_words(life: tuple[float, float], now: float, skew: float = 0.0) -> str:
    """Return what is wrong where a certificate does not hold ``now``; ``life`` is when it begins and ends.

    Times are wall time, in seconds; ``skew`` is as in ``skew_words`` where it is known, else 0.
    """
    exact = skew_words(skew, now)
    if exact:
        return exact
    began, ends = life
    if now < began:
        return (
            f"its certificate begins {moment_words(began)} and this machine's clock says {moment_words(now)}: "
            f"that clock is {duration_words(began - now)} slow or more, set it"
        )
    return (
        f"its certificate ended {moment_words(ends)} and this machine's clock says {moment_words(now)}: "
        f"that clock is {duration_words(now - ends)} fast or more, set it; if it is right, the metaserver's is not"
    )
