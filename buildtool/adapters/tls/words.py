"""What OpenSSL's errors mean, in words for whoever connects.

Tested by tests/adapters/tls/test_one_port.py.
"""

from __future__ import annotations

from OpenSSL import SSL

__all__ = ["tls_words"]

_WORDS = (
    (
        "certificate verify failed",
        "its certificate is not of the farm that was joined here, or this machine's clock is wrong",
    ),
    ("unknown ca", "it does not know the authority that signed this side's certificate: join again"),
    ("bad certificate", "it does not take this side's certificate: this machine's clock may be wrong, or join again"),
    ("unsupported certificate", "it does not take this side's certificate: join again"),
    ("no application protocol", "it speaks another protocol there: is that its control port?"),
    ("wrong version number", "it does not speak TLS there"),
    ("packet length too long", "it does not speak TLS there"),
    ("record layer failure", "it does not speak TLS there"),
    ("protocol version", "it speaks no version of TLS that is spoken here (1.2 and later)"),
)
"""What is in OpenSSL's reason, and what it means."""


def tls_words(error: SSL.Error) -> str:
    """Return why a connection by TLS ended."""
    reasons = " ".join(str(one[-1]) for one in error.args[0]) if error.args and isinstance(error.args[0], list) else ""
    for part, words in _WORDS:
        if part in reasons:
            return words
    return f"TLS failed: {reasons or type(error).__name__}"
