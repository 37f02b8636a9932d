"""When a certificate is renewed: at two thirds of its life, and those of many that joined at once not all at once."""

from __future__ import annotations

RENEWED_AFTER = 2 / 3
"""The part of its life after which a certificate is renewed at the latest."""

SPREAD = 1 / 10
"""The part of its life over which the renewals of certificates are spread that were made at the same time."""


def renewal_at(made: float, ends: float, fraction: float = 0.0) -> float:
    """Return when a certificate is to be renewed that holds from ``made`` to ``ends``, all in seconds of wall time.

    ``fraction``, from 0 to 1, is drawn for each certificate anew: with 0 it is at two thirds of the life, with more it
    is sooner.
    """
    return ends - (1 - RENEWED_AFTER + SPREAD * fraction) * (ends - made)
